//! Streams of compio.

use std::io;

use compio_io::{AsyncRead, AsyncWrite};
use compio_net::TcpStream;

use super::{MAX_BUFFERS, OwnedBufStream, OwnedResult};

impl OwnedBufStream for TcpStream {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let mut stream = self; // compio implements its traits for references, too
        AsyncRead::read(&mut stream, buffer).await.into()
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        let mut stream = self;
        AsyncWrite::write(&mut stream, bytes).await.into()
    }

    async fn write_vectored(&self, mut buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
        let mut more = buffers.split_off(buffers.len().min(MAX_BUFFERS));
        let mut stream = self;
        let (written, mut buffers) = AsyncWrite::write_vectored(&mut stream, buffers).await.into();
        buffers.append(&mut more);
        (written, buffers)
    }

    async fn shutdown(&self) -> io::Result<()> {
        let mut stream = self;
        AsyncWrite::shutdown(&mut stream).await
    }
}

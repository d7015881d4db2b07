//! Streams of tokio-uring.

use std::io;
use std::net::Shutdown;

use tokio_uring::net::TcpStream;

use super::{MAX_BUFFERS, OwnedBufStream, OwnedResult};

impl OwnedBufStream for TcpStream {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        TcpStream::read(self, buffer).await
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        TcpStream::write(self, bytes).submit().await
    }

    async fn write_vectored(&self, mut buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
        let mut more = buffers.split_off(buffers.len().min(MAX_BUFFERS));
        let (written, mut buffers) = self.writev(buffers).await;
        buffers.append(&mut more);
        (written, buffers)
    }

    async fn shutdown(&self) -> io::Result<()> {
        TcpStream::shutdown(self, Shutdown::Write)
    }
}

//! rustls does no I/O: its records are carried to a stream of tokio-uring, and back, in buffers that the ring may own.

use std::io::{self, ErrorKind, Read, Write};

use ringpair::mocket::uring::UringStream;
use tokio_rustls::rustls::Connection;

pub(crate) struct Tls<S> {
    pub(crate) session: Connection,
    pub(crate) stream: S,
}

impl<S: UringStream> Tls<S> {
    async fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            let mut records = Vec::new();
            self.session.write_tls(&mut records)?;
            self.stream.write_all(records).await.0?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<()> {
        let (read, records) = self.stream.read(Vec::with_capacity(16 * 1024)).await;
        let mut records = &records[..read?];
        loop {
            self.session.read_tls(&mut records)?; // of nothing, it is the end of file
            self.session.process_new_packets().map_err(io::Error::other)?;
            if records.is_empty() {
                return self.send().await; // what the handshake answers
            }
        }
    }

    pub(crate) async fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        self.session.writer().write_all(plain)?;
        self.send().await
    }

    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut plain = vec![0; 1024];
        loop {
            match self.session.reader().read(&mut plain) {
                Ok(read) => return Ok(plain[..read].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive().await?,
                Err(error) => return Err(error),
            }
        }
    }
}

//! The faces of tokio-uring: its own calls, and those that need no runtime.

use std::io;
use std::net::Shutdown;

use ringpair::mocket::owned::OwnedBufStream;
use ringpair::mocket::uring::UringStream;
use tokio_uring::net::TcpStream;

use super::{
    Face, Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, makes_mockets, scripted,
};

pub(crate) struct Uring<S = ()>(pub(crate) S);
scripted!(Uring);

impl Face for Uring {
    type Paired = Uring<Mocket<TcpStream>>;
    type Peer = Uring<TcpStream>;
    type Alone = Uring<Mocket<NoSocket>>;
    type InMemory = Uring<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        if crate::common::ring_is_there() {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(body);
        }
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Uring(mocket), Uring(peer))
    }

    makes_mockets!(Uring);
}

impl<S: UringStream> Stream for Uring<S> {
    async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>> {
        let (size, mut bytes) = self.0.read(vec![0; at_most]).await;
        bytes.truncate(size?);
        Ok(bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (size, returned) = self.0.write(bytes.to_vec()).await;
        assert_eq!(returned, bytes);
        size
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (outcome, returned) = self.0.write_all(bytes.to_vec()).await;
        assert_eq!(returned, bytes);
        outcome
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

pub(crate) struct Owned<S = ()>(pub(crate) S);
scripted!(Owned);

impl Face for Owned {
    type Paired = Owned<Mocket<TcpStream>>;
    type Peer = Owned<TcpStream>;
    type Alone = Owned<Mocket<NoSocket>>;
    type InMemory = Owned<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        Uring::run(body);
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Owned(mocket), Owned(peer))
    }

    makes_mockets!(Owned);
}

impl<S: OwnedBufStream> Stream for Owned<S> {
    async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>> {
        let (size, bytes) = self.0.read(Vec::with_capacity(at_most)).await;
        assert_eq!(size?, bytes.len());
        Ok(bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (size, returned) = self.0.write(bytes.to_vec()).await;
        assert_eq!(returned, bytes);
        size
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

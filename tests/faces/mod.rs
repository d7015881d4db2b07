//! The faces of a mocket under one name each, so that one body of a test serves all.
#![allow(dead_code, unused_imports, clippy::unwrap_used)] // each file uses a part; in a test a panic is the report

#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "monoio")]
mod monoio;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tokio-uring")]
mod uring;

use std::io;
use std::net::Shutdown;

use ringpair::mocket::{Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket};

#[cfg(feature = "compio")]
pub(crate) use self::compio::Compio;
#[cfg(feature = "monoio")]
pub(crate) use self::monoio::Monoio;
#[cfg(feature = "smol")]
pub(crate) use self::smol::Smol;
#[cfg(feature = "tokio")]
pub(crate) use self::tokio::{Tokio, tokio_runtime};
#[cfg(feature = "tokio-uring")]
pub(crate) use self::uring::{Owned, Uring};

/// Runs each body once for every face: `async fn body<F: Face>()`.
macro_rules! on_every_face {
    ($($body:ident),+ $(,)?) => {
        crate::faces::on_face!(blocking: Blocking: $($body),+);
        #[cfg(feature = "tokio")]
        crate::faces::on_face!(tokio: Tokio: $($body),+);
        #[cfg(feature = "tokio-uring")]
        crate::faces::on_face!(uring: Uring: $($body),+);
        #[cfg(feature = "tokio-uring")]
        crate::faces::on_face!(owned: Owned: $($body),+);
        #[cfg(feature = "smol")]
        crate::faces::on_face!(smol: Smol: $($body),+);
        #[cfg(feature = "compio")]
        crate::faces::on_face!(compio: Compio: $($body),+);
        #[cfg(feature = "monoio")]
        crate::faces::on_face!(monoio: Monoio: $($body),+);
    };
}
pub(crate) use on_every_face;

macro_rules! on_face {
    ($module:ident: $face:ident: $($body:ident),+) => {
        mod $module {
            use crate::faces::{$face, Face};

            $(#[test]
            fn $body() {
                $face::run(super::$body::<$face>());
            })+
        }
    };
}
pub(crate) use on_face;

/// Whether std's streams can be: with epoll they can be anywhere. Skips the test visibly where they cannot.
pub(crate) fn a_pair_can_be_had() -> bool {
    cfg!(feature = "epoll") || crate::common::ring_is_there()
}

/// What code does with a stream, whatever its calls are.
pub(crate) trait Stream {
    /// At most so many bytes; none at the end of file.
    async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>>;
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    async fn shut_down(&mut self) -> io::Result<()>;

    async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let size = self.write(bytes).await?;
            bytes = &bytes[size..];
        }
        Ok(())
    }

    /// Reads until there are so many bytes, or the end of file comes.
    async fn read_exactly(&mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < size {
            let some = self.read(size - all.len()).await?;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        Ok(all)
    }
}

/// A stream with a script.
pub(crate) trait Scripted: Stream {
    fn handle(&self) -> Handle;
    fn close(&mut self) -> Result<(), Mismatch>;
}

/// How mockets are made, and what is at their other end.
pub(crate) trait Face {
    type Paired: Scripted;
    type Peer: Stream;
    type Alone: Scripted;
    type InMemory: Scripted;

    /// Runs a body in the face's runtime. Skips it visibly if this host cannot have its streams.
    fn run(body: impl Future<Output = ()> + 'static);

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer);
    fn alone(options: &MocketOptions) -> Self::Alone;
    fn held_open(options: &MocketOptions) -> (Self::Alone, Handle);
    fn in_memory(options: &MocketOptions) -> (Self::InMemory, Self::InMemory);
}

/// Everything of a face but its runtime, its streams and their calls.
macro_rules! makes_mockets {
    ($face:ident) => {
        fn alone(options: &MocketOptions) -> Self::Alone {
            $face(options.scripted().unwrap())
        }

        fn held_open(options: &MocketOptions) -> (Self::Alone, Handle) {
            let (mocket, handle) = options.scripted_with_handle().unwrap();
            ($face(mocket), handle)
        }

        fn in_memory(options: &MocketOptions) -> (Self::InMemory, Self::InMemory) {
            let (first, second) = options.memory_pair().unwrap();
            ($face(first), $face(second))
        }
    };
}
use makes_mockets;

macro_rules! scripted {
    ($face:ident) => {
        impl<S> Scripted for $face<Mocket<S>>
        where
            $face<Mocket<S>>: Stream,
        {
            fn handle(&self) -> Handle {
                self.0.handle()
            }

            fn close(&mut self) -> Result<(), Mismatch> {
                self.0.close()
            }
        }
    };
}

use scripted;

pub(crate) struct Blocking<S = ()>(pub(crate) S);
scripted!(Blocking);

impl Face for Blocking {
    type Paired = Blocking<Mocket<std::net::TcpStream>>;
    type Peer = Blocking<std::net::TcpStream>;
    type Alone = Blocking<Mocket<NoSocket>>;
    type InMemory = Blocking<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        if a_pair_can_be_had() {
            crate::common::runtime().block_on(body);
        }
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair_blocking().unwrap();
        (Blocking(mocket), Blocking(peer))
    }

    makes_mockets!(Blocking);
}

/// How a blocking stream is shut down, which `Write` does not tell.
pub(crate) trait ShutDown {
    fn shut_down(&mut self) -> io::Result<()>;
}

impl ShutDown for std::net::TcpStream {
    fn shut_down(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl<S: ringpair::mocket::Shut> ShutDown for Mocket<S> {
    fn shut_down(&mut self) -> io::Result<()> {
        self.shut_down_writing()
    }
}

impl<S: io::Read + io::Write + ShutDown> Stream for Blocking<S> {
    async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; at_most];
        let size = self.0.read(&mut bytes)?;
        bytes.truncate(size);
        Ok(bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        self.0.shut_down()
    }
}

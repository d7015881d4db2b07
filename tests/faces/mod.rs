//! The faces of a mocket under one name each, so that one body of a test serves all.
#![allow(dead_code, clippy::unwrap_used)] // each file uses a part; in a test a panic is the report

use std::io;
use std::net::Shutdown;

use ringpair::mocket::{Handle, Mismatch, Mocket, MocketOptions, NoSocket};

/// Runs each body once for every face: `async fn body<F: Face>()`.
macro_rules! on_every_face {
    ($($body:ident),+ $(,)?) => {
        mod blocking {
            $(#[test]
            fn $body() {
                if $crate::faces::a_pair_can_be_had() {
                    $crate::common::runtime().block_on(super::$body::<$crate::faces::Blocking>());
                }
            })+
        }
        #[cfg(feature = "tokio")]
        mod tokio {
            $(#[test]
            fn $body() {
                $crate::faces::tokio_runtime().block_on(super::$body::<$crate::faces::Tokio>());
            })+
        }
        #[cfg(feature = "tokio-uring")]
        mod uring {
            $(#[test]
            fn $body() {
                if $crate::common::ring_is_there() {
                    let runtime = ::tokio_uring::Runtime::new(&::tokio_uring::builder()).unwrap();
                    runtime.block_on(super::$body::<$crate::faces::Uring>());
                }
            })+
        }
    };
}
pub(crate) use on_every_face;

/// Whether std's streams can be: with epoll they can be anywhere. Skips the test visibly where they cannot.
pub(crate) fn a_pair_can_be_had() -> bool {
    cfg!(feature = "epoll") || crate::common::ring_is_there()
}

/// Its clock stands still unless all wait for it: no test takes the time of its delays.
#[cfg(feature = "tokio")]
pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
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

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer);
    fn alone(options: &MocketOptions) -> Self::Alone;
}

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

pub(crate) struct Blocking<S = ()>(pub(crate) S);
scripted!(Blocking);

impl Face for Blocking {
    type Paired = Blocking<Mocket<std::net::TcpStream>>;
    type Peer = Blocking<std::net::TcpStream>;
    type Alone = Blocking<Mocket<NoSocket>>;

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair_blocking().unwrap();
        (Blocking(mocket), Blocking(peer))
    }

    fn alone(options: &MocketOptions) -> Self::Alone {
        Blocking(options.scripted().unwrap())
    }
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

#[cfg(feature = "tokio")]
pub(crate) use with_tokio::Tokio;

#[cfg(feature = "tokio")]
mod with_tokio {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::{Face, Handle, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, io};

    pub(crate) struct Tokio<S = ()>(pub(crate) S);
    scripted!(Tokio);

    impl Face for Tokio {
        type Paired = Tokio<Mocket<TcpStream>>;
        type Peer = Tokio<TcpStream>;
        type Alone = Tokio<Mocket<NoSocket>>;

        async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
            let (mocket, peer) = options.make_pair().await.unwrap();
            (Tokio(mocket), Tokio(peer))
        }

        fn alone(options: &MocketOptions) -> Self::Alone {
            Tokio(options.scripted().unwrap())
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Tokio<S> {
        async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; at_most];
            let size = self.0.read(&mut bytes).await?;
            bytes.truncate(size);
            Ok(bytes)
        }

        async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes).await
        }

        async fn shut_down(&mut self) -> io::Result<()> {
            self.0.shutdown().await
        }
    }
}

#[cfg(feature = "tokio-uring")]
pub(crate) use with_uring::Uring;

#[cfg(feature = "tokio-uring")]
mod with_uring {
    use ringpair::mocket::uring::UringStream;
    use tokio_uring::net::TcpStream;

    use super::{Face, Handle, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Shutdown, Stream, io};

    pub(crate) struct Uring<S = ()>(pub(crate) S);
    scripted!(Uring);

    impl Face for Uring {
        type Paired = Uring<Mocket<TcpStream>>;
        type Peer = Uring<TcpStream>;
        type Alone = Uring<Mocket<NoSocket>>;

        async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
            let (mocket, peer) = options.make_pair().await.unwrap();
            (Uring(mocket), Uring(peer))
        }

        fn alone(options: &MocketOptions) -> Self::Alone {
            Uring(options.scripted().unwrap())
        }
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
}

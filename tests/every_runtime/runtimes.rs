//! What each runtime has: how it runs a task, and how its stream reads and writes.

use std::future::Future;
use std::io::{ErrorKind, Read, Result};
use std::net::TcpStream;
use std::os::fd::AsFd;

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringpair::{PairFactory, PairOptions, SockRef};

use super::{PairOf, Runtime, Spawns, pause};

const BUFFER: usize = 65536;

/// No runtime: calls that block, and the standard library's streams.
pub(crate) struct Blocking;

impl Runtime for Blocking {
    type Stream = TcpStream;
    const IS_ASYNC: bool = false;
    const IS_NONBLOCKING: Option<bool> = Some(false);

    fn block_on<T>(task: impl Future<Output = T>) -> T {
        futures_executor::block_on(task)
    }

    /// Pauses until there is something to read, so that a test may await both ends at once.
    async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
        while poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0 {
            pause().await;
        }
        let mut bytes = vec![0; BUFFER];
        let count = stream.read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match SockRef::from(&*stream).send_with_flags(rest, MSG_DONTWAIT | MSG_NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn pair(factory: &PairFactory) -> ringpair::Result<PairOf<Self>> {
        factory.pair_blocking()
    }

    async fn pairs(factory: &PairFactory, count: usize) -> ringpair::Result<Vec<PairOf<Self>>> {
        factory.pairs_blocking(count)
    }

    async fn one_shot(options: &PairOptions) -> ringpair::Result<PairOf<Self>> {
        options.make_pair_blocking()
    }
}

/// An executor without IO, and the standard library's streams.
pub(crate) struct Executor;

impl Runtime for Executor {
    type Stream = TcpStream;
    const IS_NONBLOCKING: Option<bool> = Some(false);

    fn block_on<T>(task: impl Future<Output = T>) -> T {
        futures_executor::block_on(task)
    }

    async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
        Blocking::read(stream).await
    }

    async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
        Blocking::write(stream, bytes).await
    }
}

#[cfg(feature = "tokio")]
pub(crate) use of_tokio::Tokio;

#[cfg(feature = "tokio")]
mod of_tokio {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    /// Its runtime: one thread, or two workers.
    pub(crate) struct Tokio<const WORKERS: usize>;

    impl<const WORKERS: usize> Runtime for Tokio<WORKERS> {
        type Stream = TcpStream;
        const IS_NONBLOCKING: Option<bool> = Some(true);
        const OUTSIDE: Option<&'static str> = Some("a tokio runtime");

        fn block_on<T>(task: impl Future<Output = T>) -> T {
            let mut builder = match WORKERS {
                0 => Builder::new_current_thread(),
                _ => Builder::new_multi_thread(),
            };
            let runtime = builder.worker_threads(WORKERS.max(1)).enable_io().build().unwrap();
            LocalSet::new().block_on(&runtime, task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let mut bytes = vec![0; BUFFER];
            let count = stream.read(&mut bytes).await?;
            bytes.truncate(count);
            Ok(bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(&bytes).await
        }
    }

    impl<const WORKERS: usize> Spawns for Tokio<WORKERS> {
        fn spawn(task: impl Future<Output = ()> + 'static) {
            tokio::task::spawn_local(task);
        }
    }
}

#[cfg(feature = "tokio-uring")]
pub(crate) use of_tokio_uring::TokioUring;

#[cfg(feature = "tokio-uring")]
mod of_tokio_uring {
    use super::*;
    use tokio_uring::net::TcpStream;

    pub(crate) struct TokioUring;

    impl Runtime for TokioUring {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = true;
        const IS_NONBLOCKING: Option<bool> = Some(false);

        fn block_on<T>(task: impl Future<Output = T>) -> T {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let (count, mut bytes) = TcpStream::read(stream, vec![0; BUFFER]).await;
            bytes.truncate(count?);
            Ok(bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0
        }
    }

    impl Spawns for TokioUring {
        fn spawn(task: impl Future<Output = ()> + 'static) {
            tokio_uring::spawn(task);
        }
    }
}

#[cfg(feature = "smol")]
pub(crate) use of_smol::Smol;

#[cfg(feature = "smol")]
mod of_smol {
    use super::*;
    use async_io::Async;
    use futures_util::{AsyncReadExt, AsyncWriteExt};

    /// Its streams need no runtime: its reactor is a thread of its own.
    pub(crate) struct Smol;

    impl Runtime for Smol {
        type Stream = Async<TcpStream>;
        const IS_NONBLOCKING: Option<bool> = Some(true);

        fn block_on<T>(task: impl Future<Output = T>) -> T {
            async_io::block_on(task)
        }

        async fn read(stream: &mut Async<TcpStream>) -> Result<Vec<u8>> {
            let mut bytes = vec![0; BUFFER];
            let count = stream.read(&mut bytes).await?;
            bytes.truncate(count);
            Ok(bytes)
        }

        async fn write(stream: &mut Async<TcpStream>, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(&bytes).await
        }
    }
}

#[cfg(feature = "compio")]
pub(crate) use of_compio::Compio;

#[cfg(feature = "compio")]
mod of_compio {
    use super::*;
    use compio_io::{AsyncRead, AsyncWriteExt};
    use compio_net::TcpStream;

    pub(crate) struct Compio;

    impl Runtime for Compio {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = true;
        const IS_NONBLOCKING: Option<bool> = None;
        const OUTSIDE: Option<&'static str> = Some("a compio runtime");

        fn block_on<T>(task: impl Future<Output = T>) -> T {
            let mut small = compio_driver::ProactorBuilder::new();
            small.capacity(64); // as for monoio
            compio_runtime::Runtime::builder().with_proactor(small).build().unwrap().block_on(task)
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let read = stream.read(Vec::with_capacity(BUFFER)).await;
            read.0.map(|_| read.1)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0
        }
    }

    impl Spawns for Compio {
        fn spawn(task: impl Future<Output = ()> + 'static) {
            compio_runtime::spawn(task).detach();
        }
    }
}

#[cfg(feature = "monoio")]
pub(crate) use of_monoio::Monoio;

#[cfg(feature = "monoio")]
mod of_monoio {
    use super::*;
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    use monoio::net::TcpStream;
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

    /// With its ring, or with its legacy driver.
    pub(crate) struct Monoio<const IS_LEGACY: bool>;

    impl<const IS_LEGACY: bool> Runtime for Monoio<IS_LEGACY> {
        type Stream = TcpStream;
        const ASKS_FOR_A_RING: bool = !IS_LEGACY;
        const IS_NONBLOCKING: Option<bool> = Some(IS_LEGACY);
        const OUTSIDE: Option<&'static str> = Some("a monoio runtime");

        fn block_on<T>(task: impl Future<Output = T>) -> T {
            match IS_LEGACY {
                true => RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(task),
                // A small ring: the kernel releases its memory late, and the runtime does not wait for that.
                false => RuntimeBuilder::<IoUringDriver>::new().with_entries(256).build().unwrap().block_on(task),
            }
        }

        async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
            let (count, bytes) = stream.read(Vec::with_capacity(BUFFER)).await;
            count.map(|_| bytes)
        }

        async fn write(stream: &mut TcpStream, bytes: Vec<u8>) -> Result<()> {
            stream.write_all(bytes).await.0.map(drop)
        }
    }
}

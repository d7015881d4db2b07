//! The streams of completion runtimes, and mockets in front of them, pass the checks for owned buffers.
#![allow(dead_code)] // each runtime uses a part

use std::io;

use ringpair::conformance::{Conformance, OwnedBufStream, Report};
use ringpair::mocket::{Mocket, MocketOptions};
use ringpair::{PairOptions, PairSocket};

use crate::names_of_failures;
use crate::sound::patient_with_the_kernel;

fn patient() -> Conformance {
    patient_with_the_kernel().transfer(1 << 18)
}

async fn report_on<S: PairSocket, T: OwnedBufStream>(options: PairOptions, wrap: fn(S) -> T) -> Report {
    let make_pair = async || {
        let (accepted, connected) = options.make_pair::<S>().await?;
        Ok((wrap(accepted), wrap(connected)))
    };
    patient().check_owned_stream(make_pair).await
}

/// Graceful pairs pass; those that reset are found out.
async fn its_streams_are_checked<S: PairSocket, T: OwnedBufStream>(wrap: fn(S) -> T) {
    report_on(PairOptions::graceful(), wrap).await.assert();
    let of_reset = report_on(PairOptions::new(), wrap).await;
    assert!(names_of_failures(&of_reset).contains(&"eof-after-drop"), "{of_reset}");
}

/// A mocket without a script passes everything on, in parts too.
async fn its_mockets_pass<S: PairSocket, T: OwnedBufStream>(wrap: fn(Mocket<S>) -> T) {
    for options in [MocketOptions::new(), MocketOptions::new().max_read_size(1000).max_write_size(3000)] {
        let make_pair = async || -> io::Result<(T, T)> {
            let (accepted, connected) = PairOptions::graceful().nodelay(true).make_pair::<S>().await?;
            Ok((wrap(options.in_front_of(accepted)?), wrap(options.in_front_of(connected)?)))
        };
        patient().check_owned_stream(make_pair).await.assert();
    }
}

#[test]
fn mockets_in_memory_pass_with_owned_buffers() {
    let make_pair = async || Ok(MocketOptions::new().memory_pair()?);
    let conformance = patient().max_in_flight(1 << 20);
    futures_executor::block_on(conformance.check_owned_stream(make_pair)).assert();
}

#[cfg(feature = "smol")]
#[test]
fn mockets_in_memory_pass_with_futures_io() {
    let make_pair = async || Ok(MocketOptions::new().memory_pair()?);
    let conformance = patient().max_in_flight(1 << 20);
    async_io::block_on(conformance.check_futures_stream(make_pair)).assert();
}

#[cfg(feature = "tokio-uring")]
mod with_tokio_uring {
    use ringpair::mocket::Mocket;
    use tokio_uring::net::TcpStream;

    #[test]
    fn mockets_of_tokio_uring_pass() {
        if crate::common::ring_is_there() {
            let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
            runtime.block_on(super::its_mockets_pass::<TcpStream, Mocket<TcpStream>>(|mocket| mocket));
        }
    }
}

#[cfg(feature = "compio")]
mod with_compio {
    use std::io;

    use compio_io::{AsyncRead, AsyncWrite};
    use compio_net::TcpStream;
    use compio_runtime::Runtime;
    use ringpair::conformance::{OwnedBufStream, OwnedResult};
    use ringpair::mocket::Mocket;

    /// A mocket by its calls of compio, which a reference has, too.
    struct Calls(Mocket<TcpStream>);

    impl OwnedBufStream for Calls {
        async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
            AsyncRead::read(&mut &self.0, buffer).await.into()
        }

        async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
            AsyncWrite::write(&mut &self.0, bytes).await.into()
        }

        async fn shutdown(&self) -> io::Result<()> {
            AsyncWrite::shutdown(&mut &self.0).await
        }
    }

    fn run(body: impl Future<Output = ()> + 'static) {
        if crate::common::ring_is_there() {
            Runtime::new().unwrap().block_on(body);
        }
    }

    #[test]
    fn streams_of_compio_are_checked() {
        run(super::its_streams_are_checked::<TcpStream, TcpStream>(|stream| stream));
    }

    #[test]
    fn mockets_of_compio_pass() {
        run(super::its_mockets_pass::<TcpStream, Calls>(Calls));
    }

    #[test]
    fn mockets_in_front_of_compio_pass() {
        run(super::its_mockets_pass::<TcpStream, Mocket<TcpStream>>(|mocket| mocket));
    }
}

#[cfg(feature = "monoio")]
mod with_monoio {
    use std::cell::RefCell;
    use std::io;

    use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
    use monoio::net::TcpStream;
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
    use ringpair::conformance::{OwnedBufStream, OwnedResult};
    use ringpair::mocket::Mocket;
    use ringpair::mocket::owned::MonoioStream;

    /// A mocket by its calls of monoio, which a mocket in two halves can run at once.
    struct Calls(RefCell<Mocket<OwnedReadHalf<TcpStream>>>, RefCell<Mocket<OwnedWriteHalf<TcpStream>>>);

    impl Calls {
        fn new(mocket: Mocket<TcpStream>) -> Calls {
            let (reader, writer) = mocket.into_split();
            Calls(RefCell::new(reader), RefCell::new(writer))
        }
    }

    #[allow(clippy::await_holding_refcell_ref)] // one read and one write at a time
    impl OwnedBufStream for Calls {
        async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
            self.0.borrow_mut().read(buffer).await
        }

        async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
            self.1.borrow_mut().write(bytes).await
        }

        async fn write_vectored(&self, buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
            let (written, buffers) = self.1.borrow_mut().writev(monoio::buf::VecBuf::from(buffers)).await;
            (written, buffers.into())
        }

        async fn shutdown(&self) -> io::Result<()> {
            self.1.borrow_mut().shutdown().await
        }
    }

    fn run<T: Future<Output = ()> + 'static>(body: impl Fn() -> T) {
        RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(body());
        if crate::common::ring_is_there() {
            RuntimeBuilder::<IoUringDriver>::new().build().unwrap().block_on(body());
        }
    }

    #[test]
    fn streams_of_monoio_are_checked() {
        run(|| super::its_streams_are_checked::<TcpStream, MonoioStream<TcpStream>>(MonoioStream::new));
    }

    #[test]
    fn mockets_of_monoio_pass() {
        run(|| super::its_mockets_pass::<TcpStream, Calls>(Calls::new));
    }
}

//! Calls that own their buffers, from two halves too.

use std::io::{self, ErrorKind};

use futures_executor::block_on;
use futures_util::future::join;
use ringpair::mocket::owned::{OwnedBufStream, OwnedResult};
use ringpair::mocket::{Mocket, MocketOptions, NoSocket, Script};

fn ping_pong() -> Mocket<NoSocket> {
    Mocket::scripted(Script::new().expect("ping").then().provide("pong").expect_shutdown())
}

#[test]
fn a_read_waits_for_the_write_before_it() {
    block_on(async {
        let mut mocket = ping_pong();
        let (read, written) = join(mocket.read(Vec::with_capacity(8)), mocket.write(b"ping".to_vec())).await;
        assert_eq!((written.0.unwrap(), written.1), (4, b"ping".to_vec()));
        assert_eq!((read.0.unwrap(), read.1), (4, b"pong".to_vec()));
        mocket.shutdown().await.unwrap();
        mocket.close().unwrap();
    });
}

#[test]
fn a_read_fills_the_capacity_at_most() {
    block_on(async {
        let mut mocket = Mocket::scripted(Script::new().provide("12345"));
        let buffer = Vec::with_capacity(4);
        let most = buffer.capacity();
        let (read, buffer) = mocket.read(buffer).await;
        assert_eq!((read.unwrap(), buffer.len()), (most.min(5), most.min(5)));
        mocket.read(Vec::with_capacity(4)).await.0.unwrap();
        mocket.close().unwrap();
    });
}

#[test]
fn several_buffers_are_written_one_after_the_other() {
    block_on(async {
        let mut mocket = Mocket::scripted(Script::new().expect("abc"));
        let (written, buffers) = mocket.write_vectored(vec![b"".to_vec(), b"ab".to_vec(), b"c".to_vec()]).await;
        assert_eq!((written.unwrap(), buffers), (2, vec![b"".to_vec(), b"ab".to_vec(), b"c".to_vec()]));
        mocket.write_vectored(vec![b"c".to_vec()]).await.0.unwrap();
        assert_eq!(mocket.write_vectored(Vec::new()).await.0.unwrap(), 0);
        mocket.close().unwrap();
    });
}

/// A stream that refuses everything, to show that its errors arrive with the buffers.
struct Refuses;

impl OwnedBufStream for Refuses {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        (Err(ErrorKind::TimedOut.into()), buffer)
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        (Err(ErrorKind::TimedOut.into()), bytes)
    }

    async fn flush(&self) -> io::Result<()> {
        Err(ErrorKind::TimedOut.into())
    }

    async fn shutdown(&self) -> io::Result<()> {
        Err(ErrorKind::TimedOut.into())
    }
}

#[test]
fn errors_of_the_socket_come_with_the_buffer() {
    block_on(async {
        let mocket = MocketOptions::new().in_front_of(Refuses).unwrap();
        let kind = |error: std::io::Error| error.kind();
        let refused = Some(ErrorKind::TimedOut);
        let (read, buffer) = mocket.read(Vec::with_capacity(9)).await;
        assert_eq!((read.err().map(kind), buffer.capacity()), (refused, 9));
        let (written, bytes) = mocket.write(b"mine".to_vec()).await;
        assert_eq!((written.err().map(kind), bytes), (refused, b"mine".to_vec()));
        assert_eq!(mocket.flush().await.err().map(kind), refused);
        assert_eq!(mocket.shutdown().await.err().map(kind), refused);
    });
}

/// In two halves, which share the script.
#[cfg(feature = "compio")]
mod of_compio {
    use compio_io::util::Splittable;
    use compio_io::{AsyncRead, AsyncWrite};
    use futures_executor::block_on;
    use futures_util::future::join;

    use super::ping_pong;

    #[test]
    fn halves_of_compio_share_the_script() {
        block_on(async {
            let (mut reader, mut writer) = ping_pong().split();
            let (read, written) = join(reader.read([0; 4]), writer.write("ping")).await;
            written.0.unwrap();
            assert_eq!((read.0.unwrap(), read.1), (4, *b"pong"));
            writer.shutdown().await.unwrap();
            writer.close().unwrap();
            reader.close().unwrap();
        });
    }

    #[test]
    fn references_of_compio_share_the_script() {
        block_on(async {
            let mut mocket = ping_pong();
            let (mut reader, mut writer) = (&mocket, &mocket);
            let (read, written) = join(reader.read([0; 4]), writer.write("ping")).await;
            written.0.unwrap();
            assert_eq!((read.0.unwrap(), read.1), (4, *b"pong"));
            writer.flush().await.unwrap();
            writer.shutdown().await.unwrap();
            mocket.close().unwrap();
        });
    }
}

#[cfg(feature = "monoio")]
mod of_monoio {
    use futures_executor::block_on;
    use futures_util::future::join;
    use monoio::buf::VecBuf;
    use monoio::io::{AsyncReadRent, AsyncWriteRent, Splitable};

    use super::ping_pong;

    #[test]
    fn halves_of_monoio_share_the_script() {
        block_on(async {
            let (mut reader, mut writer) = ping_pong().into_split();
            let buffers = VecBuf::from(vec![b"pi".to_vec(), Vec::new(), b"ng".to_vec()]);
            let room = VecBuf::from(vec![vec![0; 8], vec![0; 8]]);
            let (read, written) = join(reader.readv(room), writer.writev(buffers)).await;
            assert_eq!(written.0.unwrap(), 4);
            let filled: Vec<Vec<u8>> = read.1.into();
            assert_eq!((read.0.unwrap(), &filled[0][..]), (4, &b"pong"[..]));
            writer.flush().await.unwrap();
            writer.shutdown().await.unwrap();
            reader.close().unwrap();
        });
    }
}

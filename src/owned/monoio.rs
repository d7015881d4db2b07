//! Streams of monoio.

use std::cell::{RefCell, RefMut};
use std::io::{self, ErrorKind};

use monoio::buf::VecBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Split, Splitable};

use super::{MAX_BUFFERS, OwnedBufStream, OwnedResult};

/// A stream of monoio as an [`OwnedBufStream`]. Its calls need `&mut self`, so it is split: a read and a write can run at once.
///
/// Two reads at once, or two writes, fail with `ResourceBusy`. Dropped, it closes the stream as the stream itself would, without
/// the shutdown of monoio's halves.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() {
/// use monoio::{LegacyDriver, RuntimeBuilder, net::TcpStream};
/// use ringpair::{PairOptions, conformance::check_owned_stream, mocket::owned::MonoioStream};
///
/// RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(async {
///     let make_pair = async || {
///         let (accepted, connected) = PairOptions::graceful().make_pair::<TcpStream>().await?;
///         Ok((MonoioStream::new(accepted), MonoioStream::new(connected)))
///     };
///     check_owned_stream(make_pair).await.assert();
/// });
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
pub struct MonoioStream<S: Split + AsyncWriteRent> {
    // `None` only while it is dropped.
    reader: RefCell<Option<OwnedReadHalf<S>>>,
    writer: RefCell<Option<OwnedWriteHalf<S>>>,
}

impl<S: Split + AsyncWriteRent> MonoioStream<S> {
    /// Splits the stream.
    pub fn new(stream: S) -> MonoioStream<S> {
        let (reader, writer) = stream.into_split();
        MonoioStream { reader: RefCell::new(Some(reader)), writer: RefCell::new(Some(writer)) }
    }
}

impl<S: Split + AsyncWriteRent> Drop for MonoioStream<S> {
    fn drop(&mut self) {
        if let (Some(reader), Some(writer)) = (self.reader.take(), self.writer.take()) {
            let _ = reader.reunite(writer); // or the write half would shut down
        }
    }
}

impl<S: Split + AsyncWriteRent> std::fmt::Debug for MonoioStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MonoioStream").finish_non_exhaustive()
    }
}

fn lend<H>(half: &RefCell<Option<H>>) -> io::Result<RefMut<'_, H>> {
    let half = half.try_borrow_mut().ok().and_then(|half| RefMut::filter_map(half, Option::as_mut).ok());
    half.ok_or_else(|| io::Error::new(ErrorKind::ResourceBusy, "another call uses this half of the stream"))
}

#[allow(clippy::await_holding_refcell_ref)] // `lend` turns a second borrow into an error
impl<S: Split + AsyncReadRent + AsyncWriteRent> OwnedBufStream for MonoioStream<S> {
    async fn read(&self, buffer: Vec<u8>) -> OwnedResult<Vec<u8>> {
        match lend(&self.reader) {
            Ok(mut reader) => reader.read(buffer).await,
            Err(error) => (Err(error), buffer),
        }
    }

    async fn write(&self, bytes: Vec<u8>) -> OwnedResult<Vec<u8>> {
        match lend(&self.writer) {
            Ok(mut writer) => writer.write(bytes).await,
            Err(error) => (Err(error), bytes),
        }
    }

    async fn write_vectored(&self, mut buffers: Vec<Vec<u8>>) -> OwnedResult<Vec<Vec<u8>>> {
        let mut more = buffers.split_off(buffers.len().min(MAX_BUFFERS));
        let (written, mut buffers) = match lend(&self.writer) {
            Ok(mut writer) => {
                let (written, buffers) = writer.writev(VecBuf::from(buffers)).await;
                (written, Vec::from(buffers))
            }
            Err(error) => (Err(error), buffers),
        };
        buffers.append(&mut more);
        (written, buffers)
    }

    async fn flush(&self) -> io::Result<()> {
        lend(&self.writer)?.flush().await
    }

    async fn shutdown(&self) -> io::Result<()> {
        lend(&self.writer)?.shutdown().await
    }
}

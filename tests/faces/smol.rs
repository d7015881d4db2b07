//! smol's face: that of `futures::io`.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ringpair::PairSocket;

use super::{
    Face, Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, a_pair_can_be_had,
    makes_mockets, scripted,
};

/// A stream that shuts down when it is closed, as smol's `TcpStream` does and `Async` does not.
pub(crate) struct Line(Async<TcpStream>);

impl PairSocket for Line {
    fn from_fd(fd: OwnedFd) -> io::Result<Line> {
        Async::from_fd(fd).map(Line)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}

pub(crate) struct Smol<S = ()>(pub(crate) S);
scripted!(Smol);

impl Face for Smol {
    type Paired = Smol<Mocket<Line>>;
    type Peer = Smol<Line>;
    type Alone = Smol<Mocket<NoSocket>>;
    type InMemory = Smol<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        if a_pair_can_be_had() {
            async_io::block_on(body);
        }
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Smol(mocket), Smol(peer))
    }

    makes_mockets!(Smol);
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Smol<S> {
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
        self.0.close().await
    }
}

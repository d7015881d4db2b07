//! tokio's face.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{
    Face, Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, makes_mockets, scripted,
};

/// Its clock stands still unless all wait for it: a hang shows at once.
pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

pub(crate) struct Tokio<S = ()>(pub(crate) S);
scripted!(Tokio);

impl Face for Tokio {
    type Paired = Tokio<Mocket<TcpStream>>;
    type Peer = Tokio<TcpStream>;
    type Alone = Tokio<Mocket<NoSocket>>;
    type InMemory = Tokio<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        tokio_runtime().block_on(body);
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Tokio(mocket), Tokio(peer))
    }

    makes_mockets!(Tokio);
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

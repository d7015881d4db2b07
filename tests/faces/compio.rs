//! compio's face.

use std::io;

use compio_io::{AsyncRead, AsyncWrite};
use compio_net::TcpStream;

use super::{
    Face, Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, makes_mockets, scripted,
};

pub(crate) struct Compio<S = ()>(pub(crate) S);
scripted!(Compio);

impl Face for Compio {
    type Paired = Compio<Mocket<TcpStream>>;
    type Peer = Compio<TcpStream>;
    type Alone = Compio<Mocket<NoSocket>>;
    type InMemory = Compio<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        if crate::common::ring_is_there() {
            compio_runtime::Runtime::new().unwrap().block_on(body);
        }
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Compio(mocket), Compio(peer))
    }

    makes_mockets!(Compio);
}

impl<S: AsyncRead + AsyncWrite> Stream for Compio<S> {
    async fn read(&mut self, at_most: usize) -> io::Result<Vec<u8>> {
        let (size, bytes) = self.0.read(Vec::with_capacity(at_most)).await.into();
        assert_eq!(size?, bytes.len());
        Ok(bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (size, returned) = self.0.write(bytes.to_vec()).await.into();
        assert_eq!(returned, bytes);
        size
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

//! monoio's face.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use monoio::{LegacyDriver, RuntimeBuilder};

use super::{
    Face, Handle, Memory, Mismatch, Mocket, MocketOptions, NoSocket, Scripted, Stream, a_pair_can_be_had,
    makes_mockets, scripted,
};

pub(crate) struct Monoio<S = ()>(pub(crate) S);
scripted!(Monoio);

impl Face for Monoio {
    type Paired = Monoio<Mocket<TcpStream>>;
    type Peer = Monoio<TcpStream>;
    type Alone = Monoio<Mocket<NoSocket>>;
    type InMemory = Monoio<Mocket<Memory>>;

    fn run(body: impl Future<Output = ()> + 'static) {
        if a_pair_can_be_had() {
            RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(body);
        }
    }

    async fn pair(options: &MocketOptions) -> (Self::Paired, Self::Peer) {
        let (mocket, peer) = options.make_pair().await.unwrap();
        (Monoio(mocket), Monoio(peer))
    }

    makes_mockets!(Monoio);
}

impl<S: AsyncReadRent + AsyncWriteRent> Stream for Monoio<S> {
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

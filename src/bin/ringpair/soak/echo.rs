//! What is done with each pair: a request goes there, a response comes back, and both must arrive as they were sent.

use std::io;

use ringpair::PairSocket;
use ringpair::measure::soak::{Turn, doing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Few enough for a socket to take them before the other end reads.
pub(crate) const MOST: usize = 4096;

/// What is done with a pair, for reports on those that take too long.
const STEPS: [&str; 4] = [
    "writing at the connected end",
    "reading at the accepted end",
    "writing at the accepted end",
    "reading at the connected end",
];

/// How many bytes a request and a response have. Chosen at random, the response is the request.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    pub(super) request: Option<usize>,
    pub(super) response: Option<usize>,
}

/// What is sent with one pair: bytes that no other pair sends.
pub(super) struct Talk {
    request: Vec<u8>,
    /// `None`: what has arrived goes back.
    response: Option<Vec<u8>>,
}

impl Sizes {
    pub(super) fn talk(self, seed: u64) -> Talk {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = self.request.unwrap_or_else(|| random.usize(1..=MOST));
        let mut bytes = |size| {
            let mut bytes = vec![0; size];
            random.fill(&mut bytes);
            bytes
        };
        Talk { request: bytes(size), response: self.response.map(bytes) }
    }
}

fn check(sent: &[u8], came: &[u8]) -> io::Result<()> {
    match sent == came {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "what came is not what was sent")),
    }
}

/// A stream that a soak can use.
pub(super) trait Echo: PairSocket {
    async fn echo(accepted: &mut Self, connected: &mut Self, talk: Talk) -> io::Result<()>;
}

/// What a soak does with each pair.
pub(super) fn body<S: Echo>(sizes: Sizes) -> impl AsyncFn(&mut S, &mut S, Turn) -> io::Result<()> + Clone + Send {
    async move |accepted: &mut S, connected: &mut S, turn: Turn| {
        S::echo(accepted, connected, sizes.talk(turn.seed)).await
    }
}

impl Echo for TcpStream {
    async fn echo(accepted: &mut Self, connected: &mut Self, Talk { request, response }: Talk) -> io::Result<()> {
        doing(STEPS[0]);
        connected.write_all(&request).await?;
        doing(STEPS[1]);
        let mut came = vec![0; request.len()];
        accepted.read_exact(&mut came).await?;
        check(&request, &came)?;
        doing(STEPS[2]);
        let response = response.unwrap_or(request);
        accepted.write_all(&response).await?;
        doing(STEPS[3]);
        came.resize(response.len(), 0);
        connected.read_exact(&mut came).await?;
        check(&response, &came)
    }
}

#[cfg(feature = "tokio-uring")]
mod ring {
    use tokio_uring::buf::BoundedBuf;
    use tokio_uring::net::TcpStream;

    use super::*;

    impl Echo for TcpStream {
        async fn echo(accepted: &mut Self, connected: &mut Self, Talk { request, response }: Talk) -> io::Result<()> {
            doing(STEPS[0]);
            let (written, request) = connected.write_all(request).await;
            written?;
            doing(STEPS[1]);
            check(&request, &read(accepted, request.len()).await?)?;
            doing(STEPS[2]);
            let (written, response) = accepted.write_all(response.unwrap_or(request)).await;
            written?;
            doing(STEPS[3]);
            check(&response, &read(connected, response.len()).await?)
        }
    }

    /// So many bytes.
    async fn read(stream: &TcpStream, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut there = 0;
        while there < count {
            let (read, rest) = stream.read(bytes.slice(there..)).await;
            bytes = rest.into_inner();
            match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => there += read,
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_has_the_sizes_that_were_chosen() {
        let lengths = |sizes: Sizes, seed| {
            let talk = sizes.talk(seed);
            (talk.request.len(), talk.response.map(|bytes| bytes.len()))
        };
        assert_eq!(lengths(Sizes { request: Some(1), response: Some(3000) }, 7), (1, Some(3000)));
        assert_eq!(lengths(Sizes { request: Some(9), response: None }, 7), (9, None));
        let random: Vec<usize> = (0..100).map(|seed| lengths(Sizes::default(), seed).0).collect();
        assert!(random.iter().all(|size| (1..=MOST).contains(size)), "{random:?}");
        assert!(random.iter().any(|size| *size != random[0]), "{random:?}");
    }
}

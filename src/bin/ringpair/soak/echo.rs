//! What is done with each pair: bytes go there and back, and must come back as they were.

use std::io;

use ringpair::measure::soak::{Turn, doing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Few enough for a socket to take them before anyone reads.
const MOST: usize = 4096;

/// What is done with a pair, for reports on those that take too long.
const STEPS: [&str; 4] = [
    "writing at the connected end",
    "reading at the accepted end",
    "writing at the accepted end",
    "reading at the connected end",
];

/// From 1 to [`MOST`] bytes that nobody else sends.
fn bytes_of(turn: Turn) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(turn.seed);
    let mut bytes = vec![0; random.usize(1..=MOST)];
    random.fill(&mut bytes);
    bytes
}

fn check(sent: &[u8], came: &[u8]) -> io::Result<()> {
    match sent == came {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "what came back is not what was sent")),
    }
}

pub(super) async fn on_tokio(accepted: &mut TcpStream, connected: &mut TcpStream, turn: Turn) -> io::Result<()> {
    let sent = bytes_of(turn);
    let mut came = vec![0; sent.len()];
    doing(STEPS[0]);
    connected.write_all(&sent).await?;
    doing(STEPS[1]);
    accepted.read_exact(&mut came).await?;
    doing(STEPS[2]);
    accepted.write_all(&came).await?;
    doing(STEPS[3]);
    connected.read_exact(&mut came).await?;
    check(&sent, &came)
}

#[cfg(feature = "tokio-uring")]
pub(super) use self::ring::on_tokio_uring;

#[cfg(feature = "tokio-uring")]
mod ring {
    use tokio_uring::buf::BoundedBuf;
    use tokio_uring::net::TcpStream;

    use super::*;

    pub(crate) async fn on_tokio_uring(
        accepted: &mut TcpStream,
        connected: &mut TcpStream,
        turn: Turn,
    ) -> io::Result<()> {
        let sent = bytes_of(turn);
        doing(STEPS[0]);
        let (written, sent) = connected.write_all(sent).await;
        written?;
        doing(STEPS[1]);
        let came = read(accepted, sent.len()).await?;
        doing(STEPS[2]);
        let (written, came) = accepted.write_all(came).await;
        written?;
        doing(STEPS[3]);
        check(&sent, &read(connected, came.len()).await?)
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

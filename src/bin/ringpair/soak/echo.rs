//! The body of each pair: sends a request and a response, and checks that both arrive unchanged.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use ringpair::measure::soak::{PairInfo, doing};

/// The maximum size of a message: a socket takes it before the other end reads.
pub(crate) const MAX: usize = 4096;

/// The steps of a body, for reports on pairs that take too long.
const STEPS: [&str; 4] = [
    "writing at the connected end",
    "reading at the accepted end",
    "writing at the accepted end",
    "reading at the connected end",
];

/// The sizes of request and response. Default: a random request, which is also the response.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    pub(super) request: Option<usize>,
    pub(super) response: Option<usize>,
}

/// The messages of one pair, which differ from those of other pairs.
pub(super) struct Talk {
    request: Vec<u8>,
    /// `None` sends the request back.
    response: Option<Vec<u8>>,
}

impl Sizes {
    pub(super) fn talk(self, seed: u64) -> Talk {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = self.request.unwrap_or_else(|| random.usize(1..=MAX));
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

/// Returns the body of a pair. It makes plain system calls: a runtime's would cost as much as the rest of the pair.
pub(super) fn body(
    sizes: Sizes,
) -> impl AsyncFn(&mut TcpStream, &mut TcpStream, PairInfo) -> io::Result<()> + Clone + Send + 'static {
    async move |accepted: &mut TcpStream, connected: &mut TcpStream, turn: PairInfo| {
        echo(accepted, connected, sizes.talk(turn.seed)).await
    }
}

async fn echo(accepted: &TcpStream, connected: &TcpStream, Talk { request, response }: Talk) -> io::Result<()> {
    doing(STEPS[0]);
    write(connected, &request).await?;
    doing(STEPS[1]);
    let mut came = vec![0; request.len()];
    read(accepted, &mut came).await?;
    check(&request, &came)?;
    doing(STEPS[2]);
    let response = response.unwrap_or(request);
    write(accepted, &response).await?;
    doing(STEPS[3]);
    came.resize(response.len(), 0);
    read(connected, &mut came).await?;
    check(&response, &came)
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    while !bytes.is_empty() {
        let sent = patiently(|| send(stream.as_raw_fd(), bytes, flags)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

async fn read(stream: &TcpStream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match patiently(|| recv(stream.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            came => bytes = &mut bytes[came..],
        }
    }
    Ok(())
}

/// The number of immediate retries. After them, a call is retried every millisecond.
const TRIES: usize = 1000;

/// Repeats a call until it does not return `EAGAIN`. Other pairs of the thread run in between.
async fn patiently(mut call: impl FnMut() -> nix::Result<usize>) -> io::Result<usize> {
    let mut tries = 0;
    loop {
        match call() {
            Err(Errno::EAGAIN) if tries < TRIES => tokio::task::yield_now().await,
            Err(Errno::EAGAIN) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(Errno::EINTR) => {}
            outcome => return Ok(outcome?),
        }
        tries += 1;
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
        assert!(random.iter().all(|size| (1..=MAX).contains(size)), "{random:?}");
        assert!(random.iter().any(|size| *size != random[0]), "{random:?}");
    }

    #[test]
    fn what_came_must_be_what_was_sent() {
        assert!(check(b"ping", b"ping").is_ok());
        for came in [&b"pong"[..], b"pin", b"pings"] {
            let error = check(b"ping", came).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (io::ErrorKind::InvalidData, "what came is not what was sent")
            );
        }
    }
}

//! One-shots: pairs with a listener of their own, which stops listening before the pair is handed out.
//!
//! The thread keeps the engine and the listening socket. The socket listens again for each pair, at a fresh port that the
//! kernel chooses, which costs less than opening another socket.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;

use crate::attempt::Attempt;
use crate::error::Result;
use crate::finish::finish;
use crate::lease::Lease;
use crate::options::{PairOptions, Plan};
use crate::streams::PairSocket;
use crate::wait::Deadline;

impl PairOptions {
    /// Makes one pair with a listener of its own, which stops listening before the pair is handed out.
    ///
    /// Works in any executor. The future is `Send`, never waits inside the kernel, and can be dropped at any point.
    ///
    /// ```
    /// # #[cfg(feature = "tokio-uring")]
    /// # fn main() -> ringpair::Result<()> {
    /// use ringpair::{Linger, PairOptions};
    /// use tokio_uring::net::TcpStream;
    ///
    /// # if !ringpair::ring_or_skip("make_pair") { return Ok(()) }
    /// # let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    /// # runtime.block_on(async {
    /// let options = PairOptions::new().linger(Linger::Graceful);
    /// let (accepted, connected) = options.make_pair::<TcpStream>().await?;
    /// drop(accepted);
    /// let (read, _) = connected.read(vec![0; 1]).await;
    /// assert_eq!(read.unwrap(), 0);
    /// # Ok(())
    /// # })
    /// # }
    /// # #[cfg(not(feature = "tokio-uring"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// As [`make_pair_blocking`](PairOptions::make_pair_blocking).
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5); to wait, `epoll(7)` on the ring's descriptor.
    /// With the epoll engine, `connect(2)`, `accept4(2)` and `epoll(7)`.
    pub async fn make_pair<S: PairSocket>(&self) -> Result<(S, S)> {
        make(&self.plan_for::<S>()?, S::from_fd).await
    }

    /// Makes one pair, without a runtime, with a listener of its own.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    ///
    /// let (mut accepted, mut connected) = ringpair::PairOptions::new().make_pair_blocking::<TcpStream>().unwrap();
    /// accepted.write_all(b"ping").unwrap();
    /// let mut read = [0; 4];
    /// connected.read_exact(&mut read).unwrap();
    /// assert_eq!(&read, b"ping");
    /// ```
    ///
    /// The first call of a thread opens the thread's engine and a socket to listen with: two descriptors, kept until the
    /// thread ends. For many pairs a [`factory`](PairOptions::factory) is faster.
    ///
    /// # Errors
    ///
    /// Any [`Step`](crate::Step). The process then has no more descriptors than before. `EMFILE` and `ENFILE` come from the step
    /// that needed another descriptor: [`Ring`](crate::Step::Ring), [`Socket`](crate::Step::Socket) or
    /// [`Accept`](crate::Step::Accept). A pair takes two descriptors, and two more while it is made: the engine and the listener.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5). `shutdown(2)` ends the listening, and
    /// `listen(2)` on a socket without a port has the kernel choose one.
    pub fn make_pair_blocking<S: PairSocket>(&self) -> Result<(S, S)> {
        make_blocking(&self.plan_for::<S>()?, S::from_fd)
    }

    /// Makes one pair of any stream type: `convert` makes a stream from each descriptor. No feature needed.
    ///
    /// `convert` is called for the accepted end, then for the connected one. The socket is connected, close-on-exec and in
    /// blocking mode. Most runtimes want it non-blocking: call `set_nonblocking(true)` first, as here.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] // only so that this example has tokio's streams
    /// # fn main() {
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let convert = |fd| {
    ///     let stream = TcpStream::from(fd);
    ///     stream.set_nonblocking(true)?;
    ///     tokio::net::TcpStream::from_std(stream)
    /// };
    /// let (accepted, connected) = PairOptions::graceful().make_pair_with(convert).await?;
    /// assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    /// # Ok::<(), ringpair::Error>(())
    /// # }).unwrap();
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Convert`](crate::Step::Convert) with the error of `convert`; both ends are closed then. Otherwise as
    /// [`make_pair_blocking`](PairOptions::make_pair_blocking).
    ///
    /// # Source
    ///
    /// As [`make_pair`](PairOptions::make_pair).
    pub async fn make_pair_with<T>(&self, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        make(&self.plan()?, convert).await
    }

    /// Makes one pair of any stream, as [`make_pair_with`](PairOptions::make_pair_with), without a runtime.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// struct Line(TcpStream);
    ///
    /// let (accepted, connected) = PairOptions::new().make_pair_blocking_with(|fd| Ok(Line(fd.into()))).unwrap();
    /// assert_eq!(accepted.0.peer_addr().unwrap(), connected.0.local_addr().unwrap());
    /// ```
    ///
    /// # Errors
    ///
    /// As [`make_pair_with`](PairOptions::make_pair_with).
    ///
    /// # Source
    ///
    /// As [`make_pair_blocking`](PairOptions::make_pair_blocking).
    pub fn make_pair_blocking_with<T>(&self, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
        make_blocking(&self.plan()?, convert)
    }

    /// Returns the plan, if it can make streams of this type.
    pub(crate) fn plan_for<S: PairSocket>(&self) -> Result<Plan> {
        let plan = self.plan()?;
        if S::NEEDS_RING { plan.on_a_ring() } else { Ok(plan) }
    }
}

/// Makes one pair with the default options, in any executor: 127.0.0.1, reset on close, a timeout of ten seconds.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> ringpair::Result<()> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::TcpStream;
///
/// let (mut accepted, mut connected) = ringpair::pair::<TcpStream>().await?;
/// connected.write_all(b"ping").await.unwrap();
/// let mut read = [0; 4];
/// accepted.read_exact(&mut read).await.unwrap();
/// assert_eq!(&read, b"ping");
/// # Ok(())
/// # })
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
///
/// Keep both ends: `let (accepted, _) = …` drops the connected end at once, which resets the connection. Name it
/// `_connected` instead. For end of file instead of a reset, use [`PairOptions::graceful`].
///
/// # Errors
///
/// As [`PairOptions::make_pair_blocking`].
///
/// # Source
///
/// As [`PairOptions::make_pair`].
pub async fn pair<S: PairSocket>() -> Result<(S, S)> {
    PairOptions::new().make_pair().await
}

/// Makes one pair with the default options, as [`pair`], without a runtime.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let (mut accepted, mut connected) = ringpair::pair_blocking::<TcpStream>().unwrap();
/// connected.write_all(b"ping").unwrap();
/// let mut read = [0; 4];
/// accepted.read_exact(&mut read).unwrap();
/// assert_eq!(&read, b"ping");
/// ```
///
/// # Errors
///
/// As [`PairOptions::make_pair_blocking`].
///
/// # Source
///
/// As [`PairOptions::make_pair_blocking`].
pub fn pair_blocking<S: PairSocket>() -> Result<(S, S)> {
    PairOptions::new().make_pair_blocking()
}

async fn make<T>(plan: &Plan, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
    let lease = Lease::of_this_thread_async(plan).await?;
    let mut attempt = Attempt::new(plan, lease, Deadline::after(plan.timeout));
    attempt.begin(1)?;
    poll_fn(|context| attempt.poll(context)).await?;
    hand_out(plan, attempt, convert)
}

fn make_blocking<T>(plan: &Plan, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
    let lease = Lease::of_this_thread_blocking(plan)?;
    let mut attempt = Attempt::new(plan, lease, Deadline::after(plan.timeout));
    attempt.begin(1)?;
    attempt.finish_blocking()?;
    hand_out(plan, attempt, convert)
}

/// Stops listening and hands out the pair. The thread keeps a new engine only if nothing fails.
fn hand_out<T>(plan: &Plan, mut attempt: Attempt<'_>, convert: impl FnMut(OwnedFd) -> io::Result<T>) -> Result<(T, T)> {
    let (ends, _) = attempt.take_pair()?;
    attempt.stop_listening();
    let pair = finish(plan, attempt.backend(), ends, convert)?;
    attempt.keep_maker();
    Ok(pair)
}

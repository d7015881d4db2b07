//! One-shots: pairs with a listener of their own, which stops listening before the pair is handed out.
//!
//! The thread keeps the engine and the listening socket. The socket listens again for each pair, at a port that the kernel
//! chooses anew, which costs less than to open another one.

use std::future::poll_fn;

use crate::attempt::Attempt;
use crate::error::Result;
use crate::finish::finish;
use crate::lease::Lease;
use crate::options::{PairOptions, Plan};
use crate::streams::PairSocket;
use crate::wait::Deadline;

impl PairOptions {
    /// Makes one pair, with a listener of its own, which stops listening before the pair is handed out.
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
        let plan = self.plan_for::<S>()?;
        let lease = Lease::of_this_thread_async(&plan).await?;
        let mut attempt = Attempt::new(&plan, lease, Deadline::after(plan.timeout));
        attempt.begin(1)?;
        poll_fn(|context| attempt.poll(context)).await?;
        hand_out(&plan, attempt)
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
    /// that needed one more: [`Ring`](crate::Step::Ring), [`Socket`](crate::Step::Socket) or
    /// [`Accept`](crate::Step::Accept). A pair takes two descriptors, and two more while it is made: the engine and the listener.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5). `shutdown(2)` ends the listening, and
    /// `listen(2)` on a socket without a port has the kernel choose one.
    pub fn make_pair_blocking<S: PairSocket>(&self) -> Result<(S, S)> {
        let plan = self.plan_for::<S>()?;
        let lease = Lease::of_this_thread_blocking(&plan)?;
        let mut attempt = Attempt::new(&plan, lease, Deadline::after(plan.timeout));
        attempt.begin(1)?;
        attempt.finish_blocking()?;
        hand_out(&plan, attempt)
    }

    /// The plan, if it can make such a stream.
    pub(crate) fn plan_for<S: PairSocket>(&self) -> Result<Plan> {
        let plan = self.plan()?;
        if S::NEEDS_RING { plan.on_a_ring() } else { Ok(plan) }
    }
}

/// Ends the listening and hands out the pair. The thread keeps a new engine only if nothing fails.
fn hand_out<S: PairSocket>(plan: &Plan, mut attempt: Attempt<'_>) -> Result<(S, S)> {
    let (ends, _) = attempt.take_pair()?;
    attempt.stop_listening();
    let pair = finish(plan, attempt.backend(), ends)?;
    attempt.keep_maker();
    Ok(pair)
}

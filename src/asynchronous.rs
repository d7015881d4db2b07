//! The async calls: futures and a stream over pairs in the making.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_core::Stream;

use crate::error::{Result, Step};
use crate::factory::{Batch, PairFactory};
use crate::hub::Hub;
use crate::making::{Making, refuse_if_it_cannot_wait, runtime};
use crate::one_shot::{clear_away, hand_out, thread_hub};
use crate::options::{Choice, PairOptions};
use crate::patience::{PATIENCE, is_passing};
use crate::source::Source;
use crate::streams::PairSocket;

impl PairOptions {
    /// Makes one pair, with a listener of its own, closed before the pair is handed out.
    ///
    /// Nothing in it waits inside the kernel. Where accept and connect are not through when the submission returns, the
    /// task waits, in any tokio runtime, tokio-uring's among them. The future is `Send`; it can be dropped at any point.
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
    /// As [`make_pair_blocking`](PairOptions::make_pair_blocking), and [`Step::Options`] where there is no runtime, or one with IO disabled.
    ///
    /// # Source
    ///
    /// `io_uring_enter(2)`, `IORING_OP_ACCEPT` and `IORING_OP_CONNECT` (Linux 5.5); to wait, `epoll(7)` on the ring's descriptor
    /// and `IORING_OP_TIMEOUT` (Linux 5.4). By the epoll engine, `connect(2)`, `accept4(2)`, `epoll(7)` and `timerfd_create(2)`.
    pub async fn make_pair<S: PairSocket>(&self) -> Result<(S, S)> {
        let plan = self.plan_for::<S>()?;
        runtime()?;
        let hub = patient_thread_hub(plan.choice).await?;
        refuse_if_it_cannot_wait(|| Arc::clone(&hub))?;
        let source = Source::for_one_pair(plan, hub);
        let mut ends = None;
        let mut making = Making::begin(&source, 1).inspect_err(|_| clear_away())?;
        let made = poll_fn(|context| making.poll(context, &mut |both| ends = Some(both))).await;
        drop(making);
        made.inspect_err(|_| clear_away())?;
        hand_out(&source, ends)
    }
}

impl PairFactory {
    /// Makes one pair. Its future is `Send`, never waits inside the kernel, and can be dropped at any point.
    ///
    /// ```
    /// # #[cfg(feature = "epoll")]
    /// # fn main() -> ringpair::Result<()> {
    /// use ringpair::PairOptions;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// use tokio::net::TcpStream;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let (mut accepted, mut connected) = factory.pair::<TcpStream>().await?;
    /// connected.write_all(b"ping").await.unwrap();
    /// let mut read = [0; 4];
    /// accepted.read_exact(&mut read).await.unwrap();
    /// assert_eq!(&read, b"ping");
    /// # Ok(())
    /// # })
    /// # }
    /// # #[cfg(not(feature = "epoll"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pair_blocking`](PairFactory::pair_blocking), and [`Step::Options`] where there is no runtime, or one with IO disabled.
    pub async fn pair<S: PairSocket>(&self) -> Result<(S, S)> {
        refuse_if_it_cannot_wait(|| self.hub())?;
        let mut ends = None;
        let mut making = self.begin::<S>(1)?;
        let tally = poll_fn(|context| making.poll(context, &mut |both| ends = Some(both))).await?;
        self.finish_one(ends, tally)
    }

    /// Makes `count` pairs, up to 32 in one submission.
    ///
    /// All or nothing: on an error, and when the future is dropped, every pair made so far is closed.
    ///
    /// ```
    /// # fn main() -> ringpair::Result<()> {
    /// use std::net::TcpStream;
    /// use ringpair::PairOptions;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let pairs = factory.pairs::<TcpStream>(40).await?;
    /// assert_eq!((pairs.len(), factory.stats().pairs), (40, 40));
    ///
    /// drop(factory.pairs::<TcpStream>(40)); // never polled: nothing is made
    /// assert_eq!(factory.stats().pairs, 40);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`pairs_blocking`](PairFactory::pairs_blocking), and [`Step::Options`] where there is no runtime, or one with IO disabled.
    pub async fn pairs<S: PairSocket>(&self, count: usize) -> Result<Vec<(S, S)>> {
        refuse_if_it_cannot_wait(|| self.hub())?;
        let mut made = Batch::of(count, self.room())?;
        while let Some(chunk) = made.next_chunk() {
            let mut making = self.begin::<S>(chunk)?;
            let tally = poll_fn(|context| making.poll(context, &mut |ends| made.ends.push(ends))).await?;
            made.tally += tally;
        }
        self.finish_all(made)
    }

    /// Makes `count` pairs one after the other, each when it is asked for. The stream ends after an error.
    ///
    /// ```
    /// # fn main() -> ringpair::Result<()> {
    /// use std::net::TcpStream;
    /// use futures_util::StreamExt;
    /// use ringpair::PairOptions;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let factory = PairOptions::new().factory()?;
    /// let mut pairs = factory.stream::<TcpStream>(1000);
    /// let (accepted, connected) = pairs.next().await.unwrap()?;
    /// assert_eq!(accepted.peer_addr().unwrap(), connected.local_addr().unwrap());
    /// assert_eq!(factory.stats().pairs, 1); // the others have not been asked for
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Each item's are those of [`pair`](PairFactory::pair).
    pub fn stream<S: PairSocket>(&self, count: usize) -> PairStream<'_, S> {
        PairStream { factory: self, left: count, making: None, streams: PhantomData }
    }
}

/// Pairs of a factory, made as they are asked for; see [`PairFactory::stream`].
#[must_use = "a stream makes nothing unless it is polled"]
pub struct PairStream<'a, S> {
    factory: &'a PairFactory,
    left: usize,
    making: Option<Making<'a>>,
    streams: PhantomData<fn() -> S>,
}

impl<S: PairSocket> PairStream<'_, S> {
    fn poll_pair(&mut self, context: &mut Context<'_>) -> Poll<Result<(S, S)>> {
        let kept = self.making.take(); // whatever fails or panics from here on: it may be asked again
        refuse_if_it_cannot_wait(|| self.factory.hub())?;
        let mut making = match kept {
            Some(making) => making,
            None => self.factory.begin::<S>(1)?,
        };
        let mut ends = None;
        match making.poll(context, &mut |both| ends = Some(both)) {
            Poll::Ready(made) => Poll::Ready(made.and_then(|tally| self.factory.finish_one(ends, tally))),
            Poll::Pending => {
                self.making = Some(making);
                Poll::Pending
            }
        }
    }
}

impl<S: PairSocket> Stream for PairStream<'_, S> {
    type Item = Result<(S, S)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let pair = ready!(self.poll_pair(context));
        self.left = if pair.is_ok() { self.left - 1 } else { 0 };
        Poll::Ready(Some(pair))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.min(1), Some(self.left))
    }
}

impl<S> fmt::Debug for PairStream<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairStream").field("factory", &self.factory).field("left", &self.left).finish_non_exhaustive()
    }
}

/// The thread's hub. A refusal in passing is met with another try, other tasks in between.
async fn patient_thread_hub(choice: Choice) -> Result<Arc<Hub>> {
    let mut refused = None; // when first: however long that took, there is another try
    poll_fn(|context| match thread_hub(choice) {
        Err(error) if is_passing(&error) && refused.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        outcome => Poll::Ready(outcome),
    })
    .await
    .map_err(Step::Ring.failed())
}

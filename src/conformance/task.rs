//! Runs two futures in one task, each with a waker of its own, so that a lost wake shows: a future is polled again only if its
//! own waker was called.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

use super::verdict::{Failure, Verdict};

/// Turns of the runtime that suffice to deliver pending events of the kernel.
const TURNS: usize = 50;

/// A waker that records its wakes, and that can be awaited.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Bell>);

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    listener: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.wake();
        }
    }
}

impl Alarm {
    pub(super) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    /// Returns whether it has rung since the last call.
    pub(super) fn has_rung(&self) -> bool {
        self.0.rung.swap(false, Ordering::AcqRel)
    }

    /// Wakes the task of `cx` at the next ring.
    pub(super) fn tell(&self, cx: &Context<'_>) {
        *self.0.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
    }

    /// Waits until it has rung.
    pub(super) async fn rings(&self) -> Verdict {
        poll_fn(|cx| {
            self.tell(cx);
            if self.has_rung() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Returns whether it rings within a few turns of the runtime.
    pub(super) async fn rings_soon(&self) -> bool {
        for _ in 0..TURNS {
            if self.has_rung() {
                return true;
            }
            yield_now().await;
        }
        self.has_rung()
    }
}

/// A future that is polled only after its own waker was called.
struct Task<F> {
    future: F,
    alarm: Alarm,
    begun: bool,
}

impl<F: Future + Unpin> Task<F> {
    fn new(future: F) -> Task<F> {
        Task { future, alarm: Alarm::default(), begun: false }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        self.alarm.tell(cx);
        if self.alarm.has_rung() || !self.begun {
            self.begun = true;
            return Pin::new(&mut self.future).poll(&mut Context::from_waker(&self.alarm.waker()));
        }
        Poll::Pending
    }
}

/// Runs both until both have succeeded, or one has failed. Polls the first one first.
pub(super) async fn both(first: impl Future<Output = Verdict>, second: impl Future<Output = Verdict>) -> Verdict {
    let (first, second) = (pin!(first), pin!(second));
    let (mut first, mut second) = (Task::new(first), Task::new(second));
    let mut ended = [false; 2];
    poll_fn(|cx| {
        if !ended[0] {
            if let Poll::Ready(verdict) = first.poll(cx) {
                verdict?;
                ended[0] = true;
            }
        }
        if !ended[1] {
            if let Poll::Ready(verdict) = second.poll(cx) {
                verdict?;
                ended[1] = true;
            }
        }
        if ended == [true; 2] { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Runs both until one has ended; the other is dropped.
pub(super) async fn either(first: impl Future<Output = Verdict>, second: impl Future<Output = Verdict>) -> Verdict {
    let (first, second) = (pin!(first), pin!(second));
    let (mut first, mut second) = (Task::new(first), Task::new(second));
    poll_fn(|cx| match first.poll(cx) {
        Poll::Pending => second.poll(cx),
        ended => ended,
    })
    .await
}

/// A future whose panic, in the stream or in the check, becomes a failure.
pub(super) struct Caught<'f>(Option<Pin<Box<dyn Future<Output = Verdict> + 'f>>>);

impl<'f> Caught<'f> {
    pub(super) fn new(future: impl Future<Output = Verdict> + 'f) -> Caught<'f> {
        Caught(Some(Box::pin(future)))
    }
}

impl Future for Caught<'_> {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        // Unwind safe: after a panic the future is never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(future) = &mut self.0 else { return Poll::Pending };
            let verdict = future.as_mut().poll(cx);
            if verdict.is_ready() {
                self.0 = None; // drops the streams, which may panic
            }
            verdict
        }));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(Failure::Broken(format!("it panicked: {}", message(&*panic))))))
    }
}

impl Drop for Caught<'_> {
    fn drop(&mut self) {
        let future = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future))); // the verdict is known already
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_once(future: Pin<&mut impl Future<Output = Verdict>>, alarm: &Alarm) -> Poll<Verdict> {
        future.poll(&mut Context::from_waker(&alarm.waker()))
    }

    #[test]
    fn a_future_is_polled_again_only_if_woken() {
        let (mut polled, outer) = (0, Alarm::default());
        let deaf = poll_fn(|_| {
            polled += 1;
            Poll::<Verdict>::Pending // and keeps no waker
        });
        let lively = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<Verdict>::Pending
        });
        {
            let mut joined = pin!(both(deaf, lively));
            for _ in 0..5 {
                assert!(poll_once(joined.as_mut(), &outer).is_pending());
                assert!(outer.has_rung());
            }
        }
        assert_eq!(polled, 1);
    }

    #[test]
    fn a_failure_of_one_ends_both() {
        let fails = async { Err(Failure::Broken("so it is".to_owned())) };
        let verdict = poll_once(pin!(both(std::future::pending(), fails)), &Alarm::default());
        assert!(matches!(verdict, Poll::Ready(Err(Failure::Broken(why))) if why == "so it is"));
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        struct DropsBadly;
        impl Drop for DropsBadly {
            fn drop(&mut self) {
                panic!("while dropping");
            }
        }
        let ends_badly = async {
            let _dropped_at_the_end = DropsBadly;
            Ok(())
        };
        let acts: [(Caught<'_>, &str); 3] = [
            (Caught::new(async { panic!("on the way") }), "it panicked: on the way"),
            (Caught::new(async { panic!("at {}", 7) }), "it panicked: at 7"),
            (Caught::new(ends_badly), "it panicked: while dropping"),
        ];
        for (act, expected) in acts {
            let verdict = poll_once(pin!(act), &Alarm::default());
            assert!(matches!(&verdict, Poll::Ready(Err(Failure::Broken(why))) if why == expected), "{expected}");
        }
        drop(Caught::new(async {
            let _kept = DropsBadly;
            std::future::pending().await
        }));
    }
}

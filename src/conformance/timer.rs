//! A timer by two clocks: the reactor's, in every executor, and that of a tokio runtime, which may be paused.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

use crate::wait::Alarm;

/// Goes off once.
struct Timer {
    /// `None` if an `Instant` cannot hold it.
    alarm: Option<Alarm>,
    of_tokio: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(time: Duration) -> Timer {
        let at = Instant::now().checked_add(time);
        Timer { alarm: at.map(Alarm::at), of_tokio: sleep_of_tokio(time) }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let by_tokio = self.of_tokio.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if by_tokio || self.alarm.as_ref().is_some_and(Alarm::is_due) {
            return Poll::Ready(());
        }
        let is_set = self.alarm.as_mut().is_none_or(|alarm| alarm.set(cx.waker()).is_ok());
        if !is_set && self.of_tokio.is_none() {
            cx.waker().wake_by_ref(); // no descriptor or thread is left: asks the clock at every turn
        }
        Poll::Pending
    }
}

fn sleep_of_tokio(time: Duration) -> Option<Pin<Box<Sleep>>> {
    Handle::try_current().is_ok().then(|| Box::pin(sleep(time)))
}

/// Runs a future for at most this time.
pub(super) async fn at_most<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut timer = Timer::new(time);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut timer).poll(cx).map(|()| None),
    })
    .await
}

/// Waits until this time has passed by the clock of a tokio runtime, which a stream may go by, and by the wall clock too.
pub(super) async fn pause(time: Duration) {
    let begin = Instant::now();
    match sleep_of_tokio(time) {
        Some(sleep) => sleep.await,
        None => Timer::new(time).await,
    }
    // Needed only with a paused clock, which would jump to the watchdog's end while a task waits.
    thread::sleep(time.saturating_sub(begin.elapsed()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_needs_no_runtime() {
        let waits = at_most(Duration::from_millis(5), std::future::pending::<()>());
        assert_eq!(futures_executor::block_on(waits), None);
        assert_eq!(futures_executor::block_on(at_most(Duration::from_secs(60), async { 7 })), Some(7));
    }

    #[test]
    fn a_pause_takes_its_time_by_both_clocks() {
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let virtual_time = runtime.block_on(async {
            let begin = tokio::time::Instant::now();
            let mut pauses = pin!(pause(Duration::from_millis(20)));
            let begun = poll_fn(|cx| Poll::Ready(pauses.as_mut().poll(cx))).await;
            assert!(begun.is_pending());
            thread::sleep(Duration::from_millis(25)); // as on a busy machine: the wall clock is through first
            pauses.await;
            begin.elapsed()
        });
        assert!(virtual_time >= Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}

//! One run of a body, with its panic caught and its time limited.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Poll, Waker};

use super::Fuse;
use super::watchdog::Watchdog;

/// How a run of the body ended.
pub(super) enum End {
    Returned(io::Result<()>),
    Panicked(String),
    /// It did not: it was given up.
    Hung,
}

pub(super) async fn run_caught(
    body: &impl AsyncFn(Fuse) -> io::Result<()>,
    fuse: &Fuse,
    watchdog: Option<&Watchdog>,
) -> End {
    let mut run = pin!(body(fuse.clone()));
    let wakes = |waker: Option<&Waker>| watchdog.into_iter().for_each(|watchdog| watchdog.wakes(waker));
    // Unwind safe enough: after a panic the future is dropped, and whoever shares its state has been told by then.
    poll_fn(|context| {
        wakes(None);
        let end = match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(End::Returned(outcome)),
            Err(panic) => return Poll::Ready(End::Panicked(message_of(&*panic))),
            Ok(Poll::Pending) => Poll::Pending,
        };
        wakes(Some(context.waker()));
        // After the waker is there, or a time that is up in between would wake nothing.
        if fuse.has_hung() { Poll::Ready(End::Hung) } else { end }
    })
    .await
}

pub(super) fn run_caught_blocking(body: &impl Fn(Fuse) -> io::Result<()>, fuse: &Fuse) -> End {
    match catch_unwind(AssertUnwindSafe(|| body(fuse.clone()))) {
        Ok(outcome) => End::Returned(outcome),
        Err(panic) => End::Panicked(message_of(&*panic)),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with a payload that is no text").to_owned()
}

//! One run of a body, with its panic caught and its time limited.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Poll, Waker};

use super::Fuse;
use super::watchdog::Watchdog;

/// How a run of the body ended.
pub(super) enum RunEnd {
    Returned(io::Result<()>),
    Panicked(String),
    /// The run was abandoned.
    Hung,
}

pub(super) async fn run_caught(
    body: &impl AsyncFn(Fuse) -> io::Result<()>,
    fuse: &Fuse,
    watchdog: Option<&Watchdog>,
) -> RunEnd {
    let mut run = pin!(body(fuse.clone()));
    let wakes = |waker: Option<&Waker>| watchdog.into_iter().for_each(|watchdog| watchdog.wakes(waker));
    // Unwind safe: after a panic the future is dropped, and the panic is reported.
    poll_fn(|context| {
        wakes(None);
        let end = match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(RunEnd::Returned(outcome)),
            Err(panic) => return Poll::Ready(RunEnd::Panicked(message_of(&*panic))),
            Ok(Poll::Pending) => Poll::Pending,
        };
        wakes(Some(context.waker()));
        // Checked after the waker is set: a time-out before that would wake nothing.
        if fuse.has_hung() { Poll::Ready(RunEnd::Hung) } else { end }
    })
    .await
}

pub(super) fn run_caught_blocking(body: &impl Fn(Fuse) -> io::Result<()>, fuse: &Fuse) -> RunEnd {
    match catch_unwind(AssertUnwindSafe(|| body(fuse.clone()))) {
        Ok(outcome) => RunEnd::Returned(outcome),
        Err(panic) => RunEnd::Panicked(message_of(&*panic)),
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with a payload that is no text").to_owned()
}

//! One run of a body, with its panic caught.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::Fuse;

/// How a run of the body ended.
pub(super) enum End {
    Returned(io::Result<()>),
    Panicked(String),
}

pub(super) async fn run_caught(body: &impl AsyncFn(Fuse) -> io::Result<()>, fuse: &Fuse) -> End {
    let mut run = pin!(body(fuse.clone()));
    // Unwind safe enough: after a panic the future is dropped, and whoever shares its state has been told by then.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(outcome)) => Poll::Ready(End::Returned(outcome)),
        Err(panic) => Poll::Ready(End::Panicked(message_of(&*panic))),
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
    text.unwrap_or("with something that is no text").to_owned()
}

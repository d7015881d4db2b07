//! Applies when a ring is closed: some milliseconds later the kernel interrupts each thread that has used it. A system call
//! with a timeout then returns early, with `EINTR`.

use std::panic;
use std::thread;

/// Runs `act` in a thread of its own, or in this thread if none can be started. For rings that are opened and closed at once.
pub(crate) fn in_a_thread<T: Send>(act: impl Fn() -> T + Sync) -> T {
    let ended = thread::scope(|scope| Some(thread::Builder::new().spawn_scoped(scope, &act).ok()?.join()));
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => panic::resume_unwind(panic),
        None => act(),
    }
}

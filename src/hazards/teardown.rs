//! Applies when a ring is closed: some milliseconds later the kernel signals each thread that has used it. That ends one system
//! call of the thread early, with `EINTR`, if the call has a timeout.

use std::panic;
use std::thread;

/// Runs `act` in a thread of its own, or in this one if there is none to be had. For rings that are opened to be closed.
pub(crate) fn in_a_thread<T: Send>(act: impl Fn() -> T + Sync) -> T {
    let ended = thread::scope(|scope| Some(thread::Builder::new().spawn_scoped(scope, &act).ok()?.join()));
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => panic::resume_unwind(panic),
        None => act(),
    }
}

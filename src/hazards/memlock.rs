//! Applies when lockable memory runs short: rings lock memory, `RLIMIT_MEMLOCK` limits it, and a dropped ring releases it only
//! some time later.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Step};

/// How long `ENOMEM` is retried.
///
/// On a busy machine with a limit of 64 KiB, the slowest of 27,000 rings waited for 263 ms, and some for 50 to 100 ms.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// Time of the first `ENOMEM`; retries at least once.
#[derive(Default)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// Whether to retry after this error. Allows at least one retry, however long the first try took.
    pub(crate) fn allows_another_try(&mut self, error: &impl Refusal) -> bool {
        let is_first = self.0.is_none();
        let first = *self.0.get_or_insert_with(Instant::now);
        error.of_a_ring() == Some(Errno::ENOMEM) && (is_first || first.elapsed() < PATIENCE)
    }
}

/// An error that can come from the set-up of a ring.
pub(crate) trait Refusal {
    fn of_a_ring(&self) -> Option<Errno>;
}

impl Refusal for io::Error {
    fn of_a_ring(&self) -> Option<Errno> {
        self.raw_os_error().map(Errno::from_raw)
    }
}

impl Refusal for Error {
    fn of_a_ring(&self) -> Option<Errno> {
        if self.step() == Step::Ring { self.cause().of_a_ring() } else { None }
    }
}

/// Calls `make`, and again every millisecond while it fails with `ENOMEM`, for at most [`PATIENCE`].
pub(crate) fn patiently<T, E: Refusal>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut patience = Patience::default();
    loop {
        match make() {
            Err(error) if patience.allows_another_try(&error) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

#[cfg(feature = "tokio-uring")]
pub(crate) use for_a_runtime::refuse_without_room;

#[cfg(feature = "tokio-uring")]
mod for_a_runtime {
    use std::io;
    use std::os::unix::net::UnixDatagram;

    use crate::engine::Engine;

    /// The descriptors that `with_pair` opens: an epoll, its duplicate, an eventfd and a ring for the runtime, and both ends.
    const DESCRIPTORS: usize = 6;

    /// Fails if the set-up of a tokio-uring runtime would: a failing `Runtime::new` (0.5.0) leaks descriptors.
    pub(crate) fn refuse_without_room(engine: &Engine) -> io::Result<()> {
        let first = UnixDatagram::unbound()?;
        (1..DESCRIPTORS).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
        engine.refuse_without_room_for_a_ring()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enomem_is_retried() {
        let mut calls = 0;
        let made = patiently(|| {
            calls += 1;
            if calls < 3 { Err(io::Error::from(Errno::ENOMEM)) } else { Ok(calls) }
        });
        assert_eq!(made.unwrap(), 3);
        let refused: io::Result<()> = patiently(|| {
            calls += 1;
            Err(Errno::EPERM.into())
        });
        assert_eq!((refused.unwrap_err().raw_os_error(), calls), (Some(Errno::EPERM as i32), 4));
    }
}

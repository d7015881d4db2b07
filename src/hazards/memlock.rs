//! Applies when memory for rings runs short: rings lock memory, `RLIMIT_MEMLOCK` limits it, and a dropped ring gives it back
//! only some time later.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Step};

/// How long a refusal for the moment is retried.
///
/// Of 27,000 rings of a user who may lock 64 KiB, some waited for 50 to 100 ms and the slowest for 263 ms, on a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// The time of the first refusal, for a caller that tries again.
#[derive(Default)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// Whether to try again after this error: `ENOMEM` may pass. There is at least one more try, however long the first took.
    pub(crate) fn allows_another_try(&mut self, error: &impl Refusal) -> bool {
        let is_first = self.0.is_none();
        let first = *self.0.get_or_insert_with(Instant::now);
        error.of_a_ring() == Some(Errno::ENOMEM) && (is_first || first.elapsed() < PATIENCE)
    }
}

/// An error that may say that the kernel has refused a ring.
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

/// Calls `make` again, a millisecond apart, while it is refused for the moment.
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

    /// What `with_pair` opens beside the thread's own engine and listener: an epoll, its duplicate, an eventfd and a ring for
    /// the runtime, and both ends.
    const DESCRIPTORS: usize = 6;

    /// Fails as the set-up of a tokio-uring runtime would. A failing `Runtime::new` (0.5.0) leaves descriptors open for good.
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
    fn only_a_refusal_for_the_moment_is_retried() {
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

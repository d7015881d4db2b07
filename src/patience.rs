//! A refusal in passing is met with another try: rings that were dropped give their memory back a moment later.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// Whether set-up may succeed a moment later: the memory of rings that were dropped is given back asynchronously, so a
/// loop that makes and drops them meets `ENOMEM` under `RLIMIT_MEMLOCK`.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOMEM as i32)
}

/// How long a passing refusal is met with another try. Of 27,000 rings of a user who may lock 64 KiB some had to be waited for for
/// 50 to 100 ms, and the worst for 263, on a machine that was busy.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// Tries once more, a millisecond apart, as long as `make` is refused in passing and patience lasts.
pub(crate) fn patiently<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut refused = None; // when first: however long that took, there is another try
    loop {
        match make() {
            Err(error) if is_passing(&error) && refused.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_refusal_is_met_with_patience_and_another_one_is_not() {
        let mut calls = 0;
        let made = patiently(|| {
            calls += 1;
            if calls < 3 { Err(Errno::ENOMEM.into()) } else { Ok(calls) }
        });
        assert_eq!(made.unwrap(), 3);
        let refused: io::Result<()> = patiently(|| {
            calls += 1;
            Err(Errno::EPERM.into())
        });
        assert_eq!((refused.unwrap_err().raw_os_error(), calls), (Some(Errno::EPERM as i32), 4));
    }
}

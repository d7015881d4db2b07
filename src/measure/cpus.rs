//! Which CPUs a thread may run on.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, to the kernel.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// Returns the CPUs that the calling thread may run on, in order.
///
/// ```
/// let cpus = ringpair::measure::available_cpus().unwrap();
/// assert!(!cpus.is_empty() && cpus.is_sorted());
/// ```
///
/// # Errors
///
/// If the kernel does not tell.
///
/// # Source
///
/// `sched_getaffinity(2)`.
pub fn available_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Lets the calling thread, and threads that it starts, run on these CPUs alone.
///
/// ```
/// use ringpair::measure::{available_cpus, pin};
///
/// let first = available_cpus().unwrap()[0];
/// pin(&[first]).unwrap();
/// assert_eq!(available_cpus().unwrap(), [first]);
/// ```
///
/// # Errors
///
/// If none of them is available, or one is more than the kernel can have.
///
/// # Source
///
/// `sched_setaffinity(2)`.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
    Ok(sched_setaffinity(THIS_THREAD, &set)?)
}

/// Returns why a thread cannot be pinned to one of these CPUs, if it cannot.
#[cfg(any(feature = "tokio-uring", feature = "tokio"))]
pub(super) fn unavailable(cpus: &[usize]) -> io::Result<Option<String>> {
    if cpus.is_empty() {
        return Ok(None);
    }
    let available = available_cpus()?;
    let missing = cpus.iter().find(|cpu| !available.contains(cpu));
    Ok(missing.map(|cpu| format!("CPU {cpu} is not available to this process; available: {available:?}")))
}

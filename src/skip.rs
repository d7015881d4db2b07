//! Visible skips: a test that cannot run here prints a line, past the test harness's capture.

use std::io::{self, Write};

use crate::engine::{Engine, is_absence};
use crate::environment::is_ring_required;
use crate::hazards::memlock::patiently;
use crate::hazards::teardown::in_a_thread;
use crate::options::Choice;

/// Returns whether this host has io_uring. If not, prints on standard error that the test `name` is skipped.
///
/// The line, `SKIPPED name: no io_uring here: …`, bypasses libtest's capture, so it is visible although the test passes.
/// With `RINGPAIR_REQUIRE_URING=1` in the environment, a missing ring is a panic instead.
///
/// ```
/// fn an_echo_comes_back() {
///     if !ringpair::ring_or_skip("an_echo_comes_back") {
///         return;
///     }
///     // a test that needs a ring
/// }
/// # an_echo_comes_back();
/// ```
///
/// # Panics
///
/// If a ring is required and absent; if the variable has an invalid value; if this host has io_uring but a ring cannot be set
/// up, for example because descriptors or memory have run out.
///
/// # Source
///
/// `io_uring_setup(2)`: `ENOSYS`, `EPERM`, `EACCES` and `EOPNOTSUPP` are absence, and so is a seccomp filter of this thread that
/// kills the process.
pub fn ring_or_skip(name: &str) -> bool {
    let is_required = is_ring_required().unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    let tried = in_a_thread(|| patiently(|| Engine::open(Choice::Uring)).map(drop));
    let Err(error) = tried else { return true };
    assert!(is_absence(&error), "{name}: io_uring cannot be used: {error}");
    assert!(!is_required, "{name}: RINGPAIR_REQUIRE_URING is set, and there is no io_uring here: {error}");
    say_skipped(name, &error);
    false
}

/// Prints that a test is skipped. The test harness captures what the standard library's macros print, but not this.
pub(crate) fn say_skipped(name: &str, error: &io::Error) {
    let line = format!("SKIPPED {name}: no io_uring here: {error}\n");
    let _ = io::stderr().write_all(line.as_bytes()); // without a standard error, there is no reader either
}

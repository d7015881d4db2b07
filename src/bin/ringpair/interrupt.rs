//! Being told to stop: what was done so far is still to be told of.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A flag that is set by the first SIGINT or SIGTERM. The second one ends the program as if nobody had asked.
pub(crate) fn caught() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // Held back until both halves are in place: one that found the first half alone would be swallowed.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let registered = [SIGINT, SIGTERM].into_iter().try_for_each(|signal| {
        flag::register_conditional_default(signal, Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted)).map(drop)
    });
    before.thread_set_mask()?;
    registered.map(|()| interrupted)
}

//! [`Handle`]: the script of a mocket that is in other hands.

use std::fmt;
use std::sync::Arc;

use super::stage::Stage;
use super::{Mismatch, Script};

/// A handle on the script of a mocket; see [`Mocket::handle`](super::Mocket::handle).
pub struct Handle {
    stage: Arc<Stage>,
}

impl Handle {
    pub(super) fn of(stage: &Arc<Stage>) -> Handle {
        stage.add_handle();
        Handle { stage: Arc::clone(stage) }
    }

    /// As [`Mocket::provide`](super::Mocket::provide).
    ///
    /// A read that owns its buffer, as in tokio-uring, compio and monoio, stays at the socket if it already waits there: it gets
    /// what the peer sends.
    pub fn provide(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.play(Script::new().provide(bytes))
    }

    /// As [`Mocket::expect`](super::Mocket::expect).
    pub fn expect(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.play(Script::new().expect(bytes))
    }

    /// As [`Mocket::play`](super::Mocket::play).
    pub fn play(&self, script: Script) -> &Self {
        self.stage.play(script);
        self
    }

    /// As [`Mocket::written`](super::Mocket::written).
    pub fn written(&self) -> Vec<u8> {
        self.stage.written()
    }

    /// As [`Mocket::verify`](super::Mocket::verify).
    ///
    /// # Errors
    ///
    /// As [`Mocket::verify`](super::Mocket::verify).
    pub fn verify(&self) -> Result<(), Mismatch> {
        self.stage.verify()
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::of(&self.stage)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stage.remove_handle();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

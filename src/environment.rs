//! The environment variables that choose the engine of `Backend::Auto`.

use std::env;
use std::io::ErrorKind::InvalidInput;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::error::{Error, Result, Step};
use crate::options::Backend;

/// Returns the engine that `RINGPAIR_BACKEND` names, or `None` if it is not set.
pub(crate) fn backend() -> Result<Option<Backend>> {
    Ok(BACKEND.read()?.map(|value| if value == EPOLL { Backend::Epoll } else { Backend::Uring }))
}

/// Whether a missing ring is a failure, not a reason to fall back or skip: `RINGPAIR_REQUIRE_URING`.
pub(crate) fn is_ring_required() -> Result<bool> {
    Ok(REQUIRE_URING.read()? == Some(ON))
}

const URING: u8 = 0;
const EPOLL: u8 = 1;

static BACKEND: Variable = Variable {
    name: "RINGPAIR_BACKEND",
    takes: "uring or epoll",
    value_of: |text| match text {
        "uring" => Some(URING),
        "epoll" => Some(EPOLL),
        _ => None,
    },
    known: AtomicU8::new(UNREAD),
};

const OFF: u8 = 0;
const ON: u8 = 1;

static REQUIRE_URING: Variable = Variable {
    name: "RINGPAIR_REQUIRE_URING",
    takes: "1, true, yes, on, 0, false, no or off",
    value_of: |text| match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(ON),
        "0" | "false" | "no" | "off" => Some(OFF),
        _ => None,
    },
    known: AtomicU8::new(UNREAD),
};

/// A variable of the environment, read once per process: the standard library's lock costs more than the rest of the plan.
struct Variable {
    name: &'static str,
    takes: &'static str,
    value_of: fn(&str) -> Option<u8>,
    /// One of the three below, or the value plus `VALUES`.
    known: AtomicU8,
}

const UNREAD: u8 = 0;
const UNSET: u8 = 1;
const INVALID: u8 = 2;
const VALUES: u8 = 3;

impl Variable {
    /// Returns the value, or `None` if the variable is not set.
    fn read(&self) -> Result<Option<u8>> {
        let mut known = self.known.load(Relaxed);
        if known == UNREAD {
            known = self.look_up();
            self.known.store(known, Relaxed);
        }
        match known {
            UNSET => Ok(None),
            INVALID => Err(self.refused()),
            value => Ok(Some(value - VALUES)),
        }
    }

    fn look_up(&self) -> u8 {
        match env::var_os(self.name) {
            None => UNSET,
            Some(text) => text.to_str().and_then(self.value_of).map_or(INVALID, |value| VALUES + value),
        }
    }

    fn refused(&self) -> Error {
        let found = env::var_os(self.name).unwrap_or_default();
        let why = format!("{} is {found:?}; it takes {}", self.name, self.takes);
        Step::Options.refused(InvalidInput, why)
    }
}

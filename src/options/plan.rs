//! Checks the options of a pair, before anything is opened.

use std::io::{ErrorKind, ErrorKind::InvalidInput};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Configure, Linger, PairOptions};
use crate::environment;
use crate::error::{Error, Result, Step};

/// The engine to open, after options, features and environment have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Uring,
    #[cfg(feature = "epoll")]
    Epoll,
    /// The ring, or epoll if there is no ring.
    #[cfg(feature = "epoll")]
    UringOrEpoll,
}

impl PairOptions {
    /// Checks all options and turns them into a plan.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let linger = checked(self.address, self.timeout, self.linger)?;
        Ok(Plan {
            choice: chosen(self.backend)?,
            linger,
            timeout: self.timeout,
            shape: Shape {
                address: self.address,
                nodelay: self.nodelay,
                recv_buffer_size: checked_size("receive", self.recv_buffer_size)?,
                send_buffer_size: checked_size("send", self.send_buffer_size)?,
                reuse_address: self.reuse_address,
            },
            configure: self.configure.clone(),
        })
    }
}

/// Checked options.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) choice: Choice,
    /// The linger of both ends once they are a pair. `None` keeps the zero linger that they begin with.
    pub(crate) linger: Option<FinalLinger>,
    pub(crate) timeout: Duration,
    pub(crate) shape: Shape,
    pub(crate) configure: Option<Arc<Configure>>,
}

/// Options of the listener and of connecting sockets. A listener is only reused for the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) address: IpAddr,
    pub(crate) nodelay: Option<bool>,
    pub(crate) recv_buffer_size: Option<usize>,
    pub(crate) send_buffer_size: Option<usize>,
    pub(crate) reuse_address: bool,
}

/// A linger that replaces the zero linger: the value of `SO_LINGER`, or `None` for off.
#[derive(Clone, Copy)]
pub(crate) struct FinalLinger(pub(crate) Option<Duration>);

impl Plan {
    /// Returns the plan without the fallback, for a stream type that needs a ring.
    pub(crate) fn on_a_ring(self) -> Result<Plan> {
        match self.choice {
            #[cfg(feature = "epoll")]
            Choice::Epoll => Err(needs_the_ring()),
            _ => Ok(Plan { choice: Choice::Uring, ..self }),
        }
    }
}

/// Returns the error for a stream type that needs a ring if pairs are made by epoll.
pub(crate) fn needs_the_ring() -> Error {
    let why = "this stream type needs io_uring, but these pairs are made by epoll";
    Step::Options.refused(ErrorKind::Unsupported, why)
}

fn chosen(backend: Backend) -> Result<Choice> {
    match backend {
        Backend::Uring => Ok(Choice::Uring),
        Backend::Epoll => epoll(),
        Backend::Auto => chosen_by_the_environment(),
    }
}

/// Returns the engine of `Backend::Auto`.
///
/// # Errors
///
/// [`Step::Options`] if a variable has an invalid value, or names an engine that is not compiled in.
pub(crate) fn chosen_by_the_environment() -> Result<Choice> {
    let is_required = environment::is_ring_required()?;
    match environment::backend()? {
        None if is_required => Ok(Choice::Uring),
        None => Ok(default_choice()),
        Some(Backend::Epoll) => epoll(),
        Some(_) => Ok(Choice::Uring),
    }
}

#[cfg(feature = "epoll")]
fn epoll() -> Result<Choice> {
    Ok(Choice::Epoll)
}

#[cfg(not(feature = "epoll"))]
fn epoll() -> Result<Choice> {
    let why = "the epoll engine needs ringpair's feature `epoll`";
    Err(Step::Options.refused(ErrorKind::Unsupported, why))
}

#[cfg(feature = "epoll")]
fn default_choice() -> Choice {
    Choice::UringOrEpoll
}

#[cfg(not(feature = "epoll"))]
fn default_choice() -> Choice {
    Choice::Uring
}

/// Checks the options that pairs and endpoints share. Returns the linger.
pub(crate) fn checked(address: IpAddr, timeout: Duration, linger: Linger) -> Result<Option<FinalLinger>> {
    if !is_supported(address) {
        let why = format!("{address} is not a loopback address (127.0.0.0/8 or ::1)");
        return Err(Step::Options.refused(InvalidInput, why));
    }
    if timeout.is_zero() {
        return Err(Step::Options.refused(InvalidInput, "the timeout is zero"));
    }
    seconds_of(linger)
}

fn is_supported(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

/// The longest linger, in seconds. Older kernels store 32 bits of clock ticks, up to 1,000 per second.
const MAX_WAIT_SECONDS: u64 = u32::MAX as u64 / 1000;

fn seconds_of(linger: Linger) -> Result<Option<FinalLinger>> {
    match linger {
        Linger::Reset => Ok(None),
        Linger::Graceful => Ok(Some(FinalLinger(None))),
        Linger::Wait(wait) if wait.subsec_nanos() == 0 && (1..=MAX_WAIT_SECONDS).contains(&wait.as_secs()) => {
            Ok(Some(FinalLinger(Some(wait))))
        }
        Linger::Wait(wait) => {
            let why = format!("Linger::Wait takes whole seconds from 1 to {MAX_WAIT_SECONDS}, not {wait:?}");
            Err(Step::Options.refused(InvalidInput, why))
        }
    }
}

fn checked_size(which: &str, bytes: Option<usize>) -> Result<Option<usize>> {
    match bytes {
        Some(bytes) if bytes == 0 || i32::try_from(bytes).is_err() => {
            let why = format!("the {which} buffer size must be from 1 to {} bytes, not {bytes}", i32::MAX);
            Err(Step::Options.refused(InvalidInput, why))
        }
        fits => Ok(fits),
    }
}

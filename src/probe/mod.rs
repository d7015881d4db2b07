//! What this host allows, found out by trying it, and what to do about what it does not.

mod attempt;
mod cause;
mod child;
mod deadly;
mod host;
mod loopback;
mod opcodes;
mod record;
mod ring;
mod table;
mod trial;

pub use attempt::{Attempt, Outcome};
pub use cause::{Cause, Verdict};
pub use host::{Host, Limit};
pub use opcodes::Opcodes;

pub(crate) use deadly::refuse_if_asking_kills;
#[cfg(feature = "measure")]
pub(crate) use host::is_kernel_before;

use attempt::Tried;
use record::Findings;

/// Finds out what this host allows: whether pairs can be made through io_uring, by plain system calls or not at all, what
/// is in the way, and what to do about it.
///
/// ```
/// let probe = ringpair::probe();
/// println!("{probe}"); // a table
/// if let Some(cause) = probe.cause() {
///     eprintln!("{}: {cause}. {}", probe.verdict(), cause.remedy());
/// }
/// ```
///
/// It is tried for real: a connection on 127.0.0.1, by plain calls and through a ring. It never fails, and takes a few
/// milliseconds, or some seconds where something hangs. What it tells holds for the calling thread, whose seccomp filters,
/// capabilities and namespaces another thread need not share.
///
/// The trying is done in a child process, because a seccomp filter may kill who tries. The child begins as a copy of this
/// process, descriptors included: a connection that is closed here meanwhile ends when the child has. So ask once, at the
/// start. A program that ignores `SIGCHLD`, or reaps every child in sight, keeps the cause of the child's death from us.
///
/// # Source
///
/// `io_uring_setup(2)` (Linux 5.1), `io_uring_enter(2)`, `io_uring_register(2)`, `seccomp(2)`, `getrlimit(2)`, `capabilities(7)`, and
/// `/proc/sys` as the kernel's `admin-guide/sysctl` describes it.
pub fn probe() -> Probe {
    Probe::judged(Host::read(), trial::run())
}

/// What [`probe`](probe()) found. `Display` is a table of at most 100 columns.
///
/// With the feature `cli` it is `serde::Serialize`: `verdict`, `cause`, `cause_text`, `remedy`, `host`,
/// `opcodes`, `tried` (an outcome for each attempt).
///
/// ```
/// use ringpair::probe::{Attempt, Outcome, Verdict};
///
/// let probe = ringpair::probe();
/// match probe.verdict() {
///     Verdict::Ring => assert_eq!(probe.outcome(Attempt::RingConnect), Outcome::Worked),
///     _ => assert!(probe.cause().is_some()),
/// }
/// if let Some(opcodes) = probe.opcodes() {
///     println!("sockets {} opened through the ring", if opcodes.socket { "are" } else { "are not" });
/// }
/// if let Some(limit) = probe.host().descriptors {
///     assert!(limit.soft.is_none_or(|soft| soft > 0));
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    host: Host,
    tried: Tried,
    opcodes: Option<Opcodes>,
    verdict: Verdict,
    cause: Option<Cause>,
}

impl Probe {
    fn judged(host: Host, findings: Findings) -> Probe {
        let (verdict, cause) = cause::judge(&host, &findings.tried, findings.no_child);
        Probe { host, tried: findings.tried, opcodes: findings.opcodes, verdict, cause }
    }

    /// What pairs can be made by.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What is in the way; `None` where the verdict is [`Verdict::Ring`].
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// What the host says about itself.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What the ring says about itself; `None` where there is none, or it may not be asked.
    pub fn opcodes(&self) -> Option<Opcodes> {
        self.opcodes
    }

    /// How one thing went that was tried.
    pub fn outcome(&self, attempt: Attempt) -> Outcome {
        self.tried.outcome(attempt)
    }
}

#[cfg(feature = "cli")]
impl serde::Serialize for Probe {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut probe = serializer.serialize_struct("Probe", 7)?;
        probe.serialize_field("verdict", &self.verdict)?;
        probe.serialize_field("cause", &self.cause)?;
        probe.serialize_field("cause_text", &self.cause.map(|cause| cause.to_string()))?;
        probe.serialize_field("remedy", &self.cause.map(|cause| cause.remedy()))?;
        probe.serialize_field("host", &self.host)?;
        probe.serialize_field("opcodes", &self.opcodes)?;
        probe.serialize_field("tried", &self.tried)?;
        probe.end()
    }
}

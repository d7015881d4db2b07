//! Finds out what this host allows by trying it, and what to do about what it does not allow.

mod cause;
mod check;
mod child;
mod host;
mod loopback;
mod opcodes;
mod pair;
mod record;
mod ring;
mod run;
mod seccomp_kill;
mod table;
mod verdict;

pub use cause::Cause;
pub use check::{Check, Outcome};
pub use host::{Host, Limit};
pub use opcodes::Opcodes;
pub use verdict::Verdict;

#[cfg(feature = "measure")]
pub(crate) use host::is_kernel_before;
pub(crate) use seccomp_kill::{InDoubt, refuse_if_seccomp_kills};

use check::Tried;
use record::Findings;

use crate::error::Result;
use crate::options::{Choice, chosen_by_the_environment};

/// Finds out which engine [`Backend::Auto`](crate::Backend::Auto) uses in this thread, why a ring or pairs are not available,
/// and what to do about it.
///
/// ```
/// let probe = ringpair::probe();
/// println!("{probe}"); // a table
/// if let (Some(cause), Some(remedy)) = (probe.cause(), probe.remedy()) {
///     eprintln!("{}: {cause}. {remedy}", probe.verdict());
/// }
/// ```
///
/// Makes a pair on 127.0.0.1 with the default options, and tries each system call and ring operation. Never fails, and takes a
/// few milliseconds, or some seconds if a call hangs. The result holds for the calling thread, with its seccomp filters,
/// capabilities and namespaces, and for the environment of this process.
///
/// If a seccomp filter is active, the checks run in child processes, because the filter may kill. A child is a copy of this
/// process with its descriptors: a connection that is closed here meanwhile stays open until the child ends. So call it once,
/// at the start. If the program ignores `SIGCHLD`, or reaps all children, the cause of a child's death is unknown.
///
/// # Source
///
/// `io_uring_setup(2)` (Linux 5.1), `io_uring_enter(2)`, `io_uring_register(2)`, `seccomp(2)`, `getrlimit(2)`, `capabilities(7)`, and
/// `/proc/sys` as the kernel's `admin-guide/sysctl` describes it.
pub fn probe() -> Probe {
    let host = Host::read();
    match chosen_by_the_environment() {
        Ok(choice) => Probe::judged(host, run::run(choice != Choice::Uring), is_epoll(choice)),
        Err(_) => Probe::of_an_invalid_environment(host),
    }
}

fn is_epoll(choice: Choice) -> bool {
    match choice {
        #[cfg(feature = "epoll")]
        Choice::Epoll => true,
        _ => false,
    }
}

/// Checks the environment variables that choose the engine of [`Backend::Auto`](crate::Backend::Auto). Opens nothing.
///
/// ```
/// assert!(ringpair::probe::check_environment().is_ok()); // neither RINGPAIR_BACKEND nor RINGPAIR_REQUIRE_URING is misspelt
/// ```
///
/// # Errors
///
/// [`Step::Options`](crate::Step::Options) if a variable has an invalid value, or names an engine that is not compiled in.
pub fn check_environment() -> Result<()> {
    chosen_by_the_environment().map(drop)
}

/// The result of [`probe`](probe()). `Display` is a table that begins with the verdict, at most 80 columns wide, or as wide as
/// the format says (`{probe:60}`).
///
/// With the feature `cli` it implements `serde::Serialize`; `schemas/doctor.json` describes the document.
///
/// ```
/// use ringpair::probe::{Check, Outcome, Verdict};
///
/// let probe = ringpair::probe();
/// match probe.verdict() {
///     Verdict::Ring => assert_eq!(probe.outcome(Check::RingConnect), Outcome::Worked),
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
    fn judged(host: Host, findings: Findings, epoll_is_chosen: bool) -> Probe {
        let host = Host { loopback_up: findings.loopback_up, ..host };
        let (verdict, cause) = verdict::judge(&host, &findings, epoll_is_chosen);
        Probe { host, tried: findings.tried, opcodes: findings.opcodes, verdict, cause }
    }

    fn of_an_invalid_environment(host: Host) -> Probe {
        let (verdict, cause) = (Verdict::Nothing, Some(Cause::InvalidEnvironment));
        Probe { host, tried: Tried::nothing(), opcodes: None, verdict, cause }
    }

    /// Returns the engine that [`Backend::Auto`](crate::Backend::Auto) uses.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns why the verdict is not [`Verdict::Ring`]; `None` if it is.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Returns what to do about the cause: its [remedy](Cause::remedy), and how to make pairs without a ring if that helps.
    pub fn remedy(&self) -> Option<String> {
        let remedy = self.cause?.remedy();
        Some(match self.remedy_without_a_ring() {
            Some(other) => format!("{remedy} {other}"),
            None => remedy,
        })
    }

    fn remedy_without_a_ring(&self) -> Option<&'static str> {
        let has_none = self.verdict == Verdict::Nothing;
        if has_none && self.tried.worked(Check::PairByEpoll) {
            return Some("Or make pairs without a ring: set RINGPAIR_BACKEND=epoll.");
        }
        let plain_calls_work = Check::PLAIN.iter().all(|check| self.tried.worked(*check));
        let could_fall_back = has_none && plain_calls_work && !cfg!(feature = "epoll");
        could_fall_back.then_some("Or make pairs without a ring: enable ringpair's feature `epoll`.")
    }

    /// Returns settings and limits of the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the opcodes that the ring supports; `None` without a ring, or if a filter bars the question.
    pub fn opcodes(&self) -> Option<Opcodes> {
        self.opcodes
    }

    /// Returns the outcome of a check.
    pub fn outcome(&self, check: Check) -> Outcome {
        self.tried.outcome(check)
    }
}

/// The version of `schemas/doctor.json`. Documents without a version are of version 1.
#[cfg(feature = "cli")]
const SCHEMA: u32 = 3;

#[cfg(feature = "cli")]
impl serde::Serialize for Probe {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut probe = serializer.serialize_struct("Probe", 8)?;
        probe.serialize_field("schema", &SCHEMA)?;
        probe.serialize_field("verdict", &self.verdict)?;
        probe.serialize_field("cause", &self.cause)?;
        probe.serialize_field("cause_text", &self.cause.map(|cause| cause.to_string()))?;
        probe.serialize_field("remedy", &self.remedy())?;
        probe.serialize_field("host", &self.host)?;
        probe.serialize_field("opcodes", &self.opcodes)?;
        probe.serialize_field("tried", &self.tried)?;
        probe.end()
    }
}

//! What this host allows, found out by trying it, and what to do about what it does not.

mod attempt;
mod cause;
mod child;
mod deadly;
mod host;
mod loopback;
mod opcodes;
mod pair;
mod record;
mod ring;
mod table;
mod trial;
mod verdict;

pub use attempt::{Attempt, Outcome};
pub use cause::Cause;
pub use host::{Host, Limit};
pub use opcodes::Opcodes;
pub use verdict::Verdict;

pub(crate) use deadly::{InDoubt, refuse_if_asking_kills};
#[cfg(feature = "measure")]
pub(crate) use host::is_kernel_before;

use attempt::Tried;
use record::Findings;

use crate::error::Result;
use crate::options::{Choice, chosen_by_the_environment};

/// Finds out what [`Backend::Auto`](crate::Backend::Auto) makes pairs by in this thread, what is in the way of a ring or of
/// pairs, and what to do about it.
///
/// ```
/// let probe = ringpair::probe();
/// println!("{probe}"); // a table
/// if let (Some(cause), Some(remedy)) = (probe.cause(), probe.remedy()) {
///     eprintln!("{}: {cause}. {remedy}", probe.verdict());
/// }
/// ```
///
/// It makes a pair on 127.0.0.1 with the default options, and tries the single calls and operations. It never fails, and
/// takes a few milliseconds, or some seconds if something hangs. What it tells holds for the calling thread, whose seccomp
/// filters, capabilities and namespaces another thread need not share, and for the environment of this process.
///
/// If a seccomp filter is in force, it is tried in child processes, because the filter may kill. A child begins as a copy of
/// this process, descriptors included: a connection that is closed here meanwhile ends when the child has. So ask once, at the
/// start. A program that ignores `SIGCHLD`, or reaps every child in sight, hides the cause of a child's death.
///
/// # Source
///
/// `io_uring_setup(2)` (Linux 5.1), `io_uring_enter(2)`, `io_uring_register(2)`, `seccomp(2)`, `getrlimit(2)`, `capabilities(7)`, and
/// `/proc/sys` as the kernel's `admin-guide/sysctl` describes it.
pub fn probe() -> Probe {
    let host = Host::read();
    match chosen_by_the_environment() {
        Ok(choice) => Probe::judged(host, trial::run(), is_epoll(choice)),
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

/// Checks the variables that decide for [`Backend::Auto`](crate::Backend::Auto), before anything is opened.
///
/// ```
/// assert!(ringpair::probe::check_environment().is_ok()); // neither RINGPAIR_BACKEND nor RINGPAIR_REQUIRE_URING is misspelt
/// ```
///
/// # Errors
///
/// [`Step::Options`](crate::Step::Options) if a variable has a value that it does not take, or names an engine that is not
/// compiled in.
pub fn check_environment() -> Result<()> {
    chosen_by_the_environment().map(drop)
}

/// What [`probe`](probe()) found. `Display` is a table of at most 80 columns, or of as many as the format's width says
/// (`{probe:60}`), that begins with the verdict.
///
/// With the feature `cli` it is `serde::Serialize`, as `schemas/doctor.json` describes it.
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
    fn judged(host: Host, findings: Findings, epoll_is_chosen: bool) -> Probe {
        let host = Host { loopback_up: findings.loopback_up, ..host };
        let (verdict, cause) = verdict::judge(&host, &findings, epoll_is_chosen);
        Probe { host, tried: findings.tried, opcodes: findings.opcodes, verdict, cause }
    }

    fn of_an_invalid_environment(host: Host) -> Probe {
        let (verdict, cause) = (Verdict::Nothing, Some(Cause::InvalidEnvironment));
        Probe { host, tried: Tried::nothing(), opcodes: None, verdict, cause }
    }

    /// Returns what [`Backend::Auto`](crate::Backend::Auto) makes pairs by.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns what is in the way; `None` if the verdict is [`Verdict::Ring`].
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Returns what to do about the cause: its own [remedy](Cause::remedy), and how to do without a ring if that helps.
    pub fn remedy(&self) -> Option<String> {
        let remedy = self.cause?.remedy();
        Some(match self.way_without_a_ring() {
            Some(way) => format!("{remedy} {way}"),
            None => remedy,
        })
    }

    fn way_without_a_ring(&self) -> Option<&'static str> {
        let has_none = self.verdict == Verdict::Nothing;
        if has_none && self.tried.worked(Attempt::PairByEpoll) {
            return Some("Or make pairs without a ring: set RINGPAIR_BACKEND=epoll.");
        }
        let plain_calls_work = Attempt::PLAIN.iter().all(|attempt| self.tried.worked(*attempt));
        let could_fall_back = has_none && plain_calls_work && !cfg!(feature = "epoll");
        could_fall_back.then_some("Or make pairs without a ring: enable ringpair's feature `epoll`.")
    }

    /// Returns what the host says about itself.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns what the ring says about itself; `None` if there is none, or it may not be asked.
    pub fn opcodes(&self) -> Option<Opcodes> {
        self.opcodes
    }

    /// Returns how an attempt went.
    pub fn outcome(&self, attempt: Attempt) -> Outcome {
        self.tried.outcome(attempt)
    }
}

/// The version of `schemas/doctor.json`. Documents without one are of version 1.
#[cfg(feature = "cli")]
const SCHEMA: u32 = 2;

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

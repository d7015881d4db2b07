//! A probe as a table, the verdict first.

use std::fmt;

use super::Probe;
use super::cause::Named;
use super::check::{Check, Outcome, Tried};
use super::host::{Host, Limit};
use super::opcodes::Opcodes;
use super::verdict::Verdict;

/// The default width, in columns.
const WIDTH: usize = 80;
const NAMES: usize = 15;
/// The minimum of columns for the text beside the names.
const TEXT: usize = 20;

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(WIDTH).saturating_sub(NAMES).max(TEXT);
        let lines: Vec<String> = self.rows().iter().flat_map(|(name, text)| row(name, text, width)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Probe {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let (host, tried) = (&self.host, &self.tried);
        let mut rows = vec![("verdict", verdict(self.verdict))];
        rows.extend(self.cause.map(|cause| ("cause", cause.to_string())));
        rows.extend(self.remedy().map(|remedy| ("remedy", remedy)));
        rows.extend([
            ("kernel", or_unknown(host.kernel_release.as_ref().map(|release| format!("Linux {release}")))),
            ("loopback", format!("{}; {}", interface(host), plain(tried))),
            ("  ::1", ipv6(tried)),
            ("io_uring", ring(tried)),
            ("  flags", flags(tried)),
            ("  opcodes", self.opcodes.map_or_else(|| no_opcodes(tried), opcodes)),
            ("sysctl", sysctl(host)),
            ("seccomp", seccomp(host).to_owned()),
            ("module", host.security_label.clone().unwrap_or_else(|| "no label".to_owned())),
            ("locked memory", locked_memory(host)),
            ("descriptors", descriptors(host)),
            ("ports", ports(host)),
            ("TIME_WAIT", time_wait(host)),
            ("backlog", format!("somaxconn {}", or_unknown(host.somaxconn))),
        ]);
        rows
    }
}

/// Formats a name with its text beside it, in lines of this width.
fn row(name: &str, text: &str, width: usize) -> Vec<String> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    let lines = wrapped(text, width).into_iter().zip(names);
    lines.map(|(line, name)| format!("{name:NAMES$}{line}")).collect()
}

/// Breaks lines between words, and inside a word only if it is longer than a line. Returns at least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    let mut add = |piece: &str, length: usize, glued: bool| {
        let gap = usize::from(used > 0 && !glued);
        if used + gap + length > width {
            lines.push(piece.to_owned());
            used = length;
        } else if let Some(line) = lines.last_mut() {
            line.push_str(if gap == 1 { " " } else { "" });
            line.push_str(piece);
            used += gap + length;
        }
    };
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (number, piece) in letters.chunks(width).enumerate() {
            add(&piece.iter().collect::<String>(), piece.len(), number > 0);
        }
    }
    lines
}

fn or_unknown<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn interface(host: &Host) -> &'static str {
    match host.loopback_up {
        Some(true) => "lo is up",
        Some(false) => "lo is down",
        None => "unknown whether lo is up",
    }
}

fn plain(tried: &Tried) -> String {
    match tried.first_failure(&Check::PLAIN) {
        Some((check, outcome)) => format!("{check} {}", outcome_text(outcome)),
        None if tried.worked(Check::Accept) => "connect and accept by plain calls work".to_owned(),
        None => outcome_text(Outcome::Untried),
    }
}

fn ipv6(tried: &Tried) -> String {
    match tried.outcome(Check::PairOnIpv6) {
        Outcome::Worked => "pairs can be made".to_owned(),
        Outcome::Refused { errno } => format!("no pairs: {}", Named(errno)),
        outcome => outcome_text(outcome),
    }
}

fn ports(host: &Host) -> String {
    let range = or_unknown(host.local_ports.map(|(first, last)| format!("{first} to {last}")));
    match host.reserved_ports {
        Some(reserved) if reserved > 0 => format!("{range}, {reserved} of them reserved"),
        _ => range,
    }
}

fn ring(tried: &Tried) -> String {
    let is_an_answer = |outcome| matches!(outcome, Outcome::Refused { .. });
    let [setup, register, used @ ..] = Check::RING;
    let failure = tried
        .first_failure(&[setup, register])
        .filter(|(check, outcome)| *check != register || !is_an_answer(*outcome));
    match failure.or_else(|| tried.first_failure(&used)) {
        Some((Check::RingSetup, outcome)) => format!("io_uring_setup {}", outcome_text(outcome)),
        Some((check, outcome)) => format!("a ring can be made; {check} {}", outcome_text(outcome)),
        _ if tried.worked(Check::RingClose) => {
            "works; connect, accept, cancel, write, read, close were tried".to_owned()
        }
        _ if tried.worked(Check::RingSetup) => "a ring can be made; its operations were not tried".to_owned(),
        _ => outcome_text(Outcome::Untried),
    }
}

fn outcome_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Untried => "not tried".to_owned(),
        Outcome::Worked => "works".to_owned(),
        Outcome::Refused { errno } => format!("is refused: {}", Named(errno)),
        Outcome::Late => "does not complete in time".to_owned(),
        Outcome::Mismatched => "returns another peer than the other end".to_owned(),
        Outcome::Died { signal: Some(signal) } => format!("is fatal: signal {signal}"),
        Outcome::Died { signal: None } => "is fatal".to_owned(),
    }
}

fn flags(tried: &Tried) -> String {
    let short = |check: Check| match check {
        Check::FlagsNone => "none".to_owned(),
        flag => flag.to_string().replace("IORING_SETUP_", ""),
    };
    let each = Check::FLAGS.map(|flag| match tried.outcome(flag) {
        Outcome::Worked => short(flag),
        outcome => format!("{} {}", short(flag), outcome_text(outcome)),
    });
    if Check::FLAGS.iter().all(|flag| tried.outcome(*flag) == Outcome::Untried) {
        return outcome_text(Outcome::Untried);
    }
    each.join(", ")
}

fn opcodes(opcodes: Opcodes) -> String {
    let of = |is_known| {
        let names: Vec<&str> = opcodes.named().filter(|(_, known)| *known == is_known).map(|(name, _)| name).collect();
        names.join(" ")
    };
    match (of(true), of(false)) {
        (known, unknown) if unknown.is_empty() => known,
        (known, unknown) => format!("{known}; unknown: {unknown}"),
    }
}

fn no_opcodes(tried: &Tried) -> String {
    match tried.outcome(Check::RingRegister) {
        Outcome::Untried => outcome_text(Outcome::Untried),
        outcome => format!("unknown: {} {}", Check::RingRegister, outcome_text(outcome)),
    }
}

fn sysctl(host: &Host) -> String {
    let membership = match host.in_io_uring_group {
        Some(true) => " (this process is in it)",
        Some(false) if host.io_uring_group.is_some_and(|group| group >= 0) => " (this process is not in it)",
        Some(false) => " (no group)",
        None => "",
    };
    format!(
        "kernel.io_uring_disabled {}, kernel.io_uring_group {}{membership}",
        or_unknown(host.io_uring_disabled),
        or_unknown(host.io_uring_group)
    )
}

fn seccomp(host: &Host) -> &'static str {
    match host.seccomp {
        Some(0) => "no filter",
        Some(1) => "strict mode",
        Some(2) => "a filter is active",
        _ => "unknown",
    }
}

fn locked_memory(host: &Host) -> String {
    let limit = limit(host.locked_memory, |bytes| {
        if bytes % 1024 == 0 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") }
    });
    match host.cap_ipc_lock {
        Some(true) if host.initial_user_namespace == Some(false) => {
            format!("{limit}; CAP_IPC_LOCK in a user namespace only, where it does not count")
        }
        Some(true) => format!("{limit}; not counted, with CAP_IPC_LOCK"),
        Some(false) => format!("{limit}; counted, without CAP_IPC_LOCK"),
        None => format!("{limit}; unknown whether it is counted"),
    }
}

fn descriptors(host: &Host) -> String {
    format!("{}; {} open", limit(host.descriptors, |count| count.to_string()), or_unknown(host.open_descriptors))
}

fn limit(limit: Option<Limit>, text: impl Fn(u64) -> String) -> String {
    let text = |value: Option<u64>| value.map_or_else(|| "no limit".to_owned(), &text);
    match limit {
        None => "unknown".to_owned(),
        Some(limit) if limit.soft == limit.hard => text(limit.soft),
        Some(limit) => format!("{}, can be raised to {}", text(limit.soft), text(limit.hard)),
    }
}

fn time_wait(host: &Host) -> String {
    let reuse = match host.tcp_tw_reuse {
        Some(0) => "0 (never)",
        Some(1) => "1 (always)",
        Some(2) => "2 (on loopback)",
        _ => "unknown",
    };
    let (now, max) = (or_unknown(host.time_wait), or_unknown(host.tcp_max_tw_buckets));
    format!("{now} now, tcp_max_tw_buckets {max}, tcp_tw_reuse {reuse}")
}

fn verdict(verdict: Verdict) -> String {
    let means = match verdict {
        Verdict::Ring => "pairs are made through io_uring",
        Verdict::Epoll => "pairs are made by plain calls, not through io_uring",
        Verdict::Nothing => "no pairs can be made here",
        Verdict::Unknown => "could not find out whether pairs can be made",
    };
    format!("{verdict}: {means}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::record::Findings;

    #[test]
    fn lines_break_between_words_and_in_words_that_are_too_long() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a 12345678 b", 4), ["a", "1234", "5678", "b"]);
        assert_eq!(wrapped("äöü äöü", 3), ["äöü", "äöü"]);
        assert_eq!(wrapped("  ", 3), [""]);
    }

    #[test]
    fn a_table_keeps_its_width_on_any_host() {
        let host = Host {
            kernel_release: Some("6".repeat(300)),
            security_label: Some("ü".repeat(1000)),
            io_uring_group: Some(i64::MIN),
            tcp_max_tw_buckets: Some(u64::MAX),
            ..Host::default()
        };
        let findings = Findings::none();
        let probe = Probe::judged(host, findings, false);
        for (table, width) in [
            (format!("{probe}"), 80),
            (format!("{probe:40}"), 40),
            (format!("{probe:200}"), 200),
            (format!("{probe:1}"), 35),
        ] {
            for line in table.lines() {
                assert!(line.chars().count() <= width, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    #[test]
    fn a_host_without_facts_is_unknown_in_every_row() {
        let findings = Findings { no_child: Some(11), ..Findings::none() };
        let table = Probe::judged(Host::default(), findings, false).to_string();
        let expected = "\
verdict        unknown: could not find out whether pairs can be made
cause          a seccomp filter is active, and no process could be started to
               find out whether it kills: EAGAIN
remedy         Let this user start processes: ulimit -u, the pids limit of the
               container (docker run --pids-limit) or the cgroup (pids.max), and
               memory.
kernel         unknown
loopback       unknown whether lo is up; not tried
  ::1          not tried
io_uring       not tried
  flags        not tried
  opcodes      not tried
sysctl         kernel.io_uring_disabled unknown, kernel.io_uring_group unknown
seccomp        unknown
module         no label
locked memory  unknown; unknown whether it is counted
descriptors    unknown; unknown open
ports          unknown
TIME_WAIT      unknown now, tcp_max_tw_buckets unknown, tcp_tw_reuse unknown
backlog        somaxconn unknown";
        assert_eq!(table, expected);
    }

    #[test]
    fn every_outcome_has_its_text() {
        for (outcome, text) in [
            (Outcome::Untried, "not tried"),
            (Outcome::Worked, "works"),
            (Outcome::Refused { errno: 1 }, "is refused: EPERM"),
            (Outcome::Refused { errno: 4095 }, "is refused: errno 4095"),
            (Outcome::Late, "does not complete in time"),
            (Outcome::Mismatched, "returns another peer than the other end"),
            (Outcome::Died { signal: Some(31) }, "is fatal: signal 31"),
            (Outcome::Died { signal: None }, "is fatal"),
        ] {
            assert_eq!(outcome_text(outcome), text);
        }
    }

    #[test]
    fn a_refused_register_hides_no_failure_of_the_ring() {
        let mut tried = Tried::nothing();
        tried.set(Check::RingSetup, Outcome::Worked);
        tried.set(Check::RingRegister, Outcome::Refused { errno: 1 });
        assert_eq!(ring(&tried), "a ring can be made; its operations were not tried");
        assert_eq!(no_opcodes(&tried), "unknown: io_uring_register is refused: EPERM");
        tried.set(Check::RingEnter, Outcome::Refused { errno: 1 });
        assert_eq!(ring(&tried), "a ring can be made; io_uring_enter is refused: EPERM");
        tried.set(Check::RingRegister, Outcome::Died { signal: None });
        assert_eq!(ring(&tried), "a ring can be made; io_uring_register is fatal");
    }
}

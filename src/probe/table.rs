//! A probe as a table for people, the verdict first.

use std::fmt;

use super::Probe;
use super::attempt::{Attempt, Outcome, Tried};
use super::cause::Named;
use super::host::{Host, Limit};
use super::opcodes::Opcodes;
use super::verdict::Verdict;

/// Columns of a terminal, if the format does not say.
const WIDTH: usize = 80;
const NAMES: usize = 15;
/// Columns for the text beside the names at least.
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

/// A name, and the text beside it, in lines of this width.
fn row(name: &str, text: &str, width: usize) -> Vec<String> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    let lines = wrapped(text, width).into_iter().zip(names);
    lines.map(|(line, name)| format!("{name:NAMES$}{line}")).collect()
}

/// Breaks between words, and inside one only where it does not fit at all. There is always a line.
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
        None => "whether lo is up is unknown",
    }
}

fn plain(tried: &Tried) -> String {
    match tried.first_failure(&Attempt::PLAIN) {
        Some((attempt, outcome)) => format!("{attempt} {}", outcome_text(outcome)),
        None if tried.worked(Attempt::Accept) => "connect and accept by plain calls work".to_owned(),
        None => outcome_text(Outcome::Untried),
    }
}

fn ipv6(tried: &Tried) -> String {
    match tried.outcome(Attempt::PairOnIpv6) {
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
    let [setup, register, used @ ..] = Attempt::RING;
    let failure = tried
        .first_failure(&[setup, register])
        .filter(|(attempt, outcome)| *attempt != register || !is_an_answer(*outcome));
    match failure.or_else(|| tried.first_failure(&used)) {
        Some((Attempt::RingSetup, outcome)) => format!("io_uring_setup {}", outcome_text(outcome)),
        Some((attempt, outcome)) => format!("a ring can be made; {attempt} {}", outcome_text(outcome)),
        _ if tried.worked(Attempt::RingClose) => {
            "works; connect, accept, cancel, write, read, close were tried".to_owned()
        }
        _ if tried.worked(Attempt::RingSetup) => "a ring can be made; nothing could be tried with it".to_owned(),
        _ => outcome_text(Outcome::Untried),
    }
}

fn outcome_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Untried => "not tried".to_owned(),
        Outcome::Worked => "works".to_owned(),
        Outcome::Refused { errno } => format!("is refused: {}", Named(errno)),
        Outcome::Late => "is not through in time".to_owned(),
        Outcome::Mismatched => "names another peer than the other end".to_owned(),
        Outcome::Died { signal: Some(signal) } => format!("is fatal: signal {signal}"),
        Outcome::Died { signal: None } => "is fatal".to_owned(),
    }
}

fn flags(tried: &Tried) -> String {
    let short = |attempt: Attempt| match attempt {
        Attempt::FlagsNone => "none".to_owned(),
        flag => flag.to_string().replace("IORING_SETUP_", ""),
    };
    let each = Attempt::FLAGS.map(|flag| match tried.outcome(flag) {
        Outcome::Worked => short(flag),
        outcome => format!("{} {}", short(flag), outcome_text(outcome)),
    });
    if Attempt::FLAGS.iter().all(|flag| tried.outcome(*flag) == Outcome::Untried) {
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
    match tried.outcome(Attempt::RingRegister) {
        Outcome::Untried => outcome_text(Outcome::Untried),
        outcome => format!("unknown: {} {}", Attempt::RingRegister, outcome_text(outcome)),
    }
}

fn sysctl(host: &Host) -> String {
    let membership = match host.in_io_uring_group {
        Some(true) => " (we are in it)",
        Some(false) if host.io_uring_group.is_some_and(|group| group >= 0) => " (we are not in it)",
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
        Some(2) => "a filter is in force",
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
        None => format!("{limit}; whether it is counted is unknown"),
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
        Some(limit) => format!("{}, to be raised up to {}", text(limit.soft), text(limit.hard)),
    }
}

fn time_wait(host: &Host) -> String {
    let reuse = match host.tcp_tw_reuse {
        Some(0) => "0 (never)",
        Some(1) => "1 (always)",
        Some(2) => "2 (on loopback)",
        _ => "unknown",
    };
    let (now, most) = (or_unknown(host.time_wait), or_unknown(host.tcp_max_tw_buckets));
    format!("{now} now, tcp_max_tw_buckets {most}, tcp_tw_reuse {reuse}")
}

fn verdict(verdict: Verdict) -> String {
    let means = match verdict {
        Verdict::Ring => "pairs are made through io_uring",
        Verdict::Epoll => "pairs are made by plain calls, not through io_uring",
        Verdict::Nothing => "no pairs can be made here as things are",
        Verdict::Unknown => "whether pairs can be made could not be tried",
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
    fn a_table_fits_whatever_the_host_says() {
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
    fn a_host_that_says_nothing_is_unknown_line_by_line() {
        let findings = Findings { no_child: Some(11), ..Findings::none() };
        let table = Probe::judged(Host::default(), findings, false).to_string();
        let expected = "\
verdict        unknown: whether pairs can be made could not be tried
cause          a seccomp filter is in force, and no process could be started to
               try whether it kills: EAGAIN
remedy         Let this user start processes: ulimit -u, the pids limit of the
               container (docker run --pids-limit) or the cgroup (pids.max), and
               memory.
kernel         unknown
loopback       whether lo is up is unknown; not tried
  ::1          not tried
io_uring       not tried
  flags        not tried
  opcodes      not tried
sysctl         kernel.io_uring_disabled unknown, kernel.io_uring_group unknown
seccomp        unknown
module         no label
locked memory  unknown; whether it is counted is unknown
descriptors    unknown; unknown open
ports          unknown
TIME_WAIT      unknown now, tcp_max_tw_buckets unknown, tcp_tw_reuse unknown
backlog        somaxconn unknown";
        assert_eq!(table, expected);
    }

    #[test]
    fn every_outcome_has_its_words() {
        for (outcome, text) in [
            (Outcome::Untried, "not tried"),
            (Outcome::Worked, "works"),
            (Outcome::Refused { errno: 1 }, "is refused: EPERM"),
            (Outcome::Refused { errno: 4095 }, "is refused: errno 4095"),
            (Outcome::Late, "is not through in time"),
            (Outcome::Mismatched, "names another peer than the other end"),
            (Outcome::Died { signal: Some(31) }, "is fatal: signal 31"),
            (Outcome::Died { signal: None }, "is fatal"),
        ] {
            assert_eq!(outcome_text(outcome), text);
        }
    }

    #[test]
    fn a_refused_question_hides_no_failure_of_the_ring() {
        let mut tried = Tried::nothing();
        tried.set(Attempt::RingSetup, Outcome::Worked);
        tried.set(Attempt::RingRegister, Outcome::Refused { errno: 1 });
        assert_eq!(ring(&tried), "a ring can be made; nothing could be tried with it");
        assert_eq!(no_opcodes(&tried), "unknown: io_uring_register is refused: EPERM");
        tried.set(Attempt::RingEnter, Outcome::Refused { errno: 1 });
        assert_eq!(ring(&tried), "a ring can be made; io_uring_enter is refused: EPERM");
        tried.set(Attempt::RingRegister, Outcome::Died { signal: None });
        assert_eq!(ring(&tried), "a ring can be made; io_uring_register is fatal");
    }
}

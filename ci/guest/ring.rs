//! What the ring is like on this kernel, for the tables of ci/kernels. Prints `what: value` lines; after `late`, only of pairs.

use std::net::TcpStream;

use ringpair::probe::{Check, Opcodes, Outcome};
use ringpair::{Backend, PairOptions, Probe, Result};

const PAIRS: u64 = 1000;

const FLAGS: [(&str, Check); 4] = [
    ("none", Check::FlagsNone),
    ("COOP_TASKRUN", Check::FlagCoopTaskrun),
    ("SINGLE_ISSUER", Check::FlagSingleIssuer),
    ("DEFER_TASKRUN", Check::FlagDeferTaskrun),
];

fn flags(probe: &Probe) -> String {
    let held = FLAGS.into_iter().filter(|(_, flag)| probe.outcome(*flag) == Outcome::Worked);
    match held.map(|(name, _)| name).collect::<Vec<_>>() {
        held if !held.is_empty() => held.join(", "),
        _ => format!("no ring: {}", probe.cause().map_or("why is unknown".to_owned(), |cause| cause.to_string())),
    }
}

/// Those that the crate submits.
fn operations(opcodes: Opcodes) -> String {
    let operations = [
        ("ACCEPT", opcodes.accept),
        ("CONNECT", opcodes.connect),
        ("SOCKET", opcodes.socket),
        ("ASYNC_CANCEL", opcodes.async_cancel),
        ("RECV", opcodes.recv),
        ("CLOSE", opcodes.close),
    ];
    let unknown: Vec<&str> = operations.into_iter().filter(|(_, known)| !known).map(|(name, _)| name).collect();
    if unknown.is_empty() { "all".to_owned() } else { format!("all but {}", unknown.join(", ")) }
}

fn inline_and_parked(backend: Backend) -> Result<String> {
    let factory = PairOptions::new().backend(backend).factory()?;
    for _ in 0..PAIRS {
        factory.pair_blocking::<TcpStream>()?;
    }
    let stats = factory.stats();
    Ok(format!("{} / {}", stats.inline, stats.parked))
}

fn main() {
    let late = std::env::args().nth(1).is_some_and(|argument| argument == "late");
    if !late {
        let probe = ringpair::probe();
        println!("flags: {}", flags(&probe));
        println!("operations: {}", probe.opcodes().map_or("–".to_owned(), operations));
    }
    for (name, backend) in [("ring", Backend::Uring), ("epoll", Backend::Epoll)] {
        let pairs = inline_and_parked(backend).unwrap_or_else(|_| "–".to_owned());
        println!("{name}{}: {pairs}", if late { ", late" } else { "" });
    }
}

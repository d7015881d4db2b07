//! What the ring is like on this kernel, for the table of ci/kernels. Prints `what: value` lines; after `late`, only of pairs.

use std::net::TcpStream;

use io_uring::{Builder, IoUring};
use ringpair::{Backend, PairOptions, Result};

const PAIRS: u64 = 1000;

fn flags() -> String {
    let flags: [(&str, fn(&mut Builder)); 4] = [
        ("plain", |_| {}),
        ("COOP_TASKRUN", |builder| {
            builder.setup_coop_taskrun();
        }),
        ("SINGLE_ISSUER", |builder| {
            builder.setup_single_issuer();
        }),
        ("DEFER_TASKRUN", |builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
        }),
    ];
    let mut held = Vec::new();
    let mut refused = String::new();
    for (name, set) in flags {
        let mut builder = IoUring::builder();
        set(&mut builder);
        match builder.build(64) {
            Ok(_) => held.push(name),
            Err(error) => refused = error.to_string(),
        }
    }
    if held.is_empty() { format!("none: {refused}") } else { held.join(", ") }
}

fn inline(backend: Backend) -> Result<String> {
    let factory = PairOptions::new().backend(backend).factory()?;
    for _ in 0..PAIRS {
        factory.pair_blocking::<TcpStream>()?;
    }
    let stats = factory.stats();
    Ok(format!("{} of {}", stats.inline, stats.pairs))
}

fn main() {
    let late = std::env::args().nth(1).is_some_and(|argument| argument == "late");
    if !late {
        println!("flags: {}", flags());
    }
    for (name, backend) in [("ring", Backend::Uring), ("epoll", Backend::Epoll)] {
        let inline = inline(backend).unwrap_or_else(|_| "–".to_owned());
        println!("{name}{}: {inline}", if late { ", late" } else { "" });
    }
}

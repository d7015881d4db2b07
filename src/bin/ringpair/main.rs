//! The command line: thin over the public API of the crate.

mod doctor;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pairs of connected TCP sockets on loopback, made through io_uring: for tests on Linux.
#[derive(Parser)]
#[command(name = "ringpair", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(doctor::Options),
}

fn main() -> ExitCode {
    match Line::parse().command {
        Command::Doctor(options) => doctor::run(&options),
    }
}

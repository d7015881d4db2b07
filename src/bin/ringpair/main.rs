//! The command line: thin over the public API of the crate.

mod close;
mod doctor;
mod exit;
mod interrupt;
mod namespace;
mod output;
mod soak;

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
    Close(close::Options),
    Doctor(doctor::Options),
    Merge(soak::MergeOptions),
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match Line::parse().command {
        Command::Close(options) => close::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Merge(options) => soak::merge(&options),
        Command::Soak(options) => soak::run(&options),
    }
}

//! The command line, a thin layer over the crate's public API.

mod close;
mod cpus;
mod doctor;
mod exit;
mod interrupt;
mod making;
mod manual;
mod namespace;
mod numbers;
mod output;
mod run;
mod screen;
mod soak;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use ringpair::probe::check_environment;

use crate::exit::WRONG;

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
    Completions(manual::CompletionsOptions),
    Doctor(doctor::Options),
    Man(manual::ManOptions),
    Merge(soak::MergeOptions),
    Run(run::Options),
    Soak(soak::Options),
    #[command(name = namespace::TRY, hide = true)]
    TryNetns,
}

fn main() -> ExitCode {
    let command = Line::parse().command;
    let makes_pairs = matches!(command, Command::Close(_) | Command::Doctor(_) | Command::Soak(_));
    if let Some(error) = makes_pairs.then(check_environment).and_then(Result::err) {
        return exit::with(Err((WRONG, error.into())));
    }
    match command {
        Command::Close(options) => close::run(&options),
        Command::Completions(options) => manual::completions(&options, &Line::command()),
        Command::Doctor(options) => doctor::run(&options),
        Command::Man(options) => manual::man(&options, Line::command()),
        Command::Merge(options) => soak::merge(&options),
        Command::Run(options) => run::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::TryNetns => namespace::run_try(),
    }
}

//! `ringpair completions` and `ringpair man`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::exit::{self, Refusal, WRONG, refused};
use crate::output::{about_option, print};

/// Prints completions for a shell.
#[derive(clap::Args)]
pub(crate) struct CompletionsOptions {
    /// The shell that reads them
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the man page, or writes it and the page of each command to a folder.
#[derive(clap::Args)]
pub(crate) struct ManOptions {
    /// Write the pages to files in this folder
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(options: &CompletionsOptions, line: &clap::Command) -> ExitCode {
    // Completions show hidden commands too.
    let shown = line.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut line = clap::Command::new("ringpair").version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut line, "ringpair", &mut script);
    exit::with(print(String::from_utf8_lossy(&script).trim_end()).map(|()| 0).map_err(refused(WRONG)))
}

pub(crate) fn man(options: &ManOptions, line: clap::Command) -> ExitCode {
    exit::with(tell(options, line).map(|()| 0))
}

fn tell(options: &ManOptions, line: clap::Command) -> Result<(), Refusal> {
    let written = match &options.folder {
        Some(folder) => std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(line, folder))
            .map_err(about_option("DIR", folder)),
        None => page_of(line).and_then(|page| print(page.trim_end())),
    };
    written.map_err(refused(WRONG))
}

fn page_of(line: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(line).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

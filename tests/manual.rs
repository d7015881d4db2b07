//! Checks that `ringpair completions` and `ringpair man` print what shells and man(1) read, with every command in it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[allow(unused_imports, unused_macros)] // the command line alone is tested here
mod common;

use std::fs;

use common::{Scratch, ringpair, text};

const COMMANDS: [&str; 7] = ["close", "completions", "doctor", "man", "merge", "run", "soak"];

#[test]
fn every_shell_gets_completions_of_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(!script.contains("try-netns"), "{shell} shows a hidden command");
        assert!(script.contains("concurrency") && script.contains("backend"), "{shell}");
    }
}

#[test]
fn an_unknown_shell_is_refused() {
    let output = ringpair(&["completions", "cmd"]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.starts_with("error: invalid value 'cmd' for '<SHELL>'") && error.contains("bash, "), "{error}");
}

#[test]
fn the_man_page_names_every_command() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH ringpair 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("ringpair\\-{command}(1)")), "{command}: {page}");
    }
}

#[test]
fn a_folder_gets_the_man_page_of_every_command() {
    let folder = Scratch::new("man");
    assert_eq!(printed(&["man", folder.0.to_str().unwrap()]), "");
    for command in COMMANDS {
        let page = fs::read_to_string(folder.0.join(format!("ringpair-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }
    let soak = fs::read_to_string(folder.0.join("ringpair-soak.1")).unwrap();
    assert!(soak.contains("\\-\\-duration"), "{soak}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let output = ringpair(&["man", "/proc/no-such-folder"]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("/proc/no-such-folder: "), "{error}");
}

fn printed(arguments: &[&str]) -> String {
    let output = ringpair(arguments).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    text(&output.stdout)
}

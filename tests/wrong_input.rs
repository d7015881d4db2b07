//! Checks that wrong input on the command line ends with exit code 2 and names the option, the value and what is expected.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[allow(unused_imports, unused_macros)] // the command line alone is tested here
mod common;

use common::{ringpair, text};

const WRONG: i32 = 2;

/// A wrong value: the command with its option, the value, how clap shows the option, and what is expected.
const VALUES: [(&str, &str, &str, &str); 49] = [
    ("soak --pairs", "ten", "--pairs <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("soak -n", "1.5k", "--pairs <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("soak -n", "1__0", "--pairs <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("soak -n", "0", "--pairs <N>", "expected 1 or more"),
    ("soak -n", "99999999999G", "--pairs <N>", "too large: expected a whole number"),
    ("soak --request", "one", "--request <BYTES>", "expected 1 to 4096 bytes"),
    ("soak --request", "0", "--request <BYTES>", "expected 1 to 4096 bytes"),
    ("soak --response", "4097", "--response <BYTES>", "expected 1 to 4096 bytes"),
    ("soak -d", "1d", "--duration <TIME>", "there is no unit `d`; the units are ms, s, m and h"),
    ("soak -d", "1h30", "--duration <TIME>", "expected a number and a unit, for example 500ms, 10s, 1.5m or 1h30m"),
    ("soak -d", "soon", "--duration <TIME>", "expected a number and a unit, for example 500ms, 10s, 1.5m or 1h30m"),
    ("soak -d", "1e3", "--duration <TIME>", "there is no unit `e`; the units are ms, s, m and h"),
    ("soak -d", "+5", "--duration <TIME>", "expected a number and a unit, for example 500ms, 10s, 1.5m or 1h30m"),
    ("soak -d", "inf", "--duration <TIME>", "expected a number and a unit, for example 500ms, 10s, 1.5m or 1h30m"),
    ("soak --pair-timeout", "nan", "--pair-timeout <TIME>", "expected a number and a unit, for example 500ms, 10s"),
    ("soak -d", "0s", "--duration <TIME>", "expected more than zero"),
    ("soak --pair-timeout", "0", "--pair-timeout <TIME>", "expected more than zero"),
    ("soak -c", "0", "--concurrency <N>", "expected 1 or more"),
    ("soak -c", "few", "--concurrency <N>", "expected a whole number"),
    ("soak -t", "0", "--threads <N>", "expected 1 or more"),
    ("soak --live", "2.5", "--live <N>", "expected a whole number"),
    ("soak --rate", "0", "--rate <N>", "expected a number per second, greater than zero"),
    ("soak --rate", "1e3", "--rate <N>", "expected a number per second, for example 0.5, 2000 or 2k"),
    ("soak --rate", "+5", "--rate <N>", "expected a number per second, for example 0.5, 2000 or 2k"),
    ("soak --rate", "inf", "--rate <N>", "expected a number per second, for example 0.5, 2000 or 2k"),
    ("soak --rate", "fast", "--rate <N>", "expected a number per second, for example 0.5, 2000 or 2k"),
    ("soak --max-failures", "some", "--max-failures <N|N%>", "expected a number of pairs or a percentage"),
    ("soak --max-failures", "1e1%", "--max-failures <N|N%>", "expected a number of pairs or a percentage"),
    ("soak --max-failures", "nan%", "--max-failures <N|N%>", "expected a number of pairs or a percentage"),
    ("soak --max-failures", "101%", "--max-failures <N|N%>", "expected a percentage from 0 to 100"),
    ("soak --linger", "softly", "--linger <LINGER>", "[possible values: reset, graceful]"),
    ("soak --address", "10.0.0.1", "--address <IP>", "expected a loopback address (127.0.0.0/8 or ::1)"),
    ("soak --backend", "kqueue", "--backend <BACKEND>", "[possible values: auto, uring, epoll]"),
    ("soak --seed", "x", "--seed <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("soak --seed", "+5", "--seed <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("soak --seed", "18446744073709551616", "--seed <N>", "too large: expected a whole number"),
    ("soak --pin", "x", "--pin <CPUS>", "expected CPU numbers and ranges, for example 0, 0,2 or 0-3"),
    ("soak --pin", "3-1", "--pin <CPUS>", "expected CPU numbers and ranges, for example 0, 0,2 or 0-3"),
    ("soak --pin", "0,65535", "--pin <CPUS>", "CPU 65535 is not available here; available: "),
    ("soak --shard", "+1/3", "--shard <I/N>", "expected an index and a number of shards, for example 0/4"),
    ("soak --shard", "3/3", "--shard <I/N>", "there is no shard 3 of 3: they are counted from 0"),
    ("close -n", "0", "--pairs <N>", "expected 1 or more"),
    ("close -n", "many", "--pairs <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("close --ways", "slam", "--ways <WAY,...>", "there is no way `slam`; the ways are reset, fin, shutdown, wait, "),
    ("close --unread", "0", "--unread <BYTES>", "expected 1 to 65536 bytes"),
    ("close --unread", "66k", "--unread <BYTES>", "expected 1 to 65536 bytes"),
    ("close --seed", "0x7", "--seed <N>", "expected a whole number, for example 1000, 1_000, 1k or 2M"),
    ("close --address", "localhost", "--address <IP>", "expected a loopback address (127.0.0.0/8 or ::1)"),
    ("close --backend", "ring", "--backend <BACKEND>", "[possible values: auto, uring, epoll]"),
];

#[test]
fn a_wrong_value_is_named_with_its_option_and_a_right_one() {
    for (command, value, option, expected) in VALUES {
        let arguments: Vec<&str> = command.split(' ').chain([value]).collect();
        let error = refused(&arguments);
        let named = format!("error: invalid value '{value}' for '{option}'");
        assert!(error.starts_with(&named) && error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_typo_gets_a_suggestion() {
    for (arguments, tip) in [
        (&["soka"][..], "a similar subcommand exists: 'soak'"),
        (&["soak", "--dration", "5s"], "a similar argument exists: '--duration'"),
        (&["soak", "--linger", "gracefull"], "a similar value exists: 'graceful'"),
        (&["close", "--pair", "5"], "a similar argument exists: '--pairs'"),
        (&["doctor", "--requireuring"], "a similar argument exists: '--require-uring'"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(tip), "{arguments:?}: {error}");
    }
}

/// Runs what must be refused before anything else, and returns what it says.
fn refused(arguments: &[&str]) -> String {
    let output = ringpair(arguments).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(WRONG), String::new()), "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn counts_durations_and_both_names_of_fin_are_taken() {
    for arguments in [
        "soak -n 1_0 -d 1h30m -c 2 -t 2 --linger fin --rate 1k --max-failures 1k",
        "soak -n 10 --linger graceful --backend epoll --address 127.1.2.3",
        "close -n 1_0 --ways graceful --backend epoll --address 127.1.2.3",
        "close -n 10 --ways fin,reset --unread 1k",
    ] {
        let output = ringpair(&arguments.split(' ').collect::<Vec<_>>()).output().unwrap();
        let said = text(&output.stdout);
        // Another program of the host can disturb its counters, which is exit code 3.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments}: {output:?}");
        if arguments.contains("epoll") {
            assert!(said.contains("Pairs are made through epoll"), "{said}");
        }
    }
}

//! Faults of system calls: strace attaches to the calling thread, makes some of its calls fail with an errno, and detaches.
//! A failed call is not executed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic fails the test

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid, getuid};

/// The result of `getuid` once strace is attached.
const AT_WORK: u32 = 424_242;

/// Records calls of one name in the calling thread, and makes some fail.
pub(crate) struct Injection {
    strace: Child,
    trace: PathBuf,
    call: String,
}

impl Injection {
    /// `fault`: which error, and when, as for `strace --inject`: `("error=EINTR", "1..3")`.
    pub(crate) fn begin(call: &str, fault: Option<(&str, &str)>) -> Injection {
        let trace = std::env::temp_dir().join(format!("ringpair-trace-{}-{}", std::process::id(), gettid()));
        let mut command = Command::new("strace");
        command.args(["-qq", "-s0", "-p", &gettid().to_string(), "-o"]).arg(&trace);
        command.args(["-e", &format!("trace={call},getuid"), "-e", &format!("inject=getuid:retval={AT_WORK}")]);
        if let Some((answer, when)) = fault {
            command.args(["-e", &format!("inject={call}:{answer}:when={when}")]);
        }
        let mut strace = command.stdin(Stdio::null()).spawn().expect("strace is there");
        let begin = Instant::now();
        while getuid().as_raw() != AT_WORK {
            let ended = strace.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(20), "strace did not attach: {ended:?}");
            std::thread::yield_now();
        }
        Injection { strace, trace, call: call.to_owned() }
    }

    /// Detaches. Returns the calls of that name as strace prints them.
    pub(crate) fn end(mut self) -> Vec<String> {
        kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGTERM).unwrap();
        self.strace.wait().unwrap();
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        std::fs::remove_file(&self.trace).unwrap();
        let name = format!("{}(", self.call);
        trace.lines().filter(|line| line.starts_with(&name)).map(str::to_owned).collect()
    }
}

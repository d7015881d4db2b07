//! Faults of system calls: strace attaches to the calling thread, answers some of its calls with an errno in the kernel's
//! place, and lets go again. An answered call is not carried out.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test a panic is the report

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid, getuid};

/// What `getuid` says while strace is at work: so it is known from which call on it is.
const AT_WORK: u32 = 424_242;

/// Calls of one name in the calling thread, watched, and where a fault says so answered.
pub(crate) struct Injection {
    strace: Child,
    trace: PathBuf,
    call: String,
}

impl Injection {
    /// `fault`: what is answered, and when, both as `strace --inject` takes them: `("error=EINTR", "1..3")`.
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

    /// Lets go. Returns the calls of that name as strace writes them, one each.
    pub(crate) fn end(mut self) -> Vec<String> {
        kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGTERM).unwrap();
        self.strace.wait().unwrap();
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        std::fs::remove_file(&self.trace).unwrap();
        let name = format!("{}(", self.call);
        trace.lines().filter(|line| line.starts_with(&name)).map(str::to_owned).collect()
    }
}

//! Shared by the test files: one list of bodies for every engine, processes and networks of their own, visible skips.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses a part; a panic fails the test

use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringpair::{Backend, PairOptions, PairSocket, Result};

/// Runs each body once for every engine, with options that choose it: `body(options: PairOptions)`.
#[allow(unused_macros)] // each file uses a part
macro_rules! on_every_engine {
    ($($body:ident),+ $(,)?) => {
        mod ring {
            $(#[test]
            fn $body() {
                if $crate::common::ring_is_there() {
                    super::$body($crate::common::on_the_ring());
                }
            })+
        }
        #[cfg(feature = "epoll")]
        mod epoll {
            $(#[test]
            fn $body() {
                super::$body($crate::common::on_epoll());
            })+
        }
    };
}
#[allow(unused_imports)] // each file uses a part
pub(crate) use on_every_engine;

/// The same for bodies that concern only rings.
#[allow(unused_macros)] // each file uses a part
macro_rules! on_the_ring_alone {
    ($($body:ident),+ $(,)?) => {
        mod ring_alone {
            $(#[test]
            fn $body() {
                if $crate::common::ring_is_there() {
                    super::$body($crate::common::on_the_ring());
                }
            })+
        }
    };
}
#[allow(unused_imports)] // each file uses a part
pub(crate) use on_the_ring_alone;

#[cfg(feature = "epoll")]
pub(crate) fn on_epoll() -> PairOptions {
    PairOptions::new().backend(Backend::Epoll)
}

pub(crate) fn on_the_ring() -> PairOptions {
    PairOptions::new().backend(Backend::Uring)
}

/// Whether this host has a ring. If not, skips the test visibly, or fails it if a ring is required.
pub(crate) fn ring_is_there() -> bool {
    ringpair::ring_or_skip(&test_name())
}

/// Prints that this test cannot run here, and why, past libtest's capture. With `RINGPAIR_SKIP_NOTHING=1` it fails.
pub(crate) fn skip(reason: &str) {
    let name = test_name();
    assert!(!is_set("RINGPAIR_SKIP_NOTHING"), "{name} would be skipped: {reason}");
    say(&format!("SKIPPED {name}: {reason}"));
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// libtest runs each test in a thread that has the test's name.
pub(crate) fn test_name() -> String {
    std::thread::current().name().expect("a test's thread has its name").to_owned()
}

const ALONE: &str = "RINGPAIR_TEST_ALONE";

/// Runs `body` in a process of its own, where nothing else opens descriptors or connections, changes limits or allocates.
pub(crate) fn alone(body: impl FnOnce()) {
    alone_by(Command::new(std::env::current_exe().unwrap()), body);
}

/// The same, with these variables of ours in the environment, and no others.
pub(crate) fn alone_with(variables: &[(&str, &str)], body: impl FnOnce()) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_remove("RINGPAIR_BACKEND").env_remove("RINGPAIR_REQUIRE_URING").envs(variables.iter().copied());
    alone_by(command, body);
}

/// Runs `body` in a process and a network namespace of its own, with `lo` up: clean counters, ports and TIME_WAIT.
/// Skipped if no namespace can be made.
pub(crate) fn alone_in_a_network(body: impl FnOnce()) {
    let own = ["--map-root-user", "--net", "--mount", "--"];
    if std::env::var_os(ALONE).is_none() {
        let probed =
            Command::new("unshare").args(own).args(["sh", "-c", "ip link set lo up && tc qdisc show"]).output();
        if !probed.is_ok_and(|output| output.status.success()) {
            return skip(
                "no network namespace can be made here: that takes unshare, ip and tc, and the right to use them",
            );
        }
    }
    let mut command = Command::new("unshare");
    command.args(own).arg(std::env::current_exe().unwrap());
    alone_by(command, || {
        run("ip", &["link", "set", "lo", "up"]);
        body();
    });
}

/// The same, with the packets of `lo` processed by the second CPU and this process on the first: handshakes complete a little
/// after their submission. Needs two CPUs and root.
pub(crate) fn alone_with_late_handshakes(body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_none() {
        if !Path::new("/sys/devices/system/cpu/cpu1").exists() {
            return skip("there is only one processor");
        }
        let steer = "ip link set lo up && tc qdisc show && mount -t sysfs none /sys && echo 2 > /sys/class/net/lo/queues/rx-0/rps_cpus";
        let steered = Command::new("unshare").args(["--net", "--mount", "--", "sh", "-c", steer]).output();
        if !steered.is_ok_and(|output| output.status.success()) {
            return skip(
                "packets of a network namespace cannot be steered here: that takes unshare, ip and tc, and root",
            );
        }
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--", "taskset", "1"]).arg(std::env::current_exe().unwrap());
    alone_by(command, || {
        run("ip", &["link", "set", "lo", "up"]);
        run("mount", &["-t", "sysfs", "none", "/sys"]);
        steer_packets(true);
        body();
    });
}

/// Steers the packets of `lo` to the second CPU, or stops that. Only in [`alone_with_late_handshakes`].
pub(crate) fn steer_packets(away: bool) {
    std::fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", if away { "2" } else { "0" }).unwrap();
}

/// Runs `body` in a process that inherits its filter, in a pid namespace of its own, where no other process uses up numbers of
/// threads and processes. Skipped if no namespace can be made.
pub(crate) fn alone_in_a_container(body: impl FnOnce()) {
    let own = ["--map-root-user", "--pid", "--fork", "--mount-proc", "--"];
    if std::env::var_os(ALONE).is_none() {
        if !Command::new("unshare").args(own).arg("true").output().is_ok_and(|output| output.status.success()) {
            return skip("no pid namespace can be made here: that takes unshare, and the right to use it");
        }
        refuse(nix::libc::SYS_reboot, nix::errno::Errno::EPERM);
    }
    let mut command = Command::new("unshare");
    command.args(own).args(["sh", "-c", r#""$0" "$@"; exit $?"#]).arg(std::env::current_exe().unwrap());
    alone_by(command, body);
}

/// Returns the number of the newest thread or process of this pid namespace.
pub(crate) fn newest_task() -> u32 {
    std::fs::read_to_string("/proc/loadavg").unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

fn alone_by(mut command: Command, body: impl FnOnce()) {
    let name = test_name();
    if std::env::var_os(ALONE).is_some() {
        body();
        // A leak checker that inspects a process at its end needs descriptors too.
        return leave_all_descriptors();
    }
    let child = command.args([&name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{name} failed in a process of its own ({})\n{out}\n{err}", child.status);
    // A skip in the process is printed here too. A body that was not found must not pass.
    assert!(out.contains("1 passed"), "{name} was not run in a process of its own\n{out}");
    let is_for_all = |line: &&str| ["SKIPPED", "NOTE"].iter().any(|word| line.starts_with(&format!("{word} {name}:")));
    err.lines().filter(is_for_all).for_each(say);
}

/// Prints a line that is visible although the test passes.
pub(crate) fn note(what: &str) {
    say(&format!("NOTE {}: {what}", test_name()));
}

/// Bypasses libtest's capture, which only captures the print macros.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Slows `lo` down by a token bucket filter. False if this kernel has none: then the test is skipped.
pub(crate) fn slow_down_lo(rate: &str) -> bool {
    let filter = ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", rate, "burst", "1540", "latency", "50s"];
    let is_slow = Command::new("tc").args(filter).output().unwrap().status.success();
    if !is_slow {
        skip("this kernel has no token bucket filter (tbf)");
    }
    is_slow
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `act` in a thread of its own, so that its filters and thread-locals concern no other test.
pub(crate) fn in_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

/// Whether a thread of this process, by its number for the kernel, sleeps. Number 0, which is not known yet, does not.
pub(crate) fn is_asleep(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// Returns how many descriptors this process has open, except for the two that the reactor keeps once it runs.
///
/// For tests in which nothing else opens any: see [`alone`].
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1 - 2 * reactors() // without the descriptor that lists them
}

/// Waits until this number of descriptors is open.
///
/// A dropped runtime keeps its descriptors until the reactor has dropped the last of its wakers.
pub(crate) fn assert_descriptors_become(expected: std::ops::RangeInclusive<usize>) {
    eventually(&format!("{expected:?} descriptors are open"), || expected.contains(&descriptors()));
}

/// Waits until a process catches a signal.
pub(crate) fn await_catching(process: u32, signal: nix::sys::signal::Signal) {
    eventually("it catches the signal", || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (signal as u64 - 1) != 0
    });
}

/// Whether the reactor runs. Not for tests that use smol.
pub(crate) fn reactor_runs() -> bool {
    reactors() > 0
}

/// The epolls of reactors, recognised by the largest number for an event: ours, and smol's.
fn reactors() -> usize {
    let open = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = open.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    infos.filter(|info| info.contains("data: ffffffffffffffff")).count()
}

/// Returns how many more descriptors a factory may keep after concurrent calls: it keeps an idle maker per CPU.
pub(crate) fn descriptors_of_more_makers(backend: Backend) -> usize {
    (std::thread::available_parallelism().unwrap().get() - 1) * descriptors_of_a_factory(backend)
}

/// Descriptors that a thread keeps for one-shots: an engine, and a socket to listen with.
pub(crate) const DESCRIPTORS_OF_A_THREAD: usize = 2;

/// Returns how many descriptors a factory keeps: its engine, its listener and, if the engine opens sockets, the next pair's.
pub(crate) fn descriptors_of_a_factory(backend: Backend) -> usize {
    match backend {
        Backend::Epoll => 2,
        _ => 2 + usize::from(a_ring_opens_sockets()),
    }
}

fn a_ring_opens_sockets() -> bool {
    let ring = io_uring::IoUring::new(2).unwrap();
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(io_uring::opcode::Socket::CODE)
}

/// A counter of this network namespace: `tcp_counter("TW")` and the like from `/proc/net/sockstat`.
pub(crate) fn sockstat(what: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let mut words = line.split_whitespace();
    words.find(|word| *word == what).unwrap_or_else(|| panic!("no {what} in {line}"));
    words.next().unwrap().parse().unwrap()
}

/// A counter of `/proc/net/netstat` or `/proc/net/snmp`, for example `TcpExt` `TCPAbortOnData` or `Tcp` `OutRsts`.
pub(crate) fn netstat(group: &str, what: &str) -> u64 {
    let text = ["/proc/net/netstat", "/proc/net/snmp"].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let mut lines = text.lines().filter(|line| line.split(':').next() == Some(group));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place =
        names.split_whitespace().position(|name| name == what).unwrap_or_else(|| panic!("no {what} in {names}"));
    values.split_whitespace().nth(place).unwrap().parse().unwrap()
}

/// A current-thread tokio runtime, for bodies that are not about runtimes.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
}

/// The result of every call of the crate that makes pairs of a chosen type, with its name.
pub(crate) fn every_way<S: PairSocket>(options: &PairOptions) -> Vec<(&'static str, Result<(S, S)>)> {
    every_way_in(&runtime(), options)
}

/// The same, for bodies without free descriptors for another runtime.
pub(crate) fn every_way_in<S: PairSocket>(
    runtime: &tokio::runtime::Runtime,
    options: &PairOptions,
) -> Vec<(&'static str, Result<(S, S)>)> {
    #[allow(unused_mut)]
    let mut made = vec![
        ("make_pair_blocking", options.make_pair_blocking()),
        ("pair_blocking", options.factory().and_then(|factory| factory.pair_blocking())),
        ("pairs_blocking", options.factory().and_then(|factory| Ok(factory.pairs_blocking(2)?.pop().unwrap()))),
    ];
    made.extend(runtime.block_on(every_async_way(options)));
    let _ = runtime;
    made
}

/// The async calls among them, in the current runtime.
pub(crate) async fn every_async_way<S: PairSocket>(options: &PairOptions) -> Vec<(&'static str, Result<(S, S)>)> {
    use futures_util::StreamExt;

    async fn pairs<S: PairSocket>(options: &PairOptions) -> Result<(S, S)> {
        Ok(options.factory()?.pairs(2).await?.pop().unwrap())
    }
    async fn stream<S: PairSocket>(options: &PairOptions) -> Result<(S, S)> {
        options.factory()?.stream(1).next().await.unwrap()
    }
    async fn pair<S: PairSocket>(options: &PairOptions) -> Result<(S, S)> {
        options.factory()?.pair().await
    }
    vec![
        ("make_pair", options.make_pair().await),
        ("pair", pair(options).await),
        ("pairs", pairs(options).await),
        ("stream", stream(options).await),
    ]
}

/// Returns the open flags of a stream's descriptor: `O_NONBLOCK`, `O_CLOEXEC`.
pub(crate) fn flags_of(stream: &impl PairSocket) -> i32 {
    flags_of_number(stream.fd().as_raw_fd())
}

/// Returns the open flags of a descriptor.
pub(crate) fn flags_of_number(number: RawFd) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap()
}

/// Lets this process open only `count` more descriptors. Only if nothing else opens any: see [`alone`]. Closing a descriptor
/// afterwards makes room again.
pub(crate) fn leave_descriptors(count: usize) {
    // The limit is on numbers, not on the count: fill the gaps, then set the limit above the first free number.
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let open: Vec<i32> = listed.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    let highest = open.into_iter().max().unwrap();
    let gap = loop {
        let file = std::fs::File::open("/dev/null").unwrap();
        if file.as_raw_fd() > highest {
            break file.as_raw_fd();
        }
        std::mem::forget(file);
    };
    limit_descriptors(gap as u64 + count as u64);
}

/// Sets the soft limit on descriptors.
pub(crate) fn limit_descriptors(limit: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
}

/// Raises the soft limit to the hard limit.
pub(crate) fn leave_all_descriptors() {
    limit_descriptors(getrlimit(Resource::RLIMIT_NOFILE).unwrap().1);
}

/// Returns the number of threads of this process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits for something that the kernel or another thread will do by itself.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "this did not happen within 20 s: {what}");
        std::thread::yield_now();
    }
}

/// Makes every later call of this number, in this thread, fail with `errno`.
pub(crate) fn refuse(call: i64, errno: nix::errno::Errno) {
    filter(call, seccompiler::SeccompAction::Errno(errno as u32));
}

/// Makes every later call of this number, in this thread, kill the process.
pub(crate) fn kill_callers_of(call: i64) {
    filter(call, seccompiler::SeccompAction::KillProcess);
}

/// Installs a filter for this call, in this thread and everything it starts.
pub(crate) fn filter(call: i64, action: seccompiler::SeccompAction) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let rules = [(call, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// A file or folder that is removed after the test.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        static MADE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("ringpair-{}-{number}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0).or_else(|_| std::fs::remove_dir_all(&self.0));
    }
}

/// What a program has printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a program has printed, without the note that it has no network namespace of its own.
pub(crate) fn without_network_note(bytes: &[u8]) -> String {
    let said = text(bytes);
    said.split_inclusive('\n').filter(|line| !line.starts_with("note: no network namespace of its own")).collect()
}

/// The command line, without variables of a scheduler on this machine.
#[cfg(feature = "cli")]
pub(crate) fn ringpair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpair"));
    remove_schedulers(&mut command);
    command.args(arguments);
    command
}

pub(crate) fn remove_schedulers(command: &mut Command) {
    for variable in OF_SCHEDULERS {
        command.env_remove(variable);
    }
}

/// The variables by which schedulers number a shard. Tests set them themselves.
const OF_SCHEDULERS: [&str; 9] = [
    "JOB_COMPLETION_INDEX",
    "RINGPAIR_SHARDS",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_ARRAY_TASK_COUNT",
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
];

/// Returns what a command prints to a terminal of so many columns. The command must succeed.
pub(crate) fn shown_on_a_terminal(mut command: std::process::Command, columns: u16) -> String {
    let size = nix::pty::Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let null = std::process::Stdio::null();
    let mut child = command.env("TERM", "xterm").stdout(terminal.slave).stderr(null).spawn().unwrap();
    drop(command); // has the slave open
    // A terminal without a program at its other end answers with EIO.
    let mut shown = Vec::new();
    let _ = std::io::Read::read_to_end(&mut std::fs::File::from(terminal.master), &mut shown);
    let shown = text(&shown).replace('\r', "");
    assert!(child.wait().unwrap().success(), "{shown}");
    shown
}

/// Returns the words of a text with a space between them: lines may break anywhere.
pub(crate) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Each system call and each ring operation of a pair fails in turn, with each errno that matters. Either the error has the step
//! and the errno, in time, or the pair is made anyway. Descriptors and sockets are as before, and the next pair is made.
//! Prints a table; `ci/faults` runs it.
#![cfg(all(ringpair_faults, feature = "epoll"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod injected;

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use common::{descriptors, run, sockstat};
use futures_util::StreamExt;
use injected::Injection;
use io_uring::opcode;
use nix::errno::Errno;
use ringpair::faults::{Fault, FaultEnding, arm};
use ringpair::{Backend, PairFactory, PairOptions, Result, Step};

/// How a pair is requested.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    OneShot,
    OneShotAgain,
    Factory,
    Pair,
    Pairs,
    AsyncOneShot,
    AsyncPair,
    AsyncPairs,
    AsyncStream,
}

const WAYS: [Way; 9] = [
    Way::OneShot,
    Way::OneShotAgain,
    Way::Factory,
    Way::Pair,
    Way::Pairs,
    Way::AsyncOneShot,
    Way::AsyncPair,
    Way::AsyncPairs,
    Way::AsyncStream,
];

/// How many pairs a batch makes: more than one submission takes.
const BATCH: usize = 20;

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::OneShot => "make_pair_blocking",
            Way::OneShotAgain => "make_pair_blocking again",
            Way::Factory => "factory",
            Way::Pair => "pair_blocking",
            Way::Pairs => "pairs_blocking(20)",
            Way::AsyncOneShot => "make_pair.await",
            Way::AsyncPair => "pair.await",
            Way::AsyncPairs => "pairs(20).await",
            Way::AsyncStream => "stream(2)",
        }
    }

    fn keeps_a_factory(self) -> bool {
        !matches!(self, Way::OneShot | Way::OneShotAgain | Way::Factory | Way::AsyncOneShot)
    }
}

type Pair = (TcpStream, TcpStream);

/// What exists before the call with the fault.
struct Stage {
    way: Way,
    options: PairOptions,
    factory: Option<PairFactory>,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn set(way: Way, options: &PairOptions) -> Stage {
        let runtime = common::runtime();
        let factory = way.keeps_a_factory().then(|| options.factory().unwrap());
        if way == Way::OneShotAgain {
            options.make_pair_blocking::<TcpStream>().unwrap();
        }
        Stage { way, options: options.clone(), factory, runtime }
    }

    fn make(&self) -> Result<Vec<Pair>> {
        let factory = || self.factory.as_ref().unwrap();
        match self.way {
            Way::OneShot | Way::OneShotAgain => Ok(vec![self.options.make_pair_blocking()?]),
            Way::Factory => Ok(vec![self.options.factory()?.pair_blocking()?]),
            Way::Pair => Ok(vec![factory().pair_blocking()?]),
            Way::Pairs => factory().pairs_blocking(BATCH),
            Way::AsyncOneShot => Ok(vec![self.runtime.block_on(self.options.make_pair())?]),
            Way::AsyncPair => Ok(vec![self.runtime.block_on(factory().pair())?]),
            Way::AsyncPairs => self.runtime.block_on(factory().pairs(BATCH)),
            Way::AsyncStream => {
                let made: Vec<_> = self.runtime.block_on(factory().stream(2).collect());
                made.into_iter().collect()
            }
        }
    }
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Road {
    /// Handshakes complete at once.
    Open,
    /// All packets are lost, so the call times out.
    Lost,
}

/// The timeout of a call if packets are lost, and if not.
const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Clone, Debug)]
enum Wrong {
    /// A system call fails, as for strace: `("socket", "error=EMFILE", "2+")`.
    Call(&'static str, String, String),
    /// A ring operation fails.
    Operation(Fault),
    Both(Fault, String, String),
}

/// The result of a case.
#[derive(Debug)]
struct Report {
    made: std::result::Result<usize, (Step, Option<i32>, String)>,
    /// How many calls or operations met the fault.
    met: usize,
    took: Duration,
    /// What differs from before, or did not work afterwards.
    complaints: Vec<String>,
}

/// Runs one case in a thread of its own.
fn try_out(way: Way, options: &PairOptions, road: Road, late: bool, wrong: Wrong) -> Report {
    let before = (descriptors(), sockstat("inuse"));
    let options = options.clone().timeout(if late { SHORT } else { LONG });
    let mut report = std::thread::spawn(move || {
        let stage = Stage::set(way, &options);
        let report = meet(&stage, road, wrong);
        drop(stage);
        report
    })
    .join()
    .unwrap_or_else(|_| Report {
        made: Ok(0),
        met: 1,
        took: Duration::ZERO,
        complaints: vec!["it panicked".into()],
    });
    // A joined thread may still be releasing its thread-locals.
    let begin = Instant::now();
    while (descriptors(), sockstat("inuse")) != before && begin.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    let after = (descriptors(), sockstat("inuse"));
    if after != before {
        report.complaints.push(format!("descriptors and sockets were {before:?}, and are {after:?}"));
    }
    report
}

fn meet(stage: &Stage, road: Road, wrong: Wrong) -> Report {
    let before = descriptors();
    if road == Road::Lost {
        run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
    }
    let begin = Instant::now();
    let (made, met, took) = match &wrong {
        Wrong::Call(call, answer, when) => {
            let injection = Injection::begin(call, Some((answer, when)));
            let begin = Instant::now();
            let made = stage.make();
            let took = begin.elapsed();
            let trace = injection.end();
            (made, trace.iter().filter(|line| line.contains("(INJECTED)")).count(), took)
        }
        Wrong::Operation(fault) => {
            arm(Some(*fault));
            let made = stage.make();
            (made, arm(None).1 as usize, begin.elapsed())
        }
        Wrong::Both(fault, answer, when) => {
            let injection = Injection::begin("io_uring_enter", Some((answer, when)));
            arm(Some(*fault));
            let begin = Instant::now();
            let made = stage.make();
            let took = begin.elapsed();
            let trace = injection.end();
            let refused = trace.iter().filter(|line| line.contains("(INJECTED)")).count();
            (made, refused.min(arm(None).1 as usize), took)
        }
    };
    if road == Road::Lost {
        run("tc", &["qdisc", "del", "dev", "lo", "root"]);
    }
    let mut complaints = Vec::new();
    if let Ok(pairs) = &made {
        pairs.iter().for_each(|pair| complaints.extend(what_is_wrong_with(pair)));
    }
    let made = made.map(|pairs| pairs.len()).map_err(|error| {
        let why = error.source().unwrap().to_string();
        (error.step(), error.raw_os_error(), why)
    });
    if made.is_err() && descriptors() > before {
        complaints.push(format!("{before} descriptors were open, and {} are after the error", descriptors()));
    }
    match stage.make() {
        Ok(pairs) => pairs.iter().for_each(|pair| complaints.extend(what_is_wrong_with(pair))),
        Err(error) => complaints.push(format!("the next pair: {error:?}")),
    }
    let a_ring_of_the_thread = matches!(stage.way, Way::OneShot | Way::AsyncOneShot);
    if !a_ring_of_the_thread && descriptors() != before {
        complaints.push(format!("{before} descriptors were open, and {} are after the next pair", descriptors()));
    }
    if let Some(factory) = &stage.factory {
        let strangers = factory.stats().strangers;
        if strangers > 0 {
            complaints.push(format!("{strangers} strangers"));
        }
    }
    Report { made, met, took, complaints }
}

fn what_is_wrong_with((accepted, connected): &Pair) -> Option<String> {
    let (mut accepted, mut connected) = (accepted, connected);
    let mut read = [0; 4];
    connected.write_all(b"ping").unwrap();
    accepted.read_exact(&mut read).unwrap();
    accepted.write_all(&read).unwrap();
    connected.read_exact(&mut read).unwrap();
    let theirs = accepted.peer_addr().unwrap() == connected.local_addr().unwrap();
    (!theirs || &read != b"ping").then(|| "the ends are not each other's".to_owned())
}

fn options_of(engine: &str) -> PairOptions {
    PairOptions::new().backend(match engine {
        "ring" => Backend::Uring,
        "epoll" => Backend::Epoll,
        _ => Backend::Auto,
    })
}

/// What fails and how. Each job has a process of its own.
#[derive(Clone, Copy)]
struct Job {
    engine: &'static str,
    what: What,
    road: Road,
    /// The first errno is tried at every place, the others at the first and the last place.
    answers: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum What {
    Call(&'static str),
    Operation(&'static str, u8, FaultEnding),
    /// A connect is cancelled, and the submission that would start it again fails.
    Both,
}

const fn call(engine: &'static str, call: &'static str, road: Road, answers: &'static [&'static str]) -> Job {
    Job { engine, what: What::Call(call), road, answers }
}

const fn operation(
    name: &'static str,
    code: u8,
    ending: FaultEnding,
    road: Road,
    answers: &'static [&'static str],
) -> Job {
    Job { engine: "ring", what: What::Operation(name, code, ending), road, answers }
}

/// The expected result of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Due {
    Made,
    /// An error of this step, with the injected errno.
    Refused(Step),
    /// A timeout.
    Late,
}

fn jobs() -> Vec<Job> {
    use Road::{Lost, Open};
    let socket = &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM", "EAFNOSUPPORT", "EPROTONOSUPPORT"];
    let setsockopt = &["ENOPROTOOPT", "EPERM", "ENOBUFS", "ENOMEM", "EINVAL", "EDOM"];
    let bind = &["EADDRNOTAVAIL", "EACCES", "EPERM", "EINVAL", "ENOMEM"];
    let listen = &["EADDRINUSE", "EOPNOTSUPP", "EACCES", "EPERM"];
    let getsockname = &["ENOBUFS", "EPERM", "EINVAL"];
    let mut jobs = Vec::new();
    for engine in ["ring", "epoll"] {
        jobs.extend([
            call(engine, "socket", Open, socket),
            call(engine, "setsockopt", Open, setsockopt),
            call(engine, "bind", Open, bind),
            call(engine, "bind", Open, &["EADDRINUSE"]),
            call(engine, "listen", Open, listen),
            call(engine, "getsockname", Open, getsockname),
            call(engine, "getpeername", Open, &["ENOBUFS", "EPERM", "EINVAL"]),
            call(engine, "getsockopt", Open, &["ENOPROTOOPT", "EPERM", "EINVAL", "ENOSYS"]),
            call(engine, "fcntl", Open, &["EPERM", "EINVAL"]),
            call(engine, "prlimit64", Open, &["EPERM", "EINVAL", "ENOSYS"]),
            call(engine, "statx", Open, &["ENOENT", "EACCES", "ENOMEM", "EPERM"]),
            call(engine, "prctl", Open, &["EINVAL", "EPERM"]),
            call(engine, "epoll_ctl", Lost, &["ENOSPC", "ENOMEM", "EPERM"]),
            call(engine, "poll", Lost, &["EINTR", "ENOMEM", "EINVAL", "EPERM", "ENOSYS"]),
        ]);
    }
    let setup = &[
        "EINVAL",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EPERM",
        "EACCES",
        "ENOSYS",
        "EOPNOTSUPP",
        "EAGAIN",
        "EFAULT",
        "ENXIO",
    ];
    let enter = &[
        "EINTR",
        "EAGAIN",
        "EBUSY",
        "EPERM",
        "EACCES",
        "ENOSYS",
        "EBADF",
        "EBADFD",
        "EBADR",
        "EEXIST",
        "EFAULT",
        "EINVAL",
        "ENXIO",
        "EOPNOTSUPP",
        "ENOMEM",
        "0",
    ];
    jobs.extend([
        call("ring", "io_uring_setup", Open, setup),
        call("auto", "io_uring_setup", Open, setup),
        call("ring", "io_uring_register", Open, &["EINVAL", "EPERM", "EACCES", "ENOSYS", "ENOMEM", "EFAULT", "ENXIO"]),
        call("ring", "io_uring_enter", Open, enter),
        call("ring", "io_uring_enter", Lost, enter),
        call("ring", "mmap", Open, &["ENOMEM", "EAGAIN", "EPERM", "EACCES", "EINVAL"]),
        call("auto", "mmap", Open, &["ENOMEM", "EAGAIN", "EPERM", "EACCES", "EINVAL"]),
        call("ring", "munmap", Lost, &["EINVAL", "ENOMEM"]),
        call("epoll", "epoll_create1", Open, &["ENOMEM", "EMFILE", "ENFILE", "EINVAL", "ENOSYS", "EPERM"]),
        call("epoll", "connect", Open, CONNECT),
        call("epoll", "connect", Lost, CONNECT),
        call("epoll", "accept4", Open, &ACCEPT),
        call("ring", "accept4", Open, &ACCEPT),
    ]);
    for ending in [FaultEnding::AtOnce, FaultEnding::Rejected, FaultEnding::Later] {
        jobs.extend([
            operation("IORING_OP_CONNECT", opcode::Connect::CODE, ending, Open, CONNECT),
            operation("IORING_OP_ACCEPT", opcode::Accept::CODE, ending, Open, &ACCEPT),
        ]);
    }
    for ending in [FaultEnding::AtOnce, FaultEnding::Rejected] {
        jobs.push(operation("IORING_OP_SOCKET", opcode::Socket::CODE, ending, Open, socket));
        jobs.push(operation(
            "IORING_OP_ASYNC_CANCEL",
            opcode::AsyncCancel::CODE,
            ending,
            Lost,
            &["EINVAL", "ENOMEM", "EPERM"],
        ));
    }
    jobs.push(Job { engine: "ring", what: What::Both, road: Open, answers: &["EPERM", "EBADF"] });
    jobs
}

const CONNECT: &[&str] = &[
    "ECONNREFUSED",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "EADDRNOTAVAIL",
    "EADDRINUSE",
    "EACCES",
    "EPERM",
    "ENOBUFS",
    "ENOMEM",
    "ETIMEDOUT",
    "EAFNOSUPPORT",
    "EINVAL",
    "ECONNRESET",
    "EAGAIN",
    "ECANCELED",
    "EINTR",
];

static ACCEPT: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let refused =
        ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EACCES", "EINVAL", "EBADF", "ETIMEDOUT", "EAGAIN"];
    [&refused, PASSING].concat()
});

/// Returns which of `seen` calls fail in turn.
fn places(seen: usize, all: bool) -> Vec<usize> {
    match seen {
        0 => vec![],
        _ if !all => vec![1, seen],
        1..=14 => (1..=seen).collect(),
        _ => vec![1, 2, seen / 2, seen - 1, seen],
    }
}

const JOB: &str = "RINGPAIR_FAULTS_JOB";
const NAME: &str = "every_fault_ends_as_it_should";

/// A job that prints nothing for this long hangs.
const SILENCE: Duration = Duration::from_secs(20);

#[test]
fn every_fault_ends_as_it_should() {
    if let Ok(job) = std::env::var(JOB) {
        run("ip", &["link", "set", "lo", "up"]);
        return perform(&jobs()[job.parse::<usize>().unwrap()]);
    }
    let jobs = jobs();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    println!("{}", line(&["call", "errno", "engine", "road", "way", "at", "result", "verdict"]));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Relaxed);
                    if job >= jobs.len() {
                        return;
                    }
                    let table = watch(job);
                    let mut rows = rows.lock().unwrap();
                    table.iter().for_each(|row| println!("{row}"));
                    rows.extend(table);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    let cases = |good: bool| rows.iter().filter(|row| row.is_good() == good).map(|row| row.cases).sum::<usize>();
    println!("cases: {} passed, {} failed", cases(true), cases(false));
    assert_eq!(cases(false), 0, "see the table");
}

/// Cases of one call with the same result.
#[derive(Clone, Debug)]
struct Row {
    /// Call, errno, engine, road, way.
    case: Vec<String>,
    places: String,
    result: String,
    verdict: String,
    cases: usize,
}

impl Row {
    fn is_good(&self) -> bool {
        !self.verdict.starts_with("WRONG")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cells: Vec<&str> = self.case.iter().map(String::as_str).collect();
        cells.extend([self.places.as_str(), &self.result, &self.verdict]);
        f.write_str(&line(&cells))
    }
}

fn line(cells: &[&str]) -> String {
    let widths = [31, 15, 6, 4, 24, 16, 22, 0];
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    cells.join("  ")
}

/// Runs a job in a process and a network of its own, and kills it if it hangs. Returns its part of the table.
fn watch(job: usize) -> Vec<Row> {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--kill-child", "--"]).arg(std::env::current_exe().unwrap());
    command.args([NAME, "--exact", "--nocapture", "--test-threads=1"]).env(JOB, job.to_string());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader =
        std::thread::spawn(move || out.lines().map_while(|line| line.ok()).for_each(|line| drop(sender.send(line))));
    let (mut rows, mut current) = (Vec::<Row>::new(), vec![format!("job {job}")]);
    let mut hung = false;
    loop {
        match receiver.recv_timeout(SILENCE) {
            Ok(line) => match line.split('\t').collect::<Vec<_>>()[..] {
                ["next", ref case @ ..] => current = case.iter().map(|cell| (*cell).to_owned()).collect(),
                ["came", places, result, verdict] => add(&mut rows, &current, places, result, verdict),
                _ => {}
            },
            Err(RecvTimeoutError::Timeout) => {
                hung = true;
                child.kill().unwrap();
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    if hung {
        add(&mut rows, &current, "", "no answer", "WRONG: it hangs");
    } else if !status.success() {
        add(&mut rows, &current, "", &status.to_string(), "WRONG: its process ended");
    }
    rows
}

fn add(rows: &mut Vec<Row>, case: &[String], place: &str, result: &str, verdict: &str) {
    let same = |row: &&mut Row| row.case == case && row.result == result && row.verdict == verdict;
    match rows.iter_mut().rev().find(same) {
        Some(row) => {
            row.places = format!("{},{place}", row.places);
            row.cases += 1;
        }
        None => rows.push(Row {
            case: case.to_vec(),
            places: place.to_owned(),
            result: result.to_owned(),
            verdict: verdict.to_owned(),
            cases: usize::from(place != "-"),
        }),
    }
}

fn seen_in(way: Way, options: &PairOptions, job: &Job) -> Vec<String> {
    let (options, job) = (options.clone(), *job);
    std::thread::spawn(move || {
        let stage = Stage::set(way, &options.timeout(if job.road == Road::Lost { SHORT } else { LONG }));
        if job.road == Road::Lost {
            run("tc", &["qdisc", "add", "dev", "lo", "root", "blackhole"]);
        }
        let lines = match job.what {
            What::Call(name) => {
                let injection = Injection::begin(name, None);
                let _ = stage.make();
                injection.end()
            }
            What::Both => vec!["both".to_owned()],
            What::Operation(name, opcode, ending) => {
                arm(Some(Fault { opcode, errno: 0, first: u32::MAX, many: 1, ending }));
                let _ = stage.make();
                vec![name.to_owned(); arm(None).0 as usize]
            }
        };
        if job.road == Road::Lost {
            run("tc", &["qdisc", "del", "dev", "lo", "root"]);
        }
        lines
    })
    .join()
    .unwrap()
}

/// One job: every way, every errno, every place.
fn perform(job: &Job) {
    let (name, opcode, ending) = match job.what {
        What::Call(name) => (name.to_owned(), 0, FaultEnding::AtOnce),
        What::Operation(name, opcode, ending) => (format!("{name} {}", told(ending)), opcode, ending),
        What::Both => ("IORING_OP_CONNECT + enter".to_owned(), opcode::Connect::CODE, FaultEnding::AtOnce),
    };
    // The first call of a process makes more system calls; the first late call starts the reactor.
    seen_in(Way::AsyncPair, &options_of(job.engine), &Job { road: Road::Lost, ..*job });
    for way in WAYS {
        let options = options_of(job.engine);
        let every = matches!(job.what, What::Call("setsockopt" | "bind"));
        let options = if every { with_every_option(options) } else { options };
        let seen = seen_in(way, &options, job);
        let road = format!("{:?}", job.road).to_lowercase();
        if seen.is_empty() {
            println!("next\t{name}\t-\t{}\t{road}\t{}", job.engine, way.name());
            println!("came\t-\tnot called\t-");
        }
        for (nth, answer) in job.answers.iter().enumerate() {
            println!("next\t{name}\t{answer}\t{}\t{road}\t{}", job.engine, way.name());
            for place in places(seen.len(), nth == 0) {
                for lasting in [false, true] {
                    if lasting && nth > 0 && place > 1 {
                        continue; // the first errno has covered lasting faults at each place
                    }
                    let Some(due) = due(job, way, answer, place, &seen, lasting) else { continue };
                    let when = format!("{place}{}", if lasting { "+" } else { "" });
                    let many = if lasting { u32::MAX } else { 1 };
                    let fault = |errno| Fault { opcode, errno, first: place as u32, many, ending };
                    let said = if *answer == "0" { "retval=0".to_owned() } else { format!("error={answer}") };
                    let wrong = match job.what {
                        What::Call(name) => Wrong::Call(name, said, when.clone()),
                        What::Operation(..) => Wrong::Operation(fault(number_of(answer))),
                        What::Both => {
                            let lost = Fault { many: 1, ..fault(number_of("ECANCELED")) };
                            // A batch opens its sockets by a separate submission.
                            let after_the_launch = if matches!(way, Way::Pairs | Way::AsyncPairs) { "3" } else { "2" };
                            Wrong::Both(lost, said, after_the_launch.to_owned())
                        }
                    };
                    let report = try_out(way, &options, job.road, due == Due::Late, wrong);
                    // A real EADDRNOTAVAIL comes before the handshake.
                    let too_late = *answer == "EADDRNOTAVAIL" && matches!(job.what, What::Call("connect"));
                    let counted = too_late || *answer == "ECONNABORTED";
                    println!("came\t{when}\t{}\t{}", report.result(), report.verdict(due, answer, counted));
                }
            }
        }
    }
}

fn told(ending: FaultEnding) -> &'static str {
    match ending {
        FaultEnding::AtOnce => "at once",
        FaultEnding::Rejected => "rejected",
        FaultEnding::Later => "later",
    }
}

impl Report {
    fn result(&self) -> String {
        match &self.made {
            Ok(_) => "made".to_owned(),
            Err((step, Some(errno), _)) => format!("{step:?} {:?}", Errno::from_raw(*errno)),
            Err((step, None, _)) => format!("{step:?}"),
        }
    }

    /// An accepted connection that is already closed counts as a stranger.
    fn verdict(&self, due: Due, answer: &str, counted: bool) -> String {
        let expected = match due {
            Due::Made => "made".to_owned(),
            Due::Late => "Timeout".to_owned(),
            Due::Refused(step) => format!("{step:?} {}", if answer == "0" { "EAGAIN" } else { answer }),
        };
        let mut wrong: Vec<String> = self.complaints.clone();
        if counted {
            wrong.retain(|complaint| !complaint.ends_with("strangers"));
        }
        if self.result() != expected {
            wrong.push(format!("should be {expected}"));
        }
        if self.met == 0 {
            wrong.push("the fault was never met".to_owned());
        }
        if self.took > Duration::from_secs(10) {
            wrong.push(format!("took {:?}", self.took));
        }
        if wrong.is_empty() { "good".to_owned() } else { format!("WRONG: {}", wrong.join("; ")) }
    }
}

/// Returns the expected result of a fault; `None` if there is no such case. `lasting`: all later calls fail too.
fn due(job: &Job, way: Way, answer: &str, place: usize, seen: &[String], lasting: bool) -> Option<Due> {
    use Due::{Late, Made, Refused};
    let unharmed = if job.road == Road::Lost { Late } else { Made };
    let once = |due| if lasting { due } else { unharmed };
    let at = |place: usize| seen[place - 1].as_str();
    // The calls from this place on whose results matter.
    let any =
        |is_ours: &dyn Fn(usize) -> bool| if lasting { (place..=seen.len()).any(is_ours) } else { is_ours(place) };
    Some(match job.what {
        What::Both => return (!lasting).then_some(Refused(Step::Ring)),
        What::Operation("IORING_OP_CONNECT", ..) | What::Call("connect") => match answer {
            "ECANCELED" | "EINTR" => once(Late),
            "EADDRNOTAVAIL" => once(Refused(Step::Connect)), // a fresh listener may work
            _ => Refused(Step::Connect),
        },
        What::Operation("IORING_OP_ACCEPT", ..) => match answer {
            _ if PASSING.contains(&answer) => once(Late),
            _ => Refused(Step::Accept),
        },
        What::Operation("IORING_OP_SOCKET", ..) => match way {
            Way::Pairs | Way::AsyncPairs => Refused(Step::Socket),
            _ => unharmed, // the spare socket: opened by a system call instead
        },
        What::Operation(..) => unharmed,
        What::Call(name) => match name {
            // The second socket is the first pair's, which opens it itself if the new factory could not.
            "socket" if job.engine == "ring" && way == Way::Factory && place == 2 => once(Refused(Step::Socket)),
            "socket" | "prlimit64" => Refused(Step::Socket),
            // A one-shot socket that cannot listen again is replaced.
            "setsockopt" if way == Way::OneShotAgain && place <= 2 => once(Refused(Step::SetOption)),
            "listen" if way == Way::OneShotAgain => once(Refused(Step::Listen)),
            "getsockname" if way == Way::OneShotAgain && place == 1 => once(Refused(Step::Verify)),
            "setsockopt" => Refused(Step::SetOption),
            // If the kernel finds no port for the listener, a port in TIME_WAIT may work.
            "bind" if answer == "EADDRINUSE" && place == 1 && !way.keeps_a_factory() => once(Refused(Step::Bind)),
            "bind" => Refused(Step::Bind),
            "listen" => Refused(Step::Listen),
            "getsockname" => Refused(Step::Verify),
            "getpeername" => {
                // Connected ends are checked before accepted ends, for which SO_PEERNAME works too.
                let is_connected = |place: usize| match way {
                    Way::Pairs | Way::AsyncPairs => place <= BATCH,
                    _ => place % 2 == 1,
                };
                if any(&is_connected) { Refused(Step::Verify) } else { unharmed }
            }
            "getsockopt" | "statx" | "prctl" | "io_uring_register" | "munmap" => unharmed,
            "fcntl" => {
                // F_GETFD comes from the standard library in debug builds. Listeners are drained after the pair.
                let of_mode: Vec<usize> = (1..=seen.len()).filter(|place| at(*place).contains("FL")).collect();
                let rank = of_mode.iter().position(|of_mode| *of_mode == place)?;
                let of_ends = if job.engine == "ring" {
                    0
                } else if way == Way::Factory {
                    2
                } else {
                    of_mode.len()
                };
                if rank < of_ends { Refused(Step::SetOption) } else { unharmed }
            }
            "accept4" if answer == "EINTR" && lasting => return None, // retried until it succeeds
            // A drained listener has no connection.
            "accept4" if job.engine == "ring" || at(place).contains("EAGAIN") => unharmed,
            "accept4" if PASSING.contains(&answer) || answer == "EAGAIN" => once(Late),
            "accept4" => Refused(Step::Accept),
            "io_uring_setup" | "mmap" | "epoll_create1" => {
                if at(place).contains("MAP_ANONYMOUS") {
                    return None; // from the allocator
                }
                let descends = answer == "EINVAL" && matches!(name, "io_uring_setup" | "mmap");
                let absent = matches!(answer, "ENOSYS" | "EPERM" | "EACCES" | "EOPNOTSUPP") && job.engine == "auto";
                match answer {
                    _ if absent => Made,
                    _ if descends || answer == "ENOMEM" => once(Refused(Step::Ring)),
                    _ => Refused(Step::Ring),
                }
            }
            "io_uring_enter" => match answer {
                // The others only check for completions, or cancel late operations.
                _ if job.road == Road::Lost && place > submissions(way) => return None,
                "EINTR" | "EAGAIN" | "EBUSY" | "0" => once(Refused(Step::Ring)),
                _ => Refused(Step::Ring),
            },
            "poll" if answer == "EINTR" => Late,
            "poll" => Refused(Step::Ring),
            "epoll_ctl" => {
                // The reactor's calls may fail: calls look again by themselves.
                let is_ours = |place: usize| at(place).contains("_ADD") && !at(place).contains("ONESHOT");
                if any(&is_ours) { Refused(Step::Ring) } else { Late }
            }
            other => panic!("{other} has no due end"),
        },
    })
}

/// How often a way submits if all packets are lost: a batch opens its sockets by a separate submission.
fn submissions(way: Way) -> usize {
    if matches!(way, Way::Pairs | Way::AsyncPairs) { 2 } else { 1 }
}

/// Errnos after which an accept is repeated.
const PASSING: &[&str] = &[
    "ECONNABORTED",
    "EPROTO",
    "ENETDOWN",
    "ENOPROTOOPT",
    "EHOSTDOWN",
    "ENONET",
    "EHOSTUNREACH",
    "EOPNOTSUPP",
    "ENETUNREACH",
    "EINTR",
    "ECANCELED",
];

fn number_of(name: &str) -> i32 {
    (1..134).find(|number| format!("{:?}", Errno::from_raw(*number)) == name).unwrap_or_else(|| panic!("{name}"))
}

fn with_every_option(options: PairOptions) -> PairOptions {
    options
        .nodelay(true)
        .recv_buffer_size(65536)
        .send_buffer_size(65536)
        .linger(ringpair::Linger::Graceful)
        .address([127, 0, 0, 2].into())
}

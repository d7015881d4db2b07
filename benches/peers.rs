//! What a pair costs, made and closed, by ringpair and by the ways in which people do without it.
//!
//! *What is measured.* Wall-clock time from the first call to the return of the second close, one pair after the other
//! (`ringpair-batch-64`: 64 at a time), divided by that of the floor: socket, setsockopt, connect, accept4, close,
//! close as plain system calls on a kept listener that lingers already, with no look at who is at the other end.
//! Everywhere the accepted end is closed first, then the connected one. A rival that has a listener for each pair opens
//! and closes that too, as it does in use. Runtimes, rings and kept listeners are set up beforehand, and one short
//! round is not counted.
//!
//! *How.* All rivals take short turns in one process; each round begins with another rival, and every second one goes
//! the other way round, so that a drift of the host hits all alike and nobody always follows the same neighbour. A
//! ratio is taken within its round. The floor has a second turn in each round under the name of control: what it says
//! other than 1.00 is the error of the method on this host. Ratios travel between hosts; microseconds do not. A turn is
//! 1,024 pairs long, sixteen batches: the first ones find the caches as the neighbour has left them, and who uses more
//! memory pays more for that. `--pairs 128 --rounds 161` gives that start eight times the weight.
//!
//! *TIME_WAIT.* `std`, `tokio-join` and `tokio-uring-join` close with FIN, as they do in use, so that each of their
//! pairs leaves a socket in TIME_WAIT for a minute, on the port of a listener that is gone. That is in the way of
//! everyone who binds afterwards, most of those who set SO_REUSEADDR before, as `std` does: for them bind(2) to port 0
//! takes the odd ports of the lower half of `ip_local_port_range` first, and when that quarter, 7,058 ports, is in
//! TIME_WAIT, every bind searches for a millisecond or more. That is worth knowing, but it would drown all else here: so
//! these three make 4,000 pairs in a run at most, and fewer in each turn than the others. The report tells how many were in
//! TIME_WAIT before and after, and what the floor cost in the last third of the rounds over the first. Where many were
//! there before, wait for a minute, or run in a network namespace of your own: `unshare -n`, `ip link set lo up`.
//!
//! *What is not measured.* Bytes, throughput and latency of the streams; processor time; memory; several threads; the
//! network outside loopback; the cost of the first pair.
//!
//! `cargo bench --bench peers -- [--json] [--rounds N] [--pairs N]`
#![allow(clippy::unwrap_used)] // here a panic is the report

mod common;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use common::floor::Floor;
use common::report::{Json, Table, object, print};
use common::{Arguments, Spread, give_up, host, time_wait};
#[cfg(feature = "epoll")]
use ringpair::Backend;
use ringpair::{PairFactory, PairOptions};

/// One way to make and close pairs.
struct Rival {
    name: &'static str,
    closes: Closes,
    open: fn() -> Turn,
}

#[derive(Clone, Copy, PartialEq)]
enum Closes {
    WithReset,
    WithFin,
}

/// Makes and closes so many pairs.
type Turn = Box<dyn FnMut(usize)>;

/// The floor goes first: the others are measured against it.
const RIVALS: &[Rival] = &[
    Rival { name: "floor", closes: Closes::WithReset, open: floor },
    Rival { name: "ringpair-factory", closes: Closes::WithReset, open: ringpair_factory },
    Rival { name: "ringpair-one-shot", closes: Closes::WithReset, open: ringpair_one_shot },
    Rival { name: "ringpair-batch-64", closes: Closes::WithReset, open: ringpair_batch },
    Rival { name: "ringpair-blocking", closes: Closes::WithReset, open: ringpair_blocking },
    #[cfg(feature = "epoll")]
    Rival { name: "ringpair-epoll-factory", closes: Closes::WithReset, open: ringpair_epoll },
    #[cfg(feature = "epoll")]
    Rival { name: "ringpair-epoll-tokio", closes: Closes::WithReset, open: ringpair_epoll_tokio },
    Rival { name: "std", closes: Closes::WithFin, open: std_each },
    Rival { name: "tokio-join", closes: Closes::WithFin, open: tokio_join },
    Rival { name: "tokio-uring-join", closes: Closes::WithFin, open: tokio_uring_join },
];
const CONTROL: Rival = Rival { name: "(control: the floor again)", closes: Closes::WithReset, open: floor };

/// How many pairs that leave TIME_WAIT behind a run may make, one in each turn excepted.
const FIN_PAIRS: usize = 4000;

/// How many of the sockets in TIME_WAIT that others left are worth a warning.
const FIN_PAIRS_OF_OTHERS: u64 = 1000;

fn floor() -> Turn {
    let floor = Floor::open().unwrap();
    Box::new(move |pairs| {
        for _ in 0..pairs {
            drop(floor.pair().unwrap());
        }
    })
}

fn ringpair_factory() -> Turn {
    let factory = factory();
    on_tokio_uring(async move |pairs| {
        for _ in 0..pairs {
            close(factory.pair::<tokio_uring::net::TcpStream>().await.unwrap());
        }
    })
}

fn ringpair_one_shot() -> Turn {
    let options = PairOptions::new();
    on_tokio_uring(async move |pairs| {
        for _ in 0..pairs {
            close(options.make_pair::<tokio_uring::net::TcpStream>().await.unwrap());
        }
    })
}

fn ringpair_batch() -> Turn {
    const BATCH: usize = 64;
    let factory = factory();
    on_tokio_uring(async move |pairs| {
        for made in (0..pairs).step_by(BATCH) {
            let batch = BATCH.min(pairs - made);
            factory.pairs::<tokio_uring::net::TcpStream>(batch).await.unwrap().into_iter().for_each(close);
        }
    })
}

fn ringpair_blocking() -> Turn {
    let factory = factory();
    Box::new(move |pairs| {
        for _ in 0..pairs {
            close(factory.pair_blocking::<std::net::TcpStream>().unwrap());
        }
    })
}

#[cfg(feature = "epoll")]
fn ringpair_epoll() -> Turn {
    let factory = PairOptions::new().backend(Backend::Epoll).factory().unwrap();
    Box::new(move |pairs| {
        for _ in 0..pairs {
            close(factory.pair_blocking::<std::net::TcpStream>().unwrap());
        }
    })
}

#[cfg(feature = "epoll")]
fn ringpair_epoll_tokio() -> Turn {
    let factory = PairOptions::new().backend(Backend::Epoll).factory().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Box::new(move |pairs| {
        runtime.block_on(async {
            for _ in 0..pairs {
                close(factory.pair::<tokio::net::TcpStream>().await.unwrap());
            }
        });
    })
}

fn std_each() -> Turn {
    use std::net::{TcpListener, TcpStream};

    fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(ANY_PORT)?;
        let connected = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        Ok((accepted, connected))
    }
    Box::new(|pairs| {
        for _ in 0..pairs {
            close(pair().unwrap());
        }
    })
}

fn tokio_join() -> Turn {
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let address = listener.local_addr()?;
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        Ok((accepted?.0, connected?))
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Box::new(move |pairs| {
        runtime.block_on(async {
            for _ in 0..pairs {
                close(pair().await.unwrap());
            }
        });
    })
}

fn tokio_uring_join() -> Turn {
    use tokio_uring::net::{TcpListener, TcpStream};

    async fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(ANY_PORT)?;
        let address = listener.local_addr()?;
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        Ok((accepted?.0, connected?))
    }
    on_tokio_uring(async |pairs| {
        for _ in 0..pairs {
            close(pair().await.unwrap());
        }
    })
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn factory() -> PairFactory {
    PairOptions::new().factory().unwrap()
}

fn on_tokio_uring(turn: impl AsyncFn(usize) + 'static) -> Turn {
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    Box::new(move |pairs| runtime.block_on(turn(pairs)))
}

/// The same order for all.
fn close<S>((accepted, connected): (S, S)) {
    drop(accepted);
    drop(connected);
}

fn main() {
    let arguments = Arguments::of("peers", &[("--rounds", 41), ("--pairs", 1024)]);
    if let Err(error) = PairOptions::new().factory() {
        give_up("peers", &error);
    }
    if time_wait() > FIN_PAIRS_OF_OTHERS {
        eprintln!(
            "peers: {} sockets are in TIME_WAIT; without them, in a minute, the figures will be fairer",
            time_wait()
        );
    }
    let report = measure(arguments.size("--rounds"), arguments.size("--pairs"));
    match arguments.json {
        true => print(&report.json()),
        false => print(&report.table()),
    }
}

fn measure(rounds: usize, pairs: usize) -> Report {
    let time_wait_before = time_wait();
    let ready = |rival| Runner::ready(rival, pairs_a_turn(rival, rounds, pairs));
    let mut runners: Vec<Runner> = RIVALS.iter().chain([&CONTROL]).map(ready).collect();
    for round in 0..rounds {
        let count = runners.len();
        for place in 0..count {
            let place = if round % 2 == 0 { place } else { count - 1 - place };
            runners[(round + place) % count].take_turn();
        }
    }
    let outcomes: Vec<Outcome> = runners.iter().map(|runner| runner.outcome(&runners[0].micros)).collect();
    Report { rounds, pairs, time_wait: (time_wait_before, time_wait()), drift: drift(&runners[0].micros), outcomes }
}

fn pairs_a_turn(rival: &Rival, rounds: usize, pairs: usize) -> usize {
    let rivals_with_fin = RIVALS.iter().filter(|rival| rival.closes == Closes::WithFin).count();
    match rival.closes {
        Closes::WithReset => pairs,
        Closes::WithFin => pairs.min(FIN_PAIRS / rivals_with_fin / rounds).max(1),
    }
}

/// A rival with all set up, and how many microseconds a pair took in each of its turns.
struct Runner {
    name: &'static str,
    pairs: usize,
    turn: Turn,
    micros: Vec<f64>,
}

impl Runner {
    fn ready(rival: &Rival, pairs: usize) -> Runner {
        let mut turn = (rival.open)();
        turn((pairs / 8).max(1)); // not counted
        Runner { name: rival.name, pairs, turn, micros: Vec::new() }
    }

    fn take_turn(&mut self) {
        let begin = Instant::now();
        (self.turn)(self.pairs);
        self.micros.push(begin.elapsed().as_secs_f64() * 1e6 / self.pairs as f64);
    }

    fn outcome(&self, floor: &[f64]) -> Outcome {
        let ratios = self.micros.iter().zip(floor).map(|(own, floor)| own / floor);
        let micros = Spread::of(self.micros.iter().copied()).median;
        Outcome { name: self.name, pairs: self.pairs, ratio: Spread::of(ratios), micros }
    }
}

/// What the floor cost in the last third of its turns over the first.
fn drift(floor: &[f64]) -> f64 {
    let third = floor.len().div_ceil(3);
    let median = |turns: &[f64]| Spread::of(turns.iter().copied()).median;
    median(&floor[floor.len() - third..]) / median(&floor[..third])
}

struct Report {
    rounds: usize,
    pairs: usize,
    time_wait: (u64, u64),
    drift: f64,
    /// The control comes last.
    outcomes: Vec<Outcome>,
}

struct Outcome {
    name: &'static str,
    pairs: usize,
    ratio: Spread,
    micros: f64,
}

impl Report {
    fn table(&self) -> String {
        let mut table = Table::new(["rival", "median", "least", "greatest", "µs a pair", "pairs a turn"]);
        for outcome in &self.outcomes {
            let cost = [format!("{:.1}", outcome.micros), outcome.pairs.to_string()];
            table.row(outcome.name, outcome.ratio.cells().into_iter().chain(cost));
        }
        let Report { rounds, time_wait: (before, after), drift, .. } = self;
        format!(
            "A pair made and closed, over the floor of the same round; {rounds} rounds, {}\n\n{table}\n\
             TIME_WAIT {before} before, {after} after; the floor, last third of the rounds over the first: {drift:.2}",
            host()
        )
    }

    fn json(&self) -> Json {
        let (control, rivals) = self.outcomes.split_last().unwrap();
        let (before, after) = self.time_wait;
        object([
            ("bench", Json::Text("peers".into())),
            ("host", Json::Text(host())),
            ("rounds", Json::Count(self.rounds as u64)),
            ("pairs", Json::Count(self.pairs as u64)),
            ("rivals", Json::List(rivals.iter().map(Outcome::json).collect())),
            ("control", control.json()),
            ("floor_drift", Json::Number(self.drift)),
            ("time_wait", object([("before", Json::Count(before)), ("after", Json::Count(after))])),
        ])
    }
}

impl Outcome {
    fn json(&self) -> Json {
        object([
            ("name", Json::Text(self.name.into())),
            ("pairs_a_turn", Json::Count(self.pairs as u64)),
            ("ratio", self.ratio.json()),
            ("us_per_pair", Json::Number(self.micros)),
        ])
    }
}

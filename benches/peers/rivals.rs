//! The rivals: each makes and closes pairs in its own way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

#[cfg(feature = "epoll")]
use ringpair::Backend;
use ringpair::{PairFactory, PairOptions, PairSocket};

use crate::common::floor::Floor;

/// One way to make and close pairs.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) closes: Closes,
    pub(crate) open: fn() -> Turn,
    /// The rivals that this one is compared with, apart from the floor.
    pub(crate) yardsticks: &'static [Yardstick],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Closes {
    WithReset,
    WithFin,
}

/// Makes and closes the given number of pairs.
pub(crate) type Turn = Box<dyn FnMut(usize)>;

/// A rival to compare with, and the highest ratio to it that meets the goal.
pub(crate) struct Yardstick {
    pub(crate) over: &'static str,
    pub(crate) goal: Option<f64>,
}

const VERIFIED: Yardstick = Yardstick { over: "floor-verified", goal: None };

/// The floor comes first: all others are divided by it.
pub(crate) const RIVALS: &[Rival] = &[
    Rival::plain("floor", Closes::WithReset, floor),
    Rival::plain("floor-verified", Closes::WithReset, floor_verified),
    Rival::plain("floor-held-64", Closes::WithReset, floor_held),
    Rival::ringpair(
        "ringpair-factory",
        || factory_on_tokio_uring(Rc::new(factory())),
        &[Yardstick { over: "floor-verified", goal: Some(1.13) }],
    ),
    Rival::ringpair(
        "ringpair-one-shot",
        one_shot_on_tokio_uring,
        &[VERIFIED, Yardstick { over: "std", goal: Some(0.95) }],
    ),
    Rival::ringpair(
        "ringpair-one-shot-blocking",
        one_shot_blocking,
        &[VERIFIED, Yardstick { over: "std", goal: Some(0.95) }],
    ),
    Rival::ringpair(
        "ringpair-batch-64",
        batch_on_tokio_uring,
        &[Yardstick { over: "floor-held-64", goal: Some(1.03) }],
    ),
    Rival::ringpair(
        "ringpair-blocking",
        || factory_blocking(factory()),
        &[Yardstick { over: "floor-verified", goal: Some(1.10) }],
    ),
    #[cfg(feature = "epoll")]
    Rival::ringpair("ringpair-epoll-factory", || factory_blocking(epoll_factory()), &[VERIFIED]),
    #[cfg(feature = "tokio")]
    Rival::ringpair(
        "ringpair-epoll-tokio",
        || factory_on_tokio::<tokio::net::TcpStream>(Rc::new(epoll_factory())),
        &[VERIFIED],
    ),
    Rival::plain("std", Closes::WithFin, std_each),
    Rival::plain("tokio-join", Closes::WithFin, tokio_join),
    Rival::plain("tokio-uring-join", Closes::WithFin, tokio_uring_join),
];
pub(crate) const CONTROL: Rival = Rival::plain("(control: the floor again)", Closes::WithReset, floor);

impl Rival {
    const fn plain(name: &'static str, closes: Closes, open: fn() -> Turn) -> Rival {
        Rival { name, closes, open, yardsticks: &[] }
    }

    const fn ringpair(name: &'static str, open: fn() -> Turn, yardsticks: &'static [Yardstick]) -> Rival {
        Rival { name, closes: Closes::WithReset, open, yardsticks }
    }
}

const BATCH: usize = 64;

/// The sizes of the batches that make up `pairs`.
fn batches(pairs: usize) -> impl Iterator<Item = usize> {
    (0..pairs).step_by(BATCH).map(move |made| BATCH.min(pairs - made))
}

pub(crate) fn floor() -> Turn {
    let floor = Floor::open().unwrap();
    Box::new(move |pairs| (0..pairs).for_each(|_| drop(floor.pair().unwrap())))
}

fn floor_verified() -> Turn {
    let floor = Floor::open().unwrap();
    Box::new(move |pairs| (0..pairs).for_each(|_| drop(floor.verified_pair().unwrap())))
}

fn floor_held() -> Turn {
    let floor = Floor::open().unwrap();
    Box::new(move |pairs| {
        for batch in batches(pairs) {
            let held: Vec<_> = (0..batch).map(|_| floor.verified_pair().unwrap()).collect();
            drop(held);
        }
    })
}

pub(crate) fn factory() -> PairFactory {
    PairOptions::new().factory().unwrap()
}

#[cfg(feature = "epoll")]
fn epoll_factory() -> PairFactory {
    PairOptions::new().backend(Backend::Epoll).factory().unwrap()
}

pub(crate) fn factory_on_tokio_uring(factory: Rc<PairFactory>) -> Turn {
    on_tokio_uring(async move |pairs| {
        for _ in 0..pairs {
            close(factory.pair::<tokio_uring::net::TcpStream>().await.unwrap());
        }
    })
}

pub(crate) fn factory_on_tokio<S: PairSocket + 'static>(factory: Rc<PairFactory>) -> Turn {
    on_tokio(async move |pairs| {
        for _ in 0..pairs {
            close(factory.pair::<S>().await.unwrap());
        }
    })
}

fn factory_blocking(factory: PairFactory) -> Turn {
    Box::new(move |pairs| {
        for _ in 0..pairs {
            close(factory.pair_blocking::<std::net::TcpStream>().unwrap());
        }
    })
}

fn batch_on_tokio_uring() -> Turn {
    let factory = factory();
    on_tokio_uring(async move |pairs| {
        for batch in batches(pairs) {
            factory.pairs::<tokio_uring::net::TcpStream>(batch).await.unwrap().into_iter().for_each(close);
        }
    })
}

fn one_shot_on_tokio_uring() -> Turn {
    let options = PairOptions::new();
    on_tokio_uring(async move |pairs| {
        for _ in 0..pairs {
            close(options.make_pair::<tokio_uring::net::TcpStream>().await.unwrap());
        }
    })
}

fn one_shot_blocking() -> Turn {
    let options = PairOptions::new();
    Box::new(move |pairs| {
        for _ in 0..pairs {
            close(options.make_pair_blocking::<std::net::TcpStream>().unwrap());
        }
    })
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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
    on_tokio(async |pairs| {
        for _ in 0..pairs {
            close(pair().await.unwrap());
        }
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

fn on_tokio_uring(turn: impl AsyncFn(usize) + 'static) -> Turn {
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
    Box::new(move |pairs| runtime.block_on(turn(pairs)))
}

fn on_tokio(turn: impl AsyncFn(usize) + 'static) -> Turn {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Box::new(move |pairs| runtime.block_on(turn(pairs)))
}

/// Closes the accepted end, then the connected one: the same order for every rival.
fn close<S>((accepted, connected): (S, S)) {
    drop(accepted);
    drop(connected);
}

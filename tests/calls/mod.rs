//! Every call that makes pairs, by name, and checks of a pair.
#![allow(dead_code, clippy::unwrap_used)] // each file uses a part

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use ringpair::{PairFactory, PairOptions, Result};

use crate::common::{DESCRIPTORS_OF_A_THREAD, assert_descriptors_become, runtime};

pub(crate) type Pair = (TcpStream, TcpStream);

/// Makes one pair or several, with the factory or, if it is a one-shot, with the options.
pub(crate) type Call = fn(&PairOptions, &PairFactory) -> Result<Vec<Pair>>;

/// More pairs than one submission takes.
const BATCH: usize = 40;

/// All calls; the async ones run in a tokio runtime of their own.
pub(crate) const CALLS: [(&str, Call); 7] = [
    ("pair_blocking", |_, factory| Ok(vec![factory.pair_blocking()?])),
    ("pairs_blocking", |_, factory| factory.pairs_blocking(BATCH)),
    ("make_pair_blocking", |options, _| Ok(vec![options.make_pair_blocking()?])),
    ("pair", |_, factory| runtime().block_on(async { Ok(vec![factory.pair().await?]) })),
    ("pairs", |_, factory| runtime().block_on(factory.pairs(BATCH))),
    ("stream", |_, factory| runtime().block_on(factory.stream(3).try_collect())),
    ("make_pair", |options, _| runtime().block_on(async { Ok(vec![options.make_pair().await?]) })),
];

/// All async calls of a factory and the async one-shot, awaited one after the other.
pub(crate) async fn await_every_call(
    options: &PairOptions,
    factory: &PairFactory,
) -> Vec<(&'static str, Result<Pair>)> {
    let pairs = async { Ok(factory.pairs(BATCH).await?.pop().unwrap()) };
    vec![
        ("pair", factory.pair().await),
        ("pairs", pairs.await),
        ("stream", factory.stream(1).next().await.unwrap()),
        ("make_pair", options.make_pair().await),
    ]
}

/// How long a call may hang before the test fails. No outcome depends on it.
const HANG: Duration = Duration::from_secs(20);

/// Runs `call` in a thread of its own, and panics if it hangs.
pub(crate) fn without_hanging<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || sender.send(call()));
    match receiver.recv_timeout(HANG) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what} panics: {:?}", thread.join().map(drop)),
    }
}

/// Each end receives a token from the other end, and nothing before it.
pub(crate) fn assert_is_our_own((mut accepted, mut connected): Pair) {
    assert_eq!(connected.peer_addr().unwrap(), accepted.local_addr().unwrap());
    let token = accepted.peer_addr().unwrap().port().to_be_bytes();
    accepted.write_all(&token).unwrap();
    connected.write_all(&token).unwrap();
    for end in [&mut accepted, &mut connected] {
        let mut read = [0; 2];
        end.read_exact(&mut read).unwrap();
        assert_eq!(read, token);
    }
}

/// At most one idle maker for each CPU, of three descriptors, and what this thread keeps for one-shots.
pub(crate) fn assert_keeps_few_descriptors_above(before: usize) {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t").count();
    assert_descriptors_become(0..=before + 3 * cpus + DESCRIPTORS_OF_A_THREAD);
}

/// Polls with a waker that wakes nothing.
pub(crate) fn poll_once<F: Future + Unpin>(call: &mut F) -> Poll<F::Output> {
    Pin::new(call).poll(&mut Context::from_waker(Waker::noop()))
}

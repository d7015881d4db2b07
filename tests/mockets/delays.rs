//! Delays and patience are of the wall clock, in every executor: with a clock that stands still, or none, too.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_executor::block_on;
use ringpair::mocket::owned::OwnedBufStream;
use ringpair::mocket::{MismatchKind, Mocket, MocketOptions, NoSocket, Script};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use crate::calls::without_hanging;
use crate::common::{alone, eventually, leave_all_descriptors, leave_descriptors, reactor_runs, ring_is_there};
use crate::kind_in;

const SHORT: Duration = Duration::from_millis(2);
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Its clock stands still while a task runs, and jumps to the next timer if none does.
fn with_a_paused_clock() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

async fn read(mocket: &Mocket<NoSocket>) -> std::io::Result<Vec<u8>> {
    let (read, bytes) = mocket.read(Vec::with_capacity(8)).await;
    read.map(|_| bytes)
}

/// Runs the task below to its end.
type Executor = fn();

fn every_executor() -> Vec<(&'static str, Executor)> {
    #[allow(unused_mut)]
    let mut all: Vec<(&str, Executor)> = vec![
        ("futures-executor", || block_on(delayed_both_ways())),
        ("tokio without time", || Builder::new_current_thread().build().unwrap().block_on(delayed_both_ways())),
        ("tokio with a paused clock", || with_a_paused_clock().block_on(delayed_both_ways())),
        ("tokio with two workers", || {
            let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(runtime.spawn(delayed_both_ways())).unwrap();
        }),
    ];
    #[cfg(feature = "smol")]
    all.push(("smol", || async_io::block_on(delayed_both_ways())));
    #[cfg(feature = "monoio")]
    all.push(("monoio", || {
        use monoio::{LegacyDriver, RuntimeBuilder};
        RuntimeBuilder::<LegacyDriver>::new().build().unwrap().block_on(delayed_both_ways());
    }));
    if ring_is_there() {
        #[cfg(feature = "tokio-uring")]
        all.push(("tokio-uring", || {
            tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap().block_on(delayed_both_ways());
        }));
        #[cfg(feature = "compio")]
        all.push(("compio", || compio_runtime::Runtime::new().unwrap().block_on(delayed_both_ways())));
    }
    all
}

/// A read, a write and a shutdown, each of which waits.
async fn delayed_both_ways() {
    let script = Script::new().delay(SHORT).provide("1").write_delay(SHORT).expect("a").write_delay(SHORT);
    let mut mocket = Mocket::scripted(script.expect_shutdown());
    assert_eq!(read(&mocket).await.unwrap(), b"1");
    mocket.write(b"a".to_vec()).await.0.unwrap();
    mocket.shutdown().await.unwrap();
    mocket.close().unwrap();
}

#[test]
fn a_delay_ends_in_every_executor() {
    for (name, executor) in every_executor() {
        without_hanging(name, executor);
    }
}

#[test]
fn a_call_waits_for_its_delay() {
    let mocket = Mocket::scripted(Script::new().delay(AN_HOUR).provide("1").write_delay(AN_HOUR).expect("a"));
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(read(&mocket)).poll(&mut context).is_pending());
    assert!(pin!(mocket.write(b"a".to_vec())).poll(&mut context).is_pending());
    mocket.verify().unwrap_err();
}

/// A read that began the delay anew would never find it over at its first poll.
#[test]
fn a_delay_goes_on_where_a_dropped_read_left_it() {
    let mut mocket = Mocket::scripted(Script::new().delay(SHORT).provide("1"));
    eventually("the delay is over", || pin!(read(&mocket)).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    mocket.close().unwrap();
}

#[test]
fn with_a_paused_clock_timers_come_before_delays() {
    with_a_paused_clock().block_on(async {
        let begin = Instant::now();
        let mocket = Mocket::scripted(Script::new().delay(SHORT).provide("1").delay(AN_HOUR).provide("2"));
        read(&mocket).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO, "the delay has moved tokio's clock");
        timeout(2 * AN_HOUR, read(&mocket)).await.unwrap_err();
        mocket.verify().unwrap_err();
    });
}

#[test]
fn without_descriptors_delays_and_patience_end_too() {
    alone(|| {
        leave_descriptors(0);
        block_on(delayed_both_ways());
        let script = Script::new().expect("ping").then().provide("pong");
        let mocket = MocketOptions::new().script(script).patience(SHORT).scripted().unwrap();
        assert_eq!(kind_in(&block_on(read(&mocket)).unwrap_err()), MismatchKind::ReadEarly);
        leave_all_descriptors();
        assert!(!reactor_runs(), "there were descriptors");
    });
}

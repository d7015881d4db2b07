//! The check on two threads, for ends that are `Send`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use super::end::{Duplex, End, settle};
use super::task::{Alarm, Caught, both};
use super::verdict::{Failure, Verdict, fail};
use super::watch::{Side, Watch};
use crate::wait::Unparks;

pub(super) const TWO_THREADS: &str = "ends-work-on-two-threads";

const TURNS: u64 = 500;
const MAX: usize = 1 << 16;

/// Uses each end on a thread of its own, in turns and for many bytes, and then both on this thread.
pub(super) async fn ends_work_on_two_threads<A: Duplex, B: Duplex + Send + 'static>(
    near: A,
    mut far: B,
    watch: &Rc<Watch>,
    time: Duration,
    transfer: usize,
) -> Verdict {
    let transfer = transfer.min(MAX);
    let mut near = End::new(Box::new(near), Side::Near, watch.clone());
    let mut here = End::new(Box::new(&mut far), Side::Far, watch.clone());
    here.begin_read(&Alarm::default()).await?; // the next poll of this read comes from the other thread
    drop(here);
    let mut moved = Elsewhere::start(far, time, transfer)
        .map_err(|error| Failure::NotExercised(format!("no thread can be started: {error}")))?;
    let back = &mut None;
    let there = async {
        for turn in 0..TURNS {
            near.send(&turn.to_le_bytes()).await?;
            near.expect(&(!turn).to_le_bytes()).await?;
        }
        near.send_pattern(0..transfer).await?;
        near.expect_pattern(0..transfer).await
    };
    let joins = async {
        *back = Some(moved.join().await?);
        Ok(())
    };
    both(joins, there).await?;
    let Some(far) = back.take() else { return fail("the far end did not come back from its thread") };
    let mut far = End::new(Box::new(far), Side::Far, watch.clone());
    settle(&mut near, &mut far).await?;
    settle(&mut far, &mut near).await
}

/// Runs the far end on its thread.
async fn answer(far: &mut End<'_>, transfer: usize) -> Verdict {
    for turn in 0..TURNS {
        far.expect(&turn.to_le_bytes()).await?;
        far.send(&(!turn).to_le_bytes()).await?;
    }
    far.expect_pattern(0..transfer).await?;
    far.send_pattern(0..transfer).await
}

/// The far end on its own thread.
struct Elsewhere<B> {
    done: Alarm,
    result: Arc<Mutex<Option<Result<B, Failure>>>>,
}

impl<B: Duplex + Send + 'static> Elsewhere<B> {
    fn start(mut far: B, time: Duration, transfer: usize) -> io::Result<Elsewhere<B>> {
        let (done, result) = (Alarm::default(), Arc::new(Mutex::new(None)));
        let (tells, slot) = (done.waker(), Arc::clone(&result));
        let runtime = Handle::try_current().ok();
        thread::Builder::new().name("ringpair-far-end".to_owned()).spawn(move || {
            let _entered = runtime.as_ref().map(Handle::enter);
            let watch = Rc::new(Watch::new(time));
            let verdict = {
                let mut end = End::new(Box::new(&mut far), Side::Far, watch.clone());
                block_on(Caught::new(answer(&mut end, transfer)), &watch)
            };
            let result = match verdict {
                Some(verdict) => verdict.map(|()| far),
                None => Err(Failure::Broken(format!(
                    "the thread of the far end waited in vain; pending: {}",
                    watch.pending()
                ))),
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            tells.wake();
        })?;
        Ok(Elsewhere { done, result })
    }

    async fn join(&mut self) -> Result<B, Failure> {
        self.done.rings().await?;
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.unwrap_or_else(|| fail("the thread of the far end ended without a verdict"))
    }
}

/// Runs a future on this thread until the time is up.
fn block_on<T>(future: impl Future<Output = T>, watch: &Watch) -> Option<T> {
    let waker = Unparks::this_thread();
    let mut future = pin!(future);
    while !watch.is_over() {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
        thread::park_timeout(watch.left());
    }
    None
}

//! Bytes arrive: many, in both directions, in turns, and after a pause.

use std::cell::Cell;
use std::time::Instant;

use tokio::io::split;

use super::Scene;
use crate::conformance::bulk::Bulk;
use crate::conformance::end::{End, greet, settle};
use crate::conformance::task::{Alarm, both};
use crate::conformance::timer::pause;
use crate::conformance::verdict::Verdict;
use crate::conformance::watch::Side;

pub(super) async fn bytes_arrive_in_order(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    let bulk = Bulk::new(0..plan.transfer, plan.patience);
    both(bulk.send(&mut near, Side::Near), bulk.expect(&mut far, Side::Far)).await?;
    settle(&mut near, &mut far).await
}

pub(super) async fn both_directions_at_once(scene: Scene<'_>) -> Verdict {
    let plan = scene.plan;
    let there = Bulk::new(0..plan.transfer, plan.patience);
    let back = Bulk::new(1000..1000 + plan.transfer, plan.patience); // other bytes, so that an end cannot read its own
    let (mut near_reads, mut near_writes) = split(scene.near);
    let (mut far_reads, mut far_writes) = split(scene.far);
    let writers = both(there.send(&mut near_writes, Side::Near), back.send(&mut far_writes, Side::Far));
    let readers = both(back.expect(&mut near_reads, Side::Near), there.expect(&mut far_reads, Side::Far));
    both(writers, readers).await?;
    let (mut near, mut far) = (near_reads.unsplit(near_writes), far_reads.unsplit(far_writes));
    settle(&mut near, &mut far).await?;
    settle(&mut far, &mut near).await
}

/// Bytes of a transfer for each turn.
const BYTES_A_TURN: usize = 2048;
const MIN_TURNS: usize = 100;

pub(super) async fn requests_and_answers(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    let begin = Instant::now();
    let turns = Cell::new((plan.transfer / BYTES_A_TURN).max(MIN_TURNS));
    let asks = async {
        let mut turn = 0;
        while turn < turns.get() {
            if turn >= MIN_TURNS && begin.elapsed() > plan.patience {
                turns.set(turn + 1); // it is slow, not broken
            }
            near.send(&turn.to_le_bytes()).await?;
            near.expect(&answer(turn).to_le_bytes()).await?;
            turn += 1;
        }
        Ok(())
    };
    let answers = async {
        let mut turn = 0;
        while turn < turns.get() {
            far.expect(&turn.to_le_bytes()).await?;
            far.send(&answer(turn).to_le_bytes()).await?;
            turn += 1;
        }
        Ok(())
    };
    both(asks, answers).await
}

fn answer(turn: usize) -> usize {
    !turn
}

pub(super) async fn idle_stream_still_works(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, plan } = scene;
    greet(&mut near, &mut far).await?;
    near.begin_read(&Alarm::default()).await?; // one end waits for bytes meanwhile, and the other does not
    pause(plan.idle).await;
    goes_on(&mut far, &mut near).await?;
    goes_on(&mut near, &mut far).await
}

/// Sends two writes, so that a loss of the first shows at once.
async fn goes_on(from: &mut End<'_>, to: &mut End<'_>) -> Verdict {
    let writes = async {
        from.send(b"after the pause").await?;
        from.send(b"there is more").await
    };
    both(writes, to.expect(b"after the pausethere is more")).await
}

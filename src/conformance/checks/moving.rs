//! That bytes get across.

use tokio::io::split;

use super::Scene;
use crate::conformance::end::{expect_pattern, send_pattern};
use crate::conformance::task::both;
use crate::conformance::verdict::Verdict;

pub(super) async fn bytes_arrive_whole_and_in_order(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, transfer, .. } = scene;
    both(near.send_pattern(0..transfer), far.expect_pattern(0..transfer)).await
}

pub(super) async fn both_directions_flow_at_once(scene: Scene<'_>) -> Verdict {
    let (near, far) = (scene.near.name, scene.far.name);
    let there = 0..scene.transfer;
    let back = 1000..1000 + scene.transfer; // from elsewhere: what is read where it was written is wrong
    let (mut near_reads, mut near_writes) = split(scene.near);
    let (mut far_reads, mut far_writes) = split(scene.far);
    let writers =
        both(send_pattern(&mut near_writes, near, there.clone()), send_pattern(&mut far_writes, far, back.clone()));
    let readers = both(expect_pattern(&mut near_reads, near, back), expect_pattern(&mut far_reads, far, there));
    both(writers, readers).await
}

const TURNS: u64 = 1000;

pub(super) async fn requests_and_answers_take_turns(scene: Scene<'_>) -> Verdict {
    let Scene { mut near, mut far, .. } = scene;
    let asks = async {
        for turn in 0..TURNS {
            near.send(&turn.to_le_bytes()).await?;
            near.expect(&answer(turn).to_le_bytes()).await?;
        }
        Ok(())
    };
    let answers = async {
        for turn in 0..TURNS {
            far.expect(&turn.to_le_bytes()).await?;
            far.send(&answer(turn).to_le_bytes()).await?;
        }
        Ok(())
    };
    both(asks, answers).await
}

fn answer(turn: u64) -> u64 {
    !turn
}

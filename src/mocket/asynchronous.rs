//! Asking a stage in a task: how the async faces wait for the script, in any executor.

use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::Turn;
use super::delays::{Delays, Direction};
use super::stage::{Stage, State, after};
use super::tasks::Task;
use crate::wait::Alarm;

impl Stage {
    /// As `read`; never `Wait` or `NotYet`.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, call: u64, buffer: &mut [u8]) -> Poll<Turn> {
        let task = Task { number: call, waker: context.waker() };
        let turn = ready!(self.poll_turn(task, Direction::Read, |stage| stage.read_or_wake(buffer, task)));
        if !matches!(turn, Turn::NotYet) {
            self.lock().delays.patience = None;
            return Poll::Ready(turn);
        }
        ready!(self.poll_patience(task));
        Poll::Ready(Turn::Fails(self.refuse_early_read()))
    }

    /// Whether a read has waited for too long.
    fn poll_patience(&self, task: Task<'_>) -> Poll<()> {
        let mut state = ready!(self.poll_alarm(task, |delays| &mut delays.patience, |state| after(state.patience)));
        state.delays.patience = None;
        Poll::Ready(())
    }

    /// As `write`; never `Wait`.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, call: u64, offered: &[u8]) -> Poll<Turn> {
        let task = Task { number: call, waker: context.waker() };
        self.poll_turn(task, Direction::Write, |stage| stage.write(offered))
    }

    /// As `shutdown`; never `Wait`.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>, call: u64) -> Poll<Turn> {
        let task = Task { number: call, waker: context.waker() };
        self.poll_turn(task, Direction::Write, Stage::shutdown)
    }

    fn poll_turn(&self, task: Task<'_>, direction: Direction, mut ask: impl FnMut(&Stage) -> Turn) -> Poll<Turn> {
        loop {
            match ask(self) {
                Turn::Wait(late) => ready!(self.poll_delay(task, direction, late)),
                turn => return Poll::Ready(turn),
            }
        }
    }

    fn poll_delay(&self, task: Task<'_>, direction: Direction, late: Duration) -> Poll<()> {
        let mut state = ready!(self.poll_alarm(task, |delays| delays.of(direction), |_| after(late)));
        state.delay_is_over(direction);
        let own = self.tasks.remove(task.number);
        self.wake(state); // others, whose alarm this was too
        drop(own);
        Poll::Ready(())
    }

    /// Waits for the alarm, which is set if there is none. It wakes all tasks: any of them may be polled next.
    fn poll_alarm(
        &self,
        task: Task<'_>,
        alarm: impl FnOnce(&mut Delays) -> &mut Option<Alarm>,
        at: impl FnOnce(&State) -> Instant,
    ) -> Poll<MutexGuard<'_, State>> {
        let before = self.tasks.add(task); // first, or an alarm that goes off in between would not wake it
        drop(before);
        let mut state = self.lock();
        let at = at(&state);
        let alarm = alarm(&mut state.delays).get_or_insert_with(|| Alarm::at(at));
        if alarm.is_due() {
            return Poll::Ready(state);
        }
        let is_set = alarm.set(&Waker::from(Arc::clone(&self.tasks))).is_ok();
        drop(state);
        if !is_set {
            task.waker.wake_by_ref(); // no descriptor or thread is left: looks at the clock at every turn
        }
        Poll::Pending
    }
}

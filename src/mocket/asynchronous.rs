//! Asking a stage in a task: how both async faces wait for the script.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::delays::Delays;
use super::stage::{Stage, after};
use super::{Script, Turn};
use crate::wait::Alarm;

/// A direction: where its delay is kept, and how the script is told that it is over.
struct Way {
    delay: fn(&mut Delays) -> &mut Option<Pin<Box<Sleep>>>,
    is_over: fn(&mut Script),
}

const READING: Way = Way { delay: |delays| &mut delays.read, is_over: Script::read_delay_is_over };
const WRITING: Way = Way { delay: |delays| &mut delays.write, is_over: Script::write_delay_is_over };

impl Stage {
    /// As `read`; never `Wait` or `NotYet`.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, reader: u64, buffer: &mut [u8]) -> Poll<Turn> {
        let turn = ready!(self.poll_turn(context, &READING, |stage, waker| stage.read_or_wake(buffer, reader, waker)));
        if !matches!(turn, Turn::NotYet) {
            let alarm = self.lock().delays.alarm.take();
            drop(alarm); // and its waker, without the lock
            return Poll::Ready(turn);
        }
        ready!(self.poll_patience(context.waker()));
        Poll::Ready(Turn::Fails(self.refuse_early_read()))
    }

    /// Whether a read has waited for too long.
    fn poll_patience(&self, waker: &Waker) -> Poll<()> {
        let (alarm, patience) = {
            let mut state = self.lock();
            (state.delays.alarm.take(), state.patience)
        };
        let at = alarm.as_ref().map_or_else(|| after(patience), |alarm| alarm.at);
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        let alarm = Alarm::wake(alarm, at, waker); // without one, the read waits without end
        self.lock().delays.alarm = alarm;
        Poll::Pending
    }

    /// As `write`; never `Wait`.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, offered: &[u8]) -> Poll<Turn> {
        self.poll_turn(context, &WRITING, |stage, _| stage.write(offered))
    }

    fn poll_turn(
        &self,
        context: &mut Context<'_>,
        way: &Way,
        mut ask: impl FnMut(&Stage, &Waker) -> Turn,
    ) -> Poll<Turn> {
        loop {
            match ask(self, context.waker()) {
                Turn::Wait(late) => ready!(self.poll_delay(context, way, late)),
                turn => return Poll::Ready(turn),
            }
        }
    }

    /// The timer is polled without the lock: a waker that it drops may run anything.
    fn poll_delay(&self, context: &mut Context<'_>, way: &Way, late: Duration) -> Poll<()> {
        let kept = (way.delay)(&mut self.lock().delays).take();
        let mut delay = kept.unwrap_or_else(|| Box::pin(tokio::time::sleep(late)));
        let polled = delay.as_mut().poll(context);
        let mut state = self.lock();
        match polled {
            Poll::Ready(()) => (way.is_over)(&mut state.script),
            Poll::Pending => *(way.delay)(&mut state.delays) = Some(delay),
        }
        polled
    }
}

#[cfg(feature = "tokio")]
impl Stage {
    /// As `shutdown`; never `Wait`.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<Turn> {
        self.poll_turn(context, &WRITING, |stage, _| stage.shutdown())
    }
}

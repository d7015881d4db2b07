//! Asking a stage in a task: what both async faces do where the script has someone wait.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use super::stage::Stage;
use super::{Script, Turn};

/// The delays that are running: one for reads, one for writes and shutdowns.
#[derive(Default)]
pub(super) struct Delays {
    read: Option<Pin<Box<Sleep>>>,
    write: Option<Pin<Box<Sleep>>>,
}

/// A direction: where its delay is kept, and how the script is told that it is over.
struct Way {
    delay: fn(&mut Delays) -> &mut Option<Pin<Box<Sleep>>>,
    is_over: fn(&mut Script),
}

const READING: Way = Way { delay: |delays| &mut delays.read, is_over: Script::read_delay_is_over };
const WRITING: Way = Way { delay: |delays| &mut delays.write, is_over: Script::write_delay_is_over };

impl Stage {
    /// As `read`; never `Wait` or `NotYet`.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Turn> {
        self.poll_turn(context, &READING, |stage| stage.read(buffer))
    }

    /// As `write`; never `Wait`.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, offered: &[u8]) -> Poll<Turn> {
        self.poll_turn(context, &WRITING, |stage| stage.write(offered))
    }

    fn poll_turn(&self, context: &mut Context<'_>, way: &Way, mut ask: impl FnMut(&Stage) -> Turn) -> Poll<Turn> {
        loop {
            match ask(self) {
                Turn::Wait(late) => ready!(self.poll_delay(context, way, late)),
                Turn::NotYet => {
                    self.wake_later(context.waker());
                    return Poll::Pending;
                }
                turn => return Poll::Ready(turn),
            }
        }
    }

    /// The timer is polled while nobody holds the stage: a waker that it drops may run anything.
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

#[cfg(feature = "epoll")]
impl Stage {
    /// As `shutdown`; never `Wait`.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<Turn> {
        self.poll_turn(context, &WRITING, Stage::shutdown)
    }
}

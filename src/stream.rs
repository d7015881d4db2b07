//! Pairs as a stream: each is made when the stream is polled for it.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::attempt::Attempt;
use crate::error::Result;
use crate::factory::PairFactory;
use crate::lease::Acquire;
use crate::streams::PairSocket;
use crate::wait::Deadline;

/// A stream of pairs of a factory, each made when polled for; see [`PairFactory::stream`].
#[must_use = "a stream makes nothing unless it is polled"]
pub struct PairStream<'a, S> {
    factory: &'a PairFactory,
    left: usize,
    state: State<'a>,
    streams: PhantomData<fn() -> S>,
}

/// The state of the next pair.
enum State<'a> {
    Idle,
    Acquiring(Acquire<'a>, Deadline),
    Making(Attempt<'a>),
}

impl<'a, S: PairSocket> PairStream<'a, S> {
    pub(crate) fn new(factory: &'a PairFactory, count: usize) -> Self {
        PairStream { factory, left: count, state: State::Idle, streams: PhantomData }
    }

    fn poll_pair(&mut self, context: &mut Context<'_>) -> Poll<Result<(S, S)>> {
        let factory = self.factory;
        loop {
            // Idle during the poll, so that the stream stays usable after an error or a panic.
            self.state = match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle => {
                    State::Acquiring(Acquire::new(factory.pool(), factory.choice), factory.deadline_for::<S>()?)
                }
                State::Acquiring(mut acquire, mut deadline) => {
                    match acquire.poll(&factory.plan, &mut deadline, context)? {
                        Poll::Ready(lease) => {
                            let mut attempt = Attempt::new(&factory.plan, lease, deadline);
                            attempt.begin(1)?;
                            State::Making(attempt)
                        }
                        Poll::Pending => {
                            self.state = State::Acquiring(acquire, deadline);
                            return Poll::Pending;
                        }
                    }
                }
                State::Making(mut attempt) => match attempt.poll(context)? {
                    Poll::Ready(()) => return Poll::Ready(factory.hand_out_one(attempt, S::from_fd)),
                    Poll::Pending => {
                        self.state = State::Making(attempt);
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}

impl<S: PairSocket> Stream for PairStream<'_, S> {
    type Item = Result<(S, S)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let pair = ready!(self.poll_pair(context));
        self.left = if pair.is_ok() { self.left - 1 } else { 0 };
        Poll::Ready(Some(pair))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.min(1), Some(self.left))
    }
}

impl<S> fmt::Debug for PairStream<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairStream").field("factory", &self.factory).field("left", &self.left).finish_non_exhaustive()
    }
}

//! An attempt: the pairs that one call is making right now, 1 to 32 of them, in one submission.
//!
//! ```text
//! begin ──submit──▶ turn ──Done──▶ pairs
//!                   │  ▲
//!              Wait │  │ Again: a fresh listener for the halves that have not met
//!                   ▼  │
//!            wait, then turn ──the time is up, an error, a drop──▶ cancel, reap, start over
//! ```
//!
//! Only `turn` makes pairs of what has been reaped. It reaps everything first and handles connects before accepts, because a
//! CONNECT's completion comes after the ACCEPT's.

mod completions;

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::engine::Completion;
use crate::error::{Error, Result, Step};
use crate::lease::Lease;
use crate::maker::Maker;
use crate::options::{Backend, Plan};
use crate::pool::{Count, Pool};
use crate::sockets::{leave_the_gate, pass_the_gate};
use crate::wait::{Deadline, Waiting, block_on};

/// After this many strangers in one attempt, the attempt begins again with a gated listener.
pub(crate) const MANY_STRANGERS: usize = 8;

/// How often an attempt whose connect finds no free port begins again: at a second listener every 4-tuple is free.
const FRESH_PORTS: u32 = 3;

/// The time between two checks for what no completion reports.
const CHECK_EVERY: Duration = Duration::from_millis(1);

/// How often one turn submits before the caller checks the time.
const SUBMISSIONS: usize = 64;

/// How often an attempt begins again in one poll, before other tasks run.
const ROUNDS: usize = 4;

/// Both ends of a pair, the accepted one first.
pub(crate) type Ends = (OwnedFd, OwnedFd);

/// Pairs that were made when the submission returned, and pairs that were waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub(crate) inline: u64,
    pub(crate) parked: u64,
}

impl Made {
    pub(crate) fn count(self, pool: &Pool<Maker>) {
        pool.add(Count::Inline, self.inline);
        pool.add(Count::Parked, self.parked);
    }
}

pub(crate) struct Attempt<'a> {
    plan: &'a Plan,
    lease: Lease<'a>,
    deadline: Deadline,
    waiting: Waiting,
    /// Pairs that were made when the call first had to wait.
    inline: Option<u32>,
    /// Strangers since the listener was opened.
    strangers: u32,
    overflowed: bool,
    fresh_ports: u32,
    /// Time of the last check for what no completion reports.
    checked: Option<Instant>,
    /// Connects that the kernel has cancelled must be submitted again.
    must_retry: bool,
    /// Operations of this attempt may be in flight.
    is_active: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    /// All halves have met.
    Done,
    /// Wait until something completes.
    Wait,
    /// Begin the halves that have not met again at a fresh listener.
    Again { gated: bool },
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(plan: &'a Plan, lease: Lease<'a>, deadline: Deadline) -> Attempt<'a> {
        Attempt {
            plan,
            lease,
            deadline,
            waiting: Waiting::default(),
            inline: None,
            strangers: 0,
            overflowed: false,
            fresh_ports: 0,
            checked: None,
            must_retry: false,
            is_active: false,
        }
    }

    /// Pairs that one submission may make.
    pub(crate) fn room(&self) -> usize {
        self.lease.room()
    }

    /// Opens the sockets for `count` pairs and submits all connects and accepts.
    pub(crate) fn begin(&mut self, count: usize) -> Result<()> {
        (self.inline, self.fresh_ports, self.checked) = (None, 0, None);
        (self.strangers, self.overflowed) = (0, false);
        self.lease.listen_for(self.plan, count)?;
        self.submit(count)
    }

    /// Makes the pairs that [`begin`](Self::begin) has begun. Sleeps in the kernel while it waits.
    pub(crate) fn finish_blocking(&mut self) -> Result<()> {
        loop {
            match self.turn()? {
                Turn::Done => return Ok(()),
                Turn::Again { gated } => self.begin_again(gated)?,
                Turn::Wait => {
                    let until = self.time_left()?;
                    block_on(self.lease.engine.descriptor(), until).map_err(Step::Ring.failed())?;
                }
            }
        }
    }

    /// Makes the pairs that [`begin`](Self::begin) has begun, as a task.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        for _ in 0..ROUNDS {
            match self.turn()? {
                Turn::Done => {
                    self.waiting.end(Some(self.lease.engine.descriptor()));
                    return Poll::Ready(Ok(()));
                }
                Turn::Again { gated } => self.begin_again(gated)?,
                Turn::Wait => {
                    let until = self.time_left()?;
                    self.waiting.arrange(context, Some(self.lease.engine.descriptor()), until);
                    return Poll::Pending;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands over the pairs of a completed attempt.
    pub(crate) fn take_pairs(&mut self, mut deliver: impl FnMut(Ends)) -> Result<Made> {
        let gated = self.lease.listener()?.is_gated();
        let mut made = 0;
        for (accepted, connected) in self.lease.halves.take_pairs() {
            if gated {
                leave_the_gate(&accepted, &connected, self.plan.shape.address)?;
            }
            deliver((accepted, connected));
            made += 1;
        }
        self.is_active = false;
        self.deadline.reset();
        let inline = self.inline.map_or(made, u64::from);
        Ok(Made { inline, parked: made - inline })
    }

    /// Returns the pair of a completed attempt for one.
    pub(crate) fn take_pair(&mut self) -> Result<(Ends, Made)> {
        let mut pair = None;
        let made = self.take_pairs(|ends| pair = Some(ends))?;
        let none = || Step::Accept.refused(io::ErrorKind::Other, "the attempt was not done");
        Ok((pair.ok_or_else(none)?, made))
    }

    /// Returns the pool that the maker came from; `None` for a one-shot.
    pub(crate) fn pool(&self) -> Option<&'a Pool<Maker>> {
        self.lease.pool()
    }

    pub(crate) fn backend(&self) -> Backend {
        self.lease.engine.backend()
    }

    /// Stops listening, before a one-shot is handed out.
    pub(crate) fn stop_listening(&mut self) {
        self.lease.stop_listening();
    }

    /// Lets the thread keep the maker of a one-shot.
    pub(crate) fn keep_maker(&mut self) {
        self.lease.keep();
    }

    /// Submits `count` halves at once.
    fn submit(&mut self, count: usize) -> Result<()> {
        self.is_active = true;
        if count == 1 {
            let socket = self.lease.open_socket(self.plan)?;
            self.queue_half(socket, true)?;
        } else {
            self.lease.open_sockets(self.plan, count)?;
            while let Some(socket) = self.lease.sockets.pop() {
                self.queue_half(socket, false)?;
            }
        }
        self.lease.submit()
    }

    /// Queues a connect and an accept, and the opening of the next pair's socket if there is only this half.
    fn queue_half(&mut self, socket: Socket, opens_spare: bool) -> Result<()> {
        let (plan, maker) = (self.plan, &mut *self.lease);
        if maker.listener()?.is_gated() {
            pass_the_gate(&socket, plan.shape.address)?;
        }
        let half = maker.halves.add();
        maker.engine.connect(half, socket.into());
        if opens_spare {
            maker.queue_spare(plan); // before the accept, which must be the one that finds no descriptor
        }
        let (engine, listener) = maker.parts()?;
        engine.accept(listener);
        Ok(())
    }

    /// Reaps completions and advances every half. The only place where an attempt changes state.
    fn turn(&mut self) -> Result<Turn> {
        if self.inline.is_some() {
            self.lease.engine.nudge();
        }
        for _ in 0..SUBMISSIONS {
            let again = self.reap()?;
            self.take_arrivals()?;
            let maker = &mut *self.lease;
            if maker.halves.met() == maker.halves.len() {
                return Ok(Turn::Done);
            }
            if let Some(gated) = again {
                return Ok(Turn::Again { gated });
            }
            if self.strangers as usize >= MANY_STRANGERS {
                return Ok(Turn::Again { gated: true });
            }
            let missing = maker.halves.without_accepted().saturating_sub(maker.engine.accepts());
            let retries = std::mem::take(&mut self.must_retry) && maker.queue_retries();
            if missing == 0 && !retries {
                break;
            }
            let (engine, listener) = maker.parts()?;
            (0..missing).for_each(|_| engine.accept(listener));
            maker.submit()?;
        }
        self.inline.get_or_insert(self.lease.halves.met() as u32);
        self.check_unreported()
    }

    /// Checks for what no completion reports: a dropped SYN, an error that the kernel has only stored.
    fn check_unreported(&mut self) -> Result<Turn> {
        if self.checked.is_some_and(|checked| checked.elapsed() < CHECK_EVERY) {
            return Ok(Turn::Wait);
        }
        self.checked = Some(Instant::now());
        self.must_retry = true;
        if let Some(error) = self.lease.unreported_error() {
            return Err(Step::Connect.failed()(error));
        }
        Ok(if self.has_overflowed()? { Turn::Again { gated: true } } else { Turn::Wait })
    }

    /// Whether strangers have filled a queue of this attempt's listener.
    fn has_overflowed(&mut self) -> Result<bool> {
        self.overflowed |= self.lease.listener_mut()?.has_overflowed();
        Ok(self.overflowed)
    }

    /// Reaps all completions. `Some` if halves must begin again: `true` at a gated listener.
    fn reap(&mut self) -> Result<Option<bool>> {
        let mut again = None;
        loop {
            let (engine, listener) = self.lease.parts()?;
            match engine.reap(listener) {
                None => return Ok(again),
                Some(Completion::Connected { half, socket, result }) => {
                    again = self.connected(half, socket, result)?.or(again);
                }
                Some(Completion::Accepted(Ok(accepted))) => self.lease.arrivals.push(accepted),
                Some(Completion::Accepted(Err(error))) => self.accept_failed(error)?,
                Some(Completion::Opened(opened)) => self.lease.keep_spare(opened, self.plan)?,
            }
        }
    }

    /// Gives each accepted connection to its half, or closes it.
    fn take_arrivals(&mut self) -> Result<()> {
        if !self.lease.arrivals.is_empty() {
            let strangers = self.lease.match_arrivals()?;
            self.count_strangers(strangers);
        }
        Ok(())
    }

    fn count_strangers(&mut self, count: usize) {
        self.strangers += count as u32;
        self.lease.tally.strangers += count as u64;
    }

    /// Submits the halves that have not met again, at a fresh listener.
    fn begin_again(&mut self, gated: bool) -> Result<()> {
        self.time_left()?;
        let maker = &mut *self.lease;
        let count = maker.halves.len();
        maker.cancel();
        maker.halves.keep_met();
        maker.end_operations();
        maker.listen_afresh(self.plan, gated)?;
        let unmet = count - maker.halves.len();
        maker.listener_mut()?.serve(unmet);
        (self.strangers, self.overflowed) = (0, false);
        self.submit(unmet)
    }

    fn time_left(&mut self) -> Result<Instant> {
        self.deadline.start().ok_or_else(|| self.lateness())
    }

    fn lateness(&self) -> Error {
        let has_connected = self.lease.halves.first_unmet_has_connected();
        let mut why = format!("after {:?} ", self.deadline.timeout());
        why += match has_connected {
            true => "the connect has completed, but its connection has not been accepted",
            false => "the connect has not completed",
        };
        let strangers = self.lease.strangers();
        if strangers > 0 {
            why += &format!("; {strangers} strangers have been turned away from the listener so far");
        }
        Step::Timeout.refused(io::ErrorKind::TimedOut, why)
    }
}

/// Never waits: an operation that has not completed when this returns is stale.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.lease.is_ours() {
            return; // a forked child has no part in its parent's attempt
        }
        self.waiting.end(Some(self.lease.engine.descriptor()));
        if self.is_active {
            self.lease.start_over(self.plan);
        }
    }
}

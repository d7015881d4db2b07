//! Pairs in the making: from sockets to two connected ends that have found each other.
//!
//! One is made, or a chunk of them in one submission. They are looked at after each launch; only where they are not through
//! by then does the caller wait, in its runtime or inside the kernel. Dropping one that is not through calls everything off.

use std::fmt::Write;
use std::io::ErrorKind;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::error::{Error, Result, Step};
use crate::hub::{Hub, Seats, State, Wait};
use crate::options::End;
use crate::rendezvous::{Ends, Key, Progress};
use crate::source::Source;
use crate::streams::PairSocket;

pub(crate) struct Making<'a> {
    source: &'a Source,
    hub: Arc<Hub>,
    seats: Seats,
    /// A pair that was through at once, and was never seated.
    at_once: Option<Ends>,
    /// When the time is up; set when it turns out that there is something to wait for.
    deadline: Option<Instant>,
    /// How many had met when the caller first had to wait.
    met_inline: Option<usize>,
    delivered: bool,
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    watch: Option<crate::engine::shared::Watch<State>>,
}

/// What there is to see.
enum Look {
    /// All have met and been delivered.
    Met(Tally),
    /// Nothing to be done now.
    Waiting,
    /// The listener is so busy with strangers that others should have their turn.
    Busy,
    /// Some must be started again: strangers had filled the backlog, so that the kernel dropped our handshake, or the
    /// thread that launched them has ended.
    Again,
}

/// How many pairs were through without waiting, and how many were not.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) inline: usize,
    pub(crate) parked: usize,
}

impl Tally {
    const AT_ONCE: Tally = Tally { inline: 1, parked: 0 };
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.inline += more.inline;
        self.parked += more.parked;
    }
}

impl<'a> Making<'a> {
    /// Opens the sockets, seats them and launches all. At most [`Seats::MOST`] pairs.
    pub(crate) fn begin(source: &'a Source, count: usize) -> Result<Making<'a>> {
        let mut seats = Seats::new();
        let (hub, at_once) = match count {
            1 => launch_one(source, &mut seats)?,
            _ => (launch(source, count, &mut seats)?, None),
        };
        Ok(Making {
            source,
            hub,
            seats,
            delivered: at_once.is_some(),
            at_once,
            deadline: None,
            met_inline: None,
            #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
            watch: None,
        })
    }

    /// Waits inside the kernel where that is needed.
    pub(crate) fn wait(&mut self, mut deliver: impl FnMut(Ends)) -> Result<Tally> {
        if let Some(ends) = self.at_once.take() {
            deliver(ends);
            return Ok(Tally::AT_ONCE);
        }
        loop {
            let hub = Arc::clone(&self.hub); // another one where this one's engine has been given up
            let (look, wait) = hub.with(|state| {
                let look = self.look(state, &mut deliver)?;
                let wait = if matches!(look, Look::Waiting) { state.wait() } else { None };
                Ok((look, wait))
            })?;
            match (look, wait) {
                (Look::Met(tally), _) => return Ok(tally),
                (_, Some(Wait::Lead)) => hub.lead(self.time_left())?,
                (_, Some(Wait::Follow(returns))) => hub.follow(returns, self.time_left()),
                (Look::Again, _) => self.start_again()?,
                (Look::Busy | Look::Waiting, None) => {}
            }
        }
    }

    /// Takes down what has landed and looks what has become of our own; where all have met, delivers them.
    fn look(&mut self, state: &mut State, deliver: &mut impl FnMut(Ends)) -> Result<Look> {
        let settled = state.turn();
        let (mut met, mut lost, mut overrun, mut failed) = (0, false, false, None);
        for seat in self.seats.iter() {
            match state.meeting.progress(seat) {
                Progress::Met => met += 1,
                Progress::Lost => lost = true,
                Progress::Waiting => overrun = overrun || state.is_overrun(state.meeting.gate_of(seat)),
                Progress::Failed => failed = failed.or(Some(seat)),
            }
        }
        if let Some(seat) = failed {
            return Err(self.take_error(state, seat));
        }
        if met == self.seats.len() {
            return Ok(Look::Met(self.deliver(state, deliver)));
        }
        self.met_inline.get_or_insert(met);
        if self.is_late() {
            return Err(self.lateness(state));
        }
        Ok(match (lost || overrun, settled) {
            (true, _) => Look::Again,
            (false, false) => Look::Busy,
            (false, true) => Look::Waiting,
        })
    }

    /// Gives up those that have not met and starts as many anew.
    fn start_again(&mut self) -> Result<()> {
        let count = self.seats.len();
        self.keep(|state, seat| matches!(state.meeting.progress(seat), Progress::Met));
        while self.seats.len() < count {
            let mut anew = Seats::new();
            let hub = launch(self.source, count - self.seats.len(), &mut anew)?;
            if !Arc::ptr_eq(&hub, &self.hub) {
                // The engine has been given up meanwhile, and with it those who had met there.
                self.keep(|_, _| false);
                self.give_watch_up();
                self.hub = hub;
            }
            anew.iter().for_each(|seat| self.seats.push(seat));
        }
        Ok(())
    }

    /// Gives up all seats but those that `stays` says.
    fn keep(&mut self, stays: impl Fn(&State, Key) -> bool) {
        let seats = &mut self.seats;
        self.hub.with(|state| {
            seats.retain(|seat| {
                let stays = stays(state, seat);
                if !stays {
                    state.leave(seat);
                }
                stays
            });
            state.settle();
        });
    }

    fn give_watch_up(&mut self) {
        #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
        {
            self.watch = None;
        }
    }

    fn deliver(&mut self, state: &mut State, deliver: &mut impl FnMut(Ends)) -> Tally {
        let count = self.seats.len();
        for seat in self.seats.iter() {
            if let (Some(accepted), Some(connected), _) = state.leave(seat) {
                deliver((accepted, connected));
            }
        }
        self.seats.clear();
        self.delivered = true;
        let inline = self.met_inline.unwrap_or(count);
        Tally { inline, parked: count - inline }
    }

    fn take_error(&mut self, state: &mut State, failed: usize) -> Error {
        self.seats.retain(|seat| seat != failed);
        let (.., error) = state.leave(failed);
        error.unwrap_or_else(|| Step::Ring.refused(ErrorKind::Other, "no cause was told"))
    }

    fn is_late(&mut self) -> bool {
        let now = Instant::now();
        let timeout = self.source.plan.timeout;
        now >= *self.deadline.get_or_insert_with(|| now.checked_add(timeout).unwrap_or(now + FOREVER))
    }

    fn time_left(&self) -> Duration {
        self.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn lateness(&self, state: &State) -> Error {
        let waiting = |seat: &usize| matches!(state.meeting.progress(*seat), Progress::Waiting | Progress::Lost);
        let mut why = format!("after {:?}", self.source.plan.timeout);
        if let Some(seat) = self.seats.iter().find(waiting) {
            let _ = match state.meeting.halves(seat) {
                (false, _) => write!(why, " the connect is not through"),
                (true, _) => write!(why, " the connect is through, and its connection has not been accepted"),
            }; // writing to a String cannot fail
        }
        let strangers = state.meeting.strangers();
        if strangers > 0 {
            let _ = write!(why, "; {strangers} strangers have been turned away from the listener so far");
        }
        Step::Timeout.refused(ErrorKind::TimedOut, why)
    }
}

/// Calls off what is not through; a connection that may still turn up at the listener is not waited for.
impl Drop for Making<'_> {
    fn drop(&mut self) {
        if self.delivered {
            return;
        }
        self.hub.with(|state| {
            self.seats.iter().for_each(|seat| drop(state.leave(seat)));
            state.settle(); // also where nobody is left: the last one's accept may be
        });
        self.source.mend();
    }
}

/// A hundred years: what is waited where `Instant` cannot tell when the time is up.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One pair may be through at once, and is handed back then.
fn launch_one(source: &Source, seats: &mut Seats) -> Result<(Arc<Hub>, Option<Ends>)> {
    let (hub, started) = source.start(1, |state, gate| state.start_one(&source.plan, gate, seats))?;
    settled(source, started, &hub).map(|at_once| (hub, at_once))
}

fn launch(source: &Source, count: usize, seats: &mut Seats) -> Result<Arc<Hub>> {
    let (hub, started) = source.start(count, |state, gate| {
        let sockets = state.open_connecting(&source.plan, count)?;
        state.start(gate, sockets.into_iter().flatten(), seats);
        Ok(())
    })?;
    settled(source, started, &hub).map(|()| hub)
}

/// Clears up where nothing was started: no pair will meet that closes a gate left behind, nor be dropped.
fn settled<T>(source: &Source, started: Result<T>, hub: &Hub) -> Result<T> {
    if started.is_err() {
        hub.with(State::settle);
        source.mend();
    }
    started
}

/// What a making that is through has delivered.
pub(crate) fn delivered(ends: Option<Ends>) -> Result<Ends> {
    ends.ok_or_else(|| Step::Accept.refused(ErrorKind::Other, "no end was delivered"))
}

/// Sets what remains to be set, and turns both ends into what the caller asked for.
pub(crate) fn finish<S: PairSocket>(source: &Source, (accepted, connected): Ends) -> Result<(S, S)> {
    if source.nonblocking {
        // The accepted end does not inherit it; the connected one is handed out as all are, in blocking mode.
        SockRef::from(&connected).set_nonblocking(false).map_err(Step::SetOption.failed())?;
    }
    let plan = &source.plan;
    for (end, socket) in [(End::Accepted, &accepted), (End::Connected, &connected)] {
        let socket = SockRef::from(socket);
        if let Some(softer) = plan.linger {
            socket.set_linger(softer.0).map_err(Step::SetOption.failed())?;
        }
        if let Some(configure) = &plan.configure {
            configure(end, &socket).map_err(Step::SetOption.failed())?;
        }
    }
    let accepted = S::from_fd(accepted).map_err(Step::Convert.failed())?;
    let connected = S::from_fd(connected).map_err(Step::Convert.failed())?;
    Ok((accepted, connected))
}

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
mod polling {
    use std::task::{Context, Poll, ready};

    use tokio::runtime::Handle;

    use super::*;
    use crate::engine::shared::Watch;

    impl Making<'_> {
        /// Waits in the current tokio runtime where that is needed.
        pub(crate) fn poll(
            &mut self,
            context: &mut Context<'_>,
            deliver: &mut impl FnMut(Ends),
        ) -> Poll<Result<Tally>> {
            if let Some(ends) = self.at_once.take() {
                deliver(ends);
                return Poll::Ready(Ok(Tally::AT_ONCE));
            }
            loop {
                let hub = Arc::clone(&self.hub);
                let mut replaced = None; // goes without the lock: with its waker a task may go, and that one's futures
                let look = hub.with(|state| {
                    let look = self.look(state, deliver)?;
                    if let Look::Waiting = look {
                        self.park(state, context, &mut replaced)?;
                    }
                    Ok(look)
                });
                match look {
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Look::Met(tally)) => return Poll::Ready(Ok(tally)),
                    Ok(Look::Again) => self.start_again()?,
                    Ok(Look::Busy) => {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Ok(Look::Waiting) => match &mut self.watch {
                        None => return Poll::Pending, // a leader has the descriptor, and wakes us
                        Some(watch) => ready!(watch.poll(context)).map_err(Step::Ring.failed())?,
                    },
                }
            }
        }

        /// Sees to it that we are woken: by whoever takes down what is ours, by the descriptor, or by the alarm.
        fn park(
            &mut self,
            state: &mut State,
            context: &Context<'_>,
            replaced: &mut Option<Watch<State>>,
        ) -> Result<()> {
            for seat in self.seats.iter() {
                state.park(seat, context.waker());
            }
            state.alarm_by(self.deadline.unwrap_or_else(Instant::now))?;
            let runtime = runtime()?;
            *replaced = self.watch.take_if(|watch| state.is_led() || !watch.is_of(&runtime));
            if self.watch.is_none() && !state.is_led() {
                self.watch = match self.hub.watch(state, &runtime) {
                    // Another thread of this runtime is just letting go of the descriptor: a moment later it can be had.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        context.waker().wake_by_ref();
                        None
                    }
                    watch => Some(watch.map_err(Step::Ring.failed())?),
                };
            }
            Ok(())
        }
    }

    /// The runtime to wait in.
    pub(crate) fn runtime() -> Result<Handle> {
        let why = "async calls wait in a tokio or tokio-uring runtime, and there is none here; blocking ones need none";
        Handle::try_current().map_err(|_| Step::Options.refused(ErrorKind::Unsupported, why))
    }

    /// Refuses a place where an async call could not wait. Asked also where it will not have to: a call that fails only now
    /// and then is worse than one that fails.
    pub(crate) fn refuse_if_it_cannot_wait(hub: impl FnOnce() -> Arc<Hub>) -> Result<()> {
        let why = "async calls wait in a runtime with IO enabled, and in this one it is not; see tokio's `enable_io`";
        match Hub::can_wait(hub, &runtime()?) {
            true => Ok(()),
            false => Err(Step::Options.refused(ErrorKind::Unsupported, why)),
        }
    }
}

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
pub(crate) use polling::{refuse_if_it_cannot_wait, runtime};

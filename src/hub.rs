//! One engine and one meeting place, shared by all who make pairs with them: tasks of one thread or of several, and
//! blocking calls beside them.
//!
//! Who finds something landed takes it down for everyone and wakes whose it is. Nothing happens without the lock but one
//! thing: a blocking call that must wait does so inside the kernel, as the *leader*. While there is one, nobody else takes
//! anything down, or the leader might wait for what is gone already; it wakes all the others when it is back.

mod gates;
mod seats;
mod sockets;
mod start;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{SockAddr, Socket};

use crate::engine::shared::{Keeper, Shared};
use crate::engine::{Engine, Landing, Peer};
use crate::error::{Result, Step};
use crate::home::Home;
use crate::listener::Listener;
use crate::options::{Backend, Choice};
use crate::rendezvous::{Balance, Key, Rendezvous};

pub(crate) use self::seats::Seats;

/// How many times in a row what landed may lead to new operations before others get their turn: someone who floods our
/// listener must not keep us here.
const ROUNDS: usize = 64;

/// How long what was called off is asked after. It is gone at the first try, unless another processor is just working on it:
/// then that takes some microseconds, or as long as that processor has been taken away from us.
const MOMENT: Duration = Duration::from_millis(10);

/// How long a leader waits inside the kernel at a stretch. The descriptor tells of what has landed, but not of an engine that
/// takes no more submissions, as another thread has found meanwhile: that the leader must see for itself.
const STRETCH: Duration = Duration::from_millis(200);

pub(crate) struct Hub {
    shared: Arc<Shared<State>>,
    home: Home,
    leader_is_back: Condvar,
}

pub(crate) struct State {
    engine: Engine,
    pub(crate) meeting: Rendezvous<Listener>,
    /// Operations are queued that have not been launched.
    queued: bool,
    /// A blocking call waits inside the kernel.
    led: bool,
    /// How often a leader has come back.
    returns: u64,
    /// When the engine's alarm goes off.
    alarm: Option<Instant>,
    woken: Vec<Waker>,
    /// Wakers that nobody needs any more.
    spent: Vec<Waker>,
    /// Whether strangers who wait at a listener that is given up are counted: in a factory they are.
    counting: bool,
    /// How many had come at the turn before the last one to a fresh listener, and at the last one; where that was not to leave
    /// strangers behind.
    strangers_before: u64,
    strangers_at_turn: u64,
    /// A gate that was left behind with the crowd before its door.
    left: Option<Key>,
    /// A pair has met since.
    left_is_due: bool,
    /// Open already, for the next pair to connect with.
    ready: Option<Socket>,
    spare: Option<Arc<SockAddr>>,
    /// Empty, but for room.
    came: Vec<Landing>,
    broken: bool,
    /// This is a child's copy, and the engine the parent's.
    deserted: bool,
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    watches: crate::engine::shared::Watches<State>,
}

/// Those who are to be woken, all of them: also who comes after one whose waker panics.
struct ToBeWoken(std::vec::IntoIter<Waker>);

impl ToBeWoken {
    fn wake_all(&mut self) {
        self.0.by_ref().for_each(Waker::wake);
    }
}

impl Drop for ToBeWoken {
    fn drop(&mut self) {
        self.wake_all();
    }
}

/// How a blocking call may wait.
pub(crate) enum Wait {
    /// It is the leader now, and must call [`Hub::lead`].
    Lead,
    /// There is a leader; [`Hub::follow`] waits for its return.
    Follow(u64),
}

impl Hub {
    pub(crate) fn open(choice: Choice, counting: bool) -> io::Result<Arc<Hub>> {
        Hub::with_strangers(choice, counting, 0)
    }

    /// Opens one to go on where this one stops.
    pub(crate) fn another(&self) -> io::Result<Arc<Hub>> {
        let told = |state: &mut State| (state.engine.choice(), state.counting, state.meeting.strangers());
        let (choice, counting, strangers) = self.with_nobody_woken(told);
        Hub::with_strangers(choice, counting, strangers)
    }

    /// The engine in use.
    pub(crate) fn backend(&self) -> Backend {
        self.with_nobody_woken(|state| state.engine.backend())
    }

    fn with_strangers(choice: Choice, counting: bool, strangers: u64) -> io::Result<Arc<Hub>> {
        let state = State {
            engine: Engine::open(choice)?,
            meeting: Rendezvous::new(Seats::MOST, strangers),
            queued: false,
            led: false,
            returns: 0,
            alarm: None,
            woken: Vec::new(),
            spent: Vec::new(),
            counting,
            strangers_before: strangers,
            strangers_at_turn: strangers,
            left: None,
            left_is_due: false,
            ready: None,
            spare: None,
            came: Vec::with_capacity(Seats::MOST),
            broken: false,
            deserted: false,
            #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
            watches: crate::engine::shared::Watches::new(),
        };
        let shared = Arc::new(Shared::new(state));
        Ok(Arc::new(Hub { shared, home: Home::here(), leader_is_back: Condvar::new() }))
    }

    /// Does something under the lock, then wakes whom that concerned.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        let (woken, spent) = (std::mem::take(&mut state.woken), std::mem::take(&mut state.spent));
        // Whoever is woken may run here and now, and a waker that is dropped may be the last that kept a task, whose futures
        // are dropped with it: none of that under the lock.
        drop(state);
        ToBeWoken(woken.into_iter()).wake_all();
        drop(spent);
        result
    }

    /// The same for callers who hold another lock: who is to be woken, is woken by the next call that holds none.
    pub(crate) fn with_nobody_woken<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.lock())
    }

    /// Every way to the engine leads through here.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        if !self.home.is_here() {
            state.desert();
        }
        state
    }

    /// Whether `runtime`, the current one, can wait for the engine.
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(crate) fn can_wait(hub: impl FnOnce() -> Arc<Hub>, runtime: &tokio::runtime::Handle) -> bool {
        crate::engine::shared::can_wait(runtime, || Arc::clone(&hub().shared))
    }

    /// Joins those who wait for the engine in `runtime`.
    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(crate) fn watch(
        &self,
        state: &mut State,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<crate::engine::shared::Watch<State>> {
        state.watches.join(runtime, &self.shared)
    }

    /// Waits inside the kernel until something has landed, `most` at most, or as long as is good for a while: the caller looks.
    pub(crate) fn lead(&self, most: Duration) -> Result<()> {
        let waited = self.shared.wait(most.min(STRETCH));
        self.with(|state| {
            state.led = false;
            state.returns += 1;
            state.meeting.wake_all(&mut state.woken);
            // Here, as those who are woken after it do what they like for as long as they like.
            self.leader_is_back.notify_all();
        });
        waited.map_err(Step::Ring.failed())
    }

    /// Waits until the leader is back, `most` at most.
    pub(crate) fn follow(&self, returns: u64, most: Duration) {
        self.follow_from(self.shared.lock(), returns, most);
    }

    fn follow_from(&self, now: MutexGuard<'_, State>, returns: u64, most: Duration) {
        let still = |state: &mut State| state.returns == returns;
        drop(self.leader_is_back.wait_timeout_while(now, most, still));
    }
}

/// In a child, before the engine is dropped.
impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.lock());
    }
}

impl Keeper for State {
    fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl State {
    /// Sees to it that `owner` is woken when something happens at this seat.
    pub(crate) fn park(&mut self, seat: Key, owner: &Waker) {
        let before = self.meeting.owned_by(seat, owner);
        self.spent.extend(before);
    }

    /// Sees to it that something lands at `deadline` at the latest.
    pub(crate) fn alarm_by(&mut self, deadline: Instant) -> Result<()> {
        if self.alarm.is_none_or(|alarm| alarm > deadline) {
            if let Err(error) = self.engine.alarm(deadline.saturating_duration_since(Instant::now())) {
                self.give_up(&error);
                return Err(Step::Ring.failed()(error));
            }
            self.alarm = Some(deadline);
        }
        Ok(())
    }

    /// Whether something is left to be done that could not be done under the caller's lock: somebody to be woken, or, where
    /// the caller stopped half-way, something to be launched.
    pub(crate) fn owes_a_turn(&self) -> bool {
        self.queued || self.owes_a_wake()
    }

    fn owes_a_wake(&self) -> bool {
        !self.woken.is_empty() || !self.spent.is_empty()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Fails as the set-up of one more small ring would for want of memory that may be locked.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn refuse_without_room_for_a_ring(&self) -> io::Result<()> {
        self.engine.refuse_without_room_for_a_ring()
    }

    /// Launches what is queued and takes down what has landed. False where that went on for so long that others should have
    /// their turn.
    pub(crate) fn turn(&mut self) -> bool {
        for _ in 0..ROUNDS {
            self.launch();
            if self.led {
                self.engine.rouse();
                return true; // the leader takes it down
            }
            self.take_down();
            // After all of them: an accept among them that found no descriptor is made again where this frees one.
            if std::mem::take(&mut self.left_is_due) {
                self.close_left_gate();
            }
            if !self.queued {
                return true;
            }
        }
        // Whoever is told so need not come back, and others may wait for what is queued.
        self.launch();
        self.engine.rouse();
        false
    }

    /// Takes down what has landed, and looks at who came after all connects that are through: then nobody need be looked at
    /// [twice](Self::look_again_who_came).
    fn take_down(&mut self) {
        let mut came = std::mem::take(&mut self.came);
        while let Some(landing) = self.engine.land() {
            match landing {
                Landing::Accepted { .. } => came.push(landing),
                other => self.route(other),
            }
        }
        came.drain(..).for_each(|landing| self.route(landing));
        self.came = came; // keeps its room for the next time
    }

    /// Takes down what was called off, so that it is gone when the caller's drop returns. What does not go in a moment, goes
    /// with the next pair, or with the engine.
    pub(crate) fn settle(&mut self) {
        self.close_left_gate();
        self.turn();
        let begin = Instant::now();
        while !self.led && !self.broken && self.engine.nudge() && begin.elapsed() < MOMENT {
            self.turn();
        }
    }

    /// Empties a seat; what is still under way for it is called off. Returns what it had.
    pub(crate) fn leave(&mut self, seat: Key) -> (Option<OwnedFd>, Option<OwnedFd>, Option<crate::Error>) {
        let left = self.meeting.leave(seat);
        if left.error.as_ref().is_some_and(|error| error.step() == Step::Accept) {
            self.look_once_more(left.gate); // now that its descriptors are free
        }
        if let Some(flight) = left.flight {
            self.engine.call_off(flight);
            self.queued = true;
        }
        self.rebalance(left.gate);
        self.leave_if_idle(left.gate);
        self.spent.extend(left.owner);
        let (accepted, connected) = left.ends;
        (accepted, connected, left.error)
    }

    /// Lets a blocking call wait. To be asked under the same lock under which it found that it must. `None` where others are to
    /// be woken first: what they do then may need a leader that does lead.
    pub(crate) fn wait(&mut self) -> Option<Wait> {
        if self.owes_a_wake() {
            return None;
        }
        if self.led {
            return Some(Wait::Follow(self.returns));
        }
        self.led = true;
        Some(Wait::Lead)
    }

    #[cfg(any(feature = "tokio-uring", feature = "epoll"))]
    pub(crate) fn is_led(&self) -> bool {
        self.led
    }

    fn launch(&mut self) {
        self.try_launch().unwrap_or_else(|error| self.give_up(&error));
    }

    fn try_launch(&mut self) -> io::Result<()> {
        self.queued = false;
        self.engine.launch()
    }

    /// The engine is of no use any more, nor is what is under way on it.
    fn give_up(&mut self, error: &io::Error) {
        self.broken = true;
        self.close_doors();
        self.meeting.fail_all(|| Step::Ring.failed()(copy_of(error)), &mut self.woken);
        self.engine.forsake_connects();
    }

    /// In a child of `fork(2)`: gives up what is the parent's, without another call on it than `close(2)`.
    fn desert(&mut self) {
        if !std::mem::replace(&mut self.deserted, true) {
            self.engine.desert();
            self.ready = None;
            self.give_up(&Errno::ESTALE.into());
        }
    }

    fn route(&mut self, landing: Landing) {
        match landing {
            Landing::Connected { seat, socket, result } => {
                match result {
                    Ok(()) => {
                        self.meeting.connected(seat, socket, &mut self.woken);
                        self.look_again_who_came(seat);
                    }
                    // We did not call it off: the kernel did, because the thread that launched it has ended.
                    Err(error) if is_interruption(&error) => self.meeting.lost(seat, &mut self.woken),
                    Err(error) => {
                        self.meeting.connect_failed(seat, error, &mut self.woken);
                        self.rebalance(self.meeting.gate_of(seat)); // it waits for no accept any more
                    }
                }
            }
            Landing::Accepted { gate, result, called_off } => {
                self.meeting.accept_landed(gate, called_off);
                match result {
                    Ok(accepted) => self.welcome(gate, accepted),
                    // Somebody came and had left again before the kernel could say who.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                        self.meeting.turn_away(gate, None)
                    }
                    Err(error) if called_off || is_interruption(&error) || is_of_the_network(&error) => {}
                    Err(_) if self.close_left_gate() => {} // there is a descriptor more now
                    Err(error) => {
                        if self.meeting.accept_failed(gate, error, &mut self.woken) {
                            self.look_once_more(gate);
                        }
                    }
                }
                self.rebalance(gate);
                self.leave_if_idle(gate);
            }
            Landing::Alarm => {
                self.alarm = None;
                self.meeting.wake_all(&mut self.woken);
            }
            // A socket that lands so late that nobody takes it is closed here.
            Landing::Opened(_) | Landing::Silent => {}
            Landing::Broken(error) => self.give_up(&error),
        }
    }

    /// Who came before the connect was through may be someone else, who has left without a word, and whose port our connect was
    /// given while the connection was still in the backlog. The kernel cannot have two of the same addresses: now that ours
    /// is through, that one is dead.
    fn look_again_who_came(&mut self, seat: Key) {
        let is_there = |accepted: &OwnedFd| Peer::of(accepted).is_there;
        if self.meeting.accepted(seat).is_some_and(|accepted| !is_there(accepted)) {
            self.meeting.was_another(seat);
            self.rebalance(self.meeting.gate_of(seat));
        }
    }

    /// Gives an accepted socket to the pair that it belongs to, or closes it.
    fn welcome(&mut self, gate: Key, accepted: OwnedFd) {
        let peer = Peer::of(&accepted);
        match self.meeting.whose_is(gate, peer.address) {
            Some(seat) if peer.is_there => {
                self.meeting.arrived(seat, accepted, &mut self.woken);
                self.left_is_due = true;
            }
            Some(seat) => self.meeting.came_and_left(seat),
            None => self.meeting.turn_away(gate, peer.address),
        }
    }

    /// Keeps as many accepts pending at a gate as there are seats that lack one, and none when nobody does.
    fn rebalance(&mut self, gate: Key) {
        loop {
            match self.meeting.balance(gate) {
                Balance::Even => return,
                Balance::Short => self.queue_accept(gate),
                Balance::Over => {
                    if !self.engine.call_off_accept(gate) {
                        return;
                    }
                    self.queued = true;
                    self.meeting.accept_called_off(gate);
                }
            }
        }
    }

    /// After an accept that failed. It may have been woken by a connection that is still in the backlog, and whose owner's accept
    /// sleeps on. One more than is owed: where it fails as well, nobody bears it.
    fn look_once_more(&mut self, gate: Key) {
        if self.meeting.wanting(gate) > 0 {
            self.queue_accept(gate);
        }
    }

    fn queue_accept(&mut self, gate: Key) {
        self.engine.accept(gate, self.meeting.listener(gate).socket().as_fd());
        self.meeting.accept_queued(gate);
        self.queued = true;
    }
}

/// Whether an operation was held up before it came to anything.
fn is_interruption(error: &io::Error) -> bool {
    matches!(errno_of(error), Errno::ECANCELED | Errno::EINTR)
}

/// Whether an accept failed by what had happened to the connection that it would have brought; `accept(2)` wants it made
/// again.
fn is_of_the_network(error: &io::Error) -> bool {
    use Errno::*;
    let of_the_network = [ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH];
    of_the_network.contains(&errno_of(error))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests;

//! A maker: one engine, one listener and a spare socket, used by one call at a time.
//!
//! **Invariant:** an idle maker has none of our connections in its listener's backlog, and no operation in flight that could
//! use the listener. An attempt that ends early [starts over](Maker::start_over) before it gives the maker back.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};
use socket2::{SockRef, Socket};

use crate::attempt::MANY_STRANGERS;
use crate::engine::{Completion, Engine, MAX_PAIRS};
use crate::error::{Error, Result, Step};
use crate::hazards::fork::Token;
use crate::listener::Listener;
use crate::matching::Matching;
use crate::options::{Choice, Plan};
use crate::sockets::{domain_of, open_unprepared, peer_of, prepared};

/// What a maker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Keeps its listener for many pairs, a socket for the next one, and counts strangers.
    Factory,
    /// Listens for one pair at a time.
    OneShot,
}

pub(crate) struct Maker {
    pub(crate) engine: Engine,
    /// `None` only if a fresh listener could not be opened.
    listener: Option<Listener>,
    /// Already open; connects the next pair.
    spare: Option<Socket>,
    purpose: Purpose,
    token: Token,
    /// The engine has refused a submission.
    is_broken: bool,
    pub(crate) tally: Tally,
    /// The halves of the attempt that uses this maker. Kept between attempts for its capacity.
    pub(crate) halves: Matching<OwnedFd, OwnedFd>,
    /// Connections that were accepted and not yet matched.
    pub(crate) arrivals: Vec<OwnedFd>,
    /// Sockets that the attempt connects next.
    pub(crate) sockets: Vec<Socket>,
    /// Connects to submit again, with the number of their half.
    retries: Vec<(usize, OwnedFd)>,
}

/// Counts of one use of a maker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) strangers: u64,
    pub(crate) listeners: u64,
}

impl Maker {
    /// Opens an engine, a listener and, for a factory, the spare socket.
    pub(crate) fn open(plan: &Plan, choice: Choice, purpose: Purpose) -> Result<Box<Maker>> {
        let mut maker = Box::new(Maker {
            engine: Engine::open(choice).map_err(Step::Ring.failed())?,
            listener: None,
            spare: None,
            purpose,
            token: Token::current(),
            is_broken: false,
            tally: Tally::default(),
            halves: Matching::with_room(MAX_PAIRS),
            arrivals: Vec::with_capacity(2 * MAX_PAIRS),
            sockets: Vec::with_capacity(MAX_PAIRS),
            retries: Vec::new(),
        });
        maker.listen_afresh(plan, false)?;
        maker.restock(plan);
        Ok(maker)
    }

    /// Whether this process opened the maker, and not its parent.
    pub(crate) fn is_ours(&self) -> bool {
        self.token.is_current()
    }

    /// In a forked child, closes the copies of the parent's descriptors.
    ///
    /// `fork(2)` copies descriptors before memory. If another thread opened a descriptor in between, its number is known here
    /// but not open, and closing that number could close another file. Such a maker is leaked.
    pub(crate) fn close_copy(self: Box<Self>) {
        let is_open = |descriptor: BorrowedFd<'_>| fcntl(descriptor, FcntlArg::F_GETFD).is_ok();
        let is_socket = |descriptor: BorrowedFd<'_>| SockRef::from(&descriptor).local_addr().is_ok();
        let listener = self.listener.as_ref().is_none_or(|listener| is_socket(listener.as_fd()));
        let spare = self.spare.as_ref().is_none_or(|spare| is_socket(spare.as_fd()));
        match is_open(self.engine.descriptor()) && listener && spare {
            true => drop(self),
            false => std::mem::forget(self),
        }
    }

    /// Whether another call can use the maker: its engine works, and not too many of its operations are stale.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_broken && self.engine.stale() <= MAX_PAIRS
    }

    /// Opens a fresh listener if the present one cannot serve `count` more pairs.
    pub(crate) fn listen_for(&mut self, plan: &Plan, count: usize) -> Result<()> {
        let listener = self.listener.as_ref().filter(|listener| listener.admits(plan, count));
        let has_many_strangers = listener.is_some_and(has_many_strangers);
        if listener.is_none() || has_many_strangers {
            self.turn_away_waiting_unless_many();
            self.listen_afresh(plan, has_many_strangers)?;
        }
        self.listener_mut()?.serve(count);
        Ok(())
    }

    /// Listens at another port. No operation of the attempt may be in flight.
    pub(crate) fn listen_afresh(&mut self, plan: &Plan, gated: bool) -> Result<()> {
        // A stale accept would take a connection to the new port.
        let may_reuse = self.purpose == Purpose::OneShot && self.engine.stale() == 0;
        let again = self.listener.as_mut().is_some_and(|listener| may_reuse && listener.listen_again(plan, gated));
        if !again {
            self.stop_listening();
            self.listener = None; // the next listener may need its descriptor
            self.listener = Some(Listener::open(plan, self.engine.is_nonblocking(), gated)?);
        }
        self.tally.listeners += 1;
        if let Some(listener) = &mut self.listener {
            if self.purpose == Purpose::Factory {
                listener.set_limits();
            }
            self.engine.aim(listener.target());
        }
        Ok(())
    }

    /// Restores the invariant after an attempt that ended early. What cannot be opened now, the next attempt opens; that
    /// attempt reports the error.
    pub(crate) fn start_over(&mut self, plan: &Plan) {
        self.cancel();
        self.halves.clear();
        self.end_operations();
        if self.is_broken {
            return;
        }
        if self.purpose == Purpose::Factory || self.engine.stale() > 0 {
            let _ = self.listen_afresh(plan, false);
        }
        if self.purpose == Purpose::OneShot {
            self.stop_listening();
        }
        self.restock(plan);
    }

    /// Cancels everything in flight, stops listening, and closes what completes. Counts strangers.
    pub(crate) fn cancel(&mut self) {
        self.locate_halves();
        self.is_broken |= self.engine.cancel().is_err();
        self.reap_what_is_left();
        self.turn_away_waiting_unless_many();
        // An accept that is being woken cannot be cancelled. Without a listener it fails, or it has completed already.
        self.stop_listening();
        self.reap_what_is_left();
    }

    fn reap_what_is_left(&mut self) {
        self.engine.nudge();
        let Some(listener) = &self.listener else { return };
        while let Some(completion) = self.engine.reap(listener.as_fd()) {
            match completion {
                Completion::Accepted(Ok(accepted)) => self.arrivals.push(accepted),
                Completion::Opened(Ok(socket)) => self.spare = Some(socket.into()),
                Completion::Connected { half, socket, .. } => locate(&mut self.halves, half, &socket),
                _ => {}
            }
        }
        for accepted in self.arrivals.drain(..) {
            let is_ours = peer_of(accepted.as_fd()).0.is_some_and(|peer| self.halves.may_be_ours(peer));
            self.tally.strangers += u64::from(!is_ours);
        }
    }

    /// Forgets what is in flight, and closes its sockets.
    pub(crate) fn end_operations(&mut self) {
        self.retries.clear();
        self.sockets.clear();
        if let Some(listener) = &self.listener {
            self.engine.end(listener.as_fd());
        }
    }

    /// Gives each accepted connection to its half, closes the strangers, and returns their number.
    pub(crate) fn match_arrivals(&mut self) -> Result<usize> {
        self.locate_halves();
        let listener = self.listener.as_ref().ok_or_else(no_listener)?;
        let mut strangers = 0;
        for accepted in self.arrivals.drain(..) {
            let (peer, lives) = listener.peer_of(&accepted).map_err(Step::Verify.failed())?;
            strangers += usize::from(self.halves.arrived(peer, lives, accepted).is_some());
        }
        Ok(strangers)
    }

    /// Notes the local addresses of connects in flight, to recognise their connections when they are accepted.
    pub(crate) fn locate_halves(&mut self) {
        let engine = &self.engine;
        self.halves.locate(|half| local_address(engine.connecting(half)?));
    }

    /// Connects again at the next submission. The kernel continues the handshake.
    pub(crate) fn connect_again(&mut self, half: usize, socket: OwnedFd) {
        self.retries.push((half, socket));
    }

    /// Queues all connects that must be submitted again. False if there are none.
    pub(crate) fn queue_retries(&mut self) -> bool {
        let any = !self.retries.is_empty();
        for (half, socket) in self.retries.drain(..) {
            self.engine.connect(half, socket);
        }
        any
    }

    /// Returns the pending error of a connect in flight: an ICMP error does not always complete it.
    pub(crate) fn unreported_error(&self) -> Option<io::Error> {
        let mut sockets = (0..self.halves.len()).filter_map(|half| self.engine.connecting(half));
        sockets.find_map(|socket| SockRef::from(&socket).take_error().ok().flatten())
    }

    /// Closes connections that wait at a factory's listener, and counts the strangers among them.
    pub(crate) fn turn_away_waiting(&mut self) {
        if let (Purpose::Factory, Some(listener)) = (self.purpose, &self.listener) {
            self.tally.strangers += listener.turn_away_waiting(|peer| self.halves.may_be_ours(peer));
        }
    }

    /// The same before the listener is closed. If many have passed the gate, the kernel resets them all at once instead.
    fn turn_away_waiting_unless_many(&mut self) {
        if !self.listener.as_ref().is_some_and(has_many_strangers) {
            self.turn_away_waiting();
        }
    }

    /// Stops listening until the next attempt.
    pub(crate) fn stop_listening(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.stop();
        }
    }

    /// Submits everything that is queued.
    pub(crate) fn submit(&mut self) -> Result<()> {
        let (engine, listener) = self.parts()?;
        let submitted = engine.submit(listener);
        self.is_broken |= submitted.is_err();
        submitted.map_err(Step::Ring.failed())
    }

    /// Opens a socket to connect with, or takes the spare one.
    pub(crate) fn open_socket(&mut self, plan: &Plan) -> Result<Socket> {
        let socket = match self.spare.take() {
            Some(spare) => spare,
            None => open_unprepared(plan, self.engine.is_nonblocking())?,
        };
        prepared(socket, plan)
    }

    /// Fills [`sockets`](Self::sockets): in one submission if the engine can, else by a call each.
    pub(crate) fn open_sockets(&mut self, plan: &Plan, count: usize) -> Result<()> {
        self.sockets.clear();
        if self.engine.opens_sockets() {
            self.open_by_submission(plan, count)?;
        }
        while self.sockets.len() < count {
            let socket = open_unprepared(plan, self.engine.is_nonblocking())?;
            self.sockets.push(prepared(socket, plan)?);
        }
        Ok(())
    }

    fn open_by_submission(&mut self, plan: &Plan, count: usize) -> Result<()> {
        (0..count).for_each(|_| self.engine.open_socket(domain_of(plan)));
        self.submit()?;
        let mut refused = None;
        loop {
            let (engine, listener) = self.parts()?;
            match engine.reap(listener) {
                None => return refused.map_or(Ok(()), |error| Err(Step::Socket.failed()(error))),
                Some(Completion::Opened(Ok(socket))) => self.sockets.push(prepared(socket.into(), plan)?),
                Some(Completion::Opened(Err(error))) => refused = refused.or(Some(error)),
                Some(_) => {} // nothing else is in flight
            }
        }
    }

    pub(crate) fn listener(&self) -> Result<&Listener> {
        self.listener.as_ref().ok_or_else(no_listener)
    }

    pub(crate) fn listener_mut(&mut self) -> Result<&mut Listener> {
        self.listener.as_mut().ok_or_else(no_listener)
    }

    /// Returns engine and listener, for operations that need both.
    pub(crate) fn parts(&mut self) -> Result<(&mut Engine, BorrowedFd<'_>)> {
        match &self.listener {
            Some(listener) => Ok((&mut self.engine, listener.as_fd())),
            None => Err(no_listener()),
        }
    }

    /// Pairs that one attempt may make.
    pub(crate) fn room(&self) -> usize {
        match (self.purpose, &self.listener) {
            (Purpose::Factory, Some(listener)) => listener.max_at_once().min(MAX_PAIRS),
            _ => 1,
        }
    }

    /// Queues the opening of the next pair's socket, which costs less than a call of its own.
    pub(crate) fn queue_spare(&mut self, plan: &Plan) {
        if self.keeps_spare() {
            self.engine.open_socket(domain_of(plan));
        }
    }

    /// Keeps the socket that was opened for the next pair. If the kernel refused it, opens one by a system call, in place of
    /// the spare socket that this pair has used.
    pub(crate) fn keep_spare(&mut self, opened: io::Result<OwnedFd>, plan: &Plan) -> Result<()> {
        self.spare = Some(match opened {
            Ok(socket) => socket.into(),
            Err(_) => open_unprepared(plan, self.engine.is_nonblocking())?,
        });
        Ok(())
    }

    fn restock(&mut self, plan: &Plan) {
        if self.spare.is_none() && self.keeps_spare() {
            self.spare = open_unprepared(plan, self.engine.is_nonblocking()).ok(); // else the next pair opens its own
        }
    }

    /// One-shots keep no spare socket: their next pair may never come.
    fn keeps_spare(&self) -> bool {
        self.purpose == Purpose::Factory && self.engine.opens_sockets()
    }
}

/// Notes the local address of this half's connect, to recognise its connection when it is accepted.
pub(crate) fn locate(halves: &mut Matching<OwnedFd, OwnedFd>, half: usize, socket: &OwnedFd) {
    halves.locate(|number| if number == half { local_address(socket.as_fd()) } else { None });
}

/// Returns the local address of a connect. Its port is 0 if the connect was not submitted: then it has no connection.
fn local_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).local_addr().ok()?.as_socket()
}

/// Whether many strangers wait at a gated listener: attackers that pass the gate. The gate drops all others.
fn has_many_strangers(listener: &Listener) -> bool {
    listener.is_gated() && listener.waiting() >= MANY_STRANGERS
}

fn no_listener() -> Error {
    Step::Listen.refused(io::ErrorKind::NotConnected, "there is no listener")
}

/// Stops listening first, so that no accept succeeds while the engine is closed. In a forked child, only closes descriptors:
/// the objects behind them are the parent's.
impl Drop for Maker {
    fn drop(&mut self) {
        match self.is_ours() {
            true => self.stop_listening(),
            false => self.engine.abandon(),
        }
    }
}

//! Which accepted socket belongs to which connect. Anyone on the host can reach a listener on loopback; whoever comes to
//! ours and is not us is a stranger, and is turned away.
//!
//! A *seat* is one pair in the making, a *gate* a listener with the accepts that are pending on it. Accepts belong to the
//! gate, not to a seat: when several pairs are in the making at one gate, each accept brings whoever came first, and the
//! addresses tell for which seat. An accepted socket whose peer is the local address of a connected one, and is there, is its
//! other end: the connect named this listener, the listener is bound to this one address, and of connections between the same two
//! addresses the kernel has one at a time. Before the connect is through, it may be who had the same port before.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::Waker;

use slab::Slab;

use crate::error::{Error, Step};

pub(crate) type Key = usize;

/// Both ends of a pair, the accepted one first.
pub(crate) type Ends = (OwnedFd, OwnedFd);

/// The meeting place of one engine. `L` is the listener, of which nothing needs to be known here.
pub(crate) struct Rendezvous<L> {
    seats: Slab<Seat>,
    gates: Slab<Gate<L>>,
    /// Whose accepted end has come last. A neighbour's is likely to come next: the kernel hands out connections in the order in
    /// which they came, and seats are given out in a row, up or down.
    last: Key,
    /// Strangers turned away at all gates, those long closed among them.
    strangers: u64,
}

/// One pair in the making.
struct Seat {
    gate: Key,
    /// The engine's connect, until it lands.
    flight: Option<Key>,
    local: Option<SocketAddr>,
    connected: Option<OwnedFd>,
    accepted: Option<OwnedFd>,
    trouble: Option<Trouble>,
    owner: Option<Waker>,
}

enum Trouble {
    /// Nothing wrong with the pair, but its connect is gone and must be made again.
    Lost,
    Failed(Error),
}

struct Gate<L> {
    listener: L,
    /// Connects that may be under way at once.
    room: u32,
    /// Seats that belong to this gate.
    seated: u32,
    /// Of those, seats that still lack their accepted end.
    wanting: u32,
    /// Accepts that are pending and have not been called off.
    pending: u32,
    /// Accepts that have been called off and have not landed yet.
    leaving: u32,
    /// Where connections of ours began that were given up and may still turn up here.
    forsaken: Vec<SocketAddr>,
    /// Likewise, where it is not known where they began.
    unlocated: u32,
    served: u32,
    strangers: u64,
    /// Nobody is seated here any more: a connection that was given up may be in the backlog, or an accept that was called off
    /// may take the wake that another one waits for.
    retired: bool,
    /// The owner has left; the listener goes as soon as nothing is pending on it.
    closed: bool,
}

/// What a seat has come to.
pub(crate) enum Progress {
    /// Both ends are there.
    Met,
    /// Not yet.
    Waiting,
    /// Its connect is gone, through no fault of the pair's.
    Lost,
    Failed,
}

/// What a gate's accepts need.
#[derive(Debug, PartialEq)]
pub(crate) enum Balance {
    Even,
    /// One more accept is wanted.
    Short,
    /// Accepts are pending, and nobody lacks one.
    Over,
}

impl<L> Rendezvous<L> {
    /// One with room for so many seats, where so many strangers have been counted already. Where more seats are needed, there
    /// will be; these are there before: a pair that is late, the first in a thousand, allocates no more than the rest.
    pub(crate) fn new(room: usize, strangers: u64) -> Self {
        Rendezvous { seats: Slab::with_capacity(room), gates: Slab::new(), last: 0, strangers }
    }

    /// `room` is how many connects may be under way to the listener at once.
    pub(crate) fn open_gate(&mut self, listener: L, room: u32) -> Key {
        self.gates.insert(Gate {
            listener,
            room,
            seated: 0,
            wanting: 0,
            pending: 0,
            leaving: 0,
            forsaken: Vec::new(),
            unlocated: 0,
            served: 0,
            strangers: 0,
            retired: false,
            closed: false,
        })
    }

    /// Whether `count` more pairs may be made here: the gate is not retired, serves `most` in its life, and has room for their
    /// connects beside those that are under way.
    pub(crate) fn admits(&self, gate: Key, count: u32, most: u32) -> bool {
        let gate = &self.gates[gate];
        !gate.retired && gate.served + count <= most && gate.wanting + count <= gate.room
    }

    pub(crate) fn room(&self, gate: Key) -> u32 {
        self.gates[gate].room
    }

    pub(crate) fn listener(&self, gate: Key) -> &L {
        &self.gates[gate].listener
    }

    pub(crate) fn is_retired(&self, gate: Key) -> bool {
        self.gates[gate].retired
    }

    pub(crate) fn strangers_at(&self, gate: Key) -> u64 {
        self.gates[gate].strangers
    }

    pub(crate) fn strangers(&self) -> u64 {
        self.strangers
    }

    pub(crate) fn gates(&self) -> Vec<Key> {
        self.gates.iter().map(|(key, _)| key).collect()
    }

    /// The owner leaves; the gate is [over](Self::is_over) as soon as nobody is seated and nothing is pending there.
    pub(crate) fn close_gate(&mut self, gate: Key) {
        self.gates[gate].closed = true;
    }

    /// Whether a gate has been closed, and nobody and nothing is there any more.
    pub(crate) fn is_over(&self, gate: Key) -> bool {
        self.gates.get(gate).is_some_and(|gate| gate.closed && gate.is_idle())
    }

    pub(crate) fn remove_gate(&mut self, gate: Key) -> L {
        self.gates.remove(gate).listener
    }

    /// Whether nobody is seated and nothing is pending here.
    pub(crate) fn is_idle(&self, gate: Key) -> bool {
        self.gates[gate].is_idle()
    }

    /// Whether no pair is in the making at any gate.
    pub(crate) fn nobody_is_seated(&self) -> bool {
        self.seats.is_empty()
    }

    /// The seat that the next pair will get.
    pub(crate) fn next_seat(&self) -> Key {
        self.seats.vacant_key()
    }

    /// Counts a pair that has met at this gate without ever sitting down.
    pub(crate) fn served_standing(&mut self, gate: Key) {
        self.gates[gate].served += 1;
    }

    /// Seats a pair whose connect is about to be queued.
    pub(crate) fn sit(&mut self, gate: Key) -> Key {
        self.gates[gate].seated += 1;
        self.gates[gate].wanting += 1;
        self.gates[gate].served += 1;
        let (flight, local, connected, accepted) = (None, None, None, None);
        self.seats.insert(Seat { gate, flight, local, connected, accepted, trouble: None, owner: None })
    }

    pub(crate) fn board(&mut self, seat: Key, flight: Key) {
        self.seats[seat].flight = Some(flight);
    }

    pub(crate) fn flight(&self, seat: Key) -> Option<Key> {
        self.seats[seat].flight
    }

    pub(crate) fn gate_of(&self, seat: Key) -> Key {
        self.seats[seat].gate
    }

    /// Notes where the connecting end lies.
    pub(crate) fn locate(&mut self, seat: Key, local: Option<SocketAddr>) {
        self.seats[seat].local = local;
    }

    /// It cannot be told where the connecting end lies: its connection will not be known when it arrives.
    pub(crate) fn locate_failed(&mut self, seat: Key, error: io::Error) {
        let gate = self.seats[seat].gate;
        self.gates[gate].unlocated += 1;
        self.fail(seat, Step::Verify.failed()(error));
    }

    pub(crate) fn connected(&mut self, seat: Key, socket: OwnedFd, woken: &mut Vec<Waker>) {
        let place = &mut self.seats[seat];
        place.flight = None;
        place.connected = Some(socket);
        self.wake(seat, woken);
    }

    /// The connect is gone, though nobody here called it off, and is to be made again.
    pub(crate) fn lost(&mut self, seat: Key, woken: &mut Vec<Waker>) {
        let place = &mut self.seats[seat];
        place.flight = None;
        place.trouble.get_or_insert(Trouble::Lost);
        self.wake(seat, woken);
    }

    pub(crate) fn connect_failed(&mut self, seat: Key, error: io::Error, woken: &mut Vec<Waker>) {
        self.seats[seat].flight = None;
        self.fail(seat, Step::Connect.failed()(error));
        self.wake(seat, woken);
    }

    /// Whose the connection is that came to `gate` from there. Nobody's, where it is a stranger's.
    pub(crate) fn whose_is(&self, gate: Key, peer: Option<SocketAddr>) -> Option<Key> {
        let is_its = |seat: &Seat| seat.gate == gate && are_one_connection(seat.local, peer);
        let neighbours = [self.last.wrapping_add(1), self.last.wrapping_sub(1)];
        let next = neighbours.into_iter().find(|key| self.seats.get(*key).is_some_and(is_its));
        next.or_else(|| self.seats.iter().find(|(_, seat)| is_its(seat)).map(|(key, _)| key))
    }

    /// Gives an accepted socket, whose other end is there, to the seat that it belongs to. Who came before from the same address
    /// was someone else: of two connections between the same addresses, only the last lives.
    pub(crate) fn arrived(&mut self, seat: Key, socket: OwnedFd, woken: &mut Vec<Waker>) {
        self.last = seat;
        let place = &mut self.seats[seat];
        if place.is_wanting() {
            self.gates[place.gate].wanting -= 1;
        }
        if place.accepted.replace(socket).is_some() {
            self.came_and_left(seat);
        }
        self.wake(seat, woken);
    }

    pub(crate) fn accepted(&self, seat: Key) -> Option<&OwnedFd> {
        self.seats[seat].accepted.as_ref()
    }

    /// Who was taken for this seat's other end is not: it is wanted still.
    pub(crate) fn was_another(&mut self, seat: Key) {
        let place = &mut self.seats[seat];
        place.accepted = None;
        if place.is_wanting() {
            self.gates[place.gate].wanting += 1;
        }
        self.came_and_left(seat);
    }

    /// Somebody came from where this seat's connect began, and has reset the connection since. If that is ours, its connect has
    /// failed, and that is told already.
    pub(crate) fn came_and_left(&mut self, seat: Key) {
        let Seat { gate, local, trouble, .. } = &self.seats[seat];
        if trouble.is_none() {
            self.turn_away(*gate, *local);
        }
    }

    /// Counts someone who came to `gate` and is not expected there. A connection of ours that was given up is no stranger.
    pub(crate) fn turn_away(&mut self, gate: Key, peer: Option<SocketAddr>) {
        let gate = &mut self.gates[gate];
        if let Some(place) = gate.forsaken.iter().position(|forsaken| Some(*forsaken) == peer) {
            gate.forsaken.swap_remove(place);
            return;
        }
        if gate.unlocated > 0 {
            gate.unlocated -= 1;
            return;
        }
        gate.strangers += 1;
        self.strangers += 1;
    }

    /// Whether whoever turns up at an idle gate is a stranger: none of ours was given up there.
    pub(crate) fn expects_nobody(&self, gate: Key) -> bool {
        self.gates[gate].forsaken.is_empty() && self.gates[gate].unlocated == 0
    }

    /// An accept failed: the seat that has waited longest bears it, unless there is an accept for each that waits all the same.
    /// Tells whether one did.
    pub(crate) fn accept_failed(&mut self, gate: Key, error: io::Error, woken: &mut Vec<Waker>) -> bool {
        if self.gates[gate].pending >= self.gates[gate].wanting {
            return false;
        }
        let first = self.seats.iter().find(|(_, seat)| seat.gate == gate && seat.is_wanting()).map(|(key, _)| key);
        let Some(seat) = first else { return false };
        self.fail(seat, Step::Accept.failed()(error));
        self.wake(seat, woken);
        true
    }

    /// How many seats here lack their accepted end.
    pub(crate) fn wanting(&self, gate: Key) -> u32 {
        self.gates[gate].wanting
    }

    pub(crate) fn accept_queued(&mut self, gate: Key) {
        self.gates[gate].pending += 1;
    }

    /// The gate is retired: until this accept has landed it may be the one that a connection wakes, while the accept of who
    /// sits down after it sleeps on.
    pub(crate) fn accept_called_off(&mut self, gate: Key) {
        let gate = &mut self.gates[gate];
        gate.pending -= 1;
        gate.leaving += 1;
        gate.retired = true;
    }

    pub(crate) fn accept_landed(&mut self, gate: Key, called_off: bool) {
        let gate = &mut self.gates[gate];
        if called_off { gate.leaving -= 1 } else { gate.pending -= 1 }
    }

    pub(crate) fn balance(&self, gate: Key) -> Balance {
        match self.gates.get(gate) {
            Some(gate) if gate.pending < gate.wanting => Balance::Short,
            // Not before the last seat has what it lacks: a connection wakes one of the accepts that wait for it, and where
            // that is just being called off, the others sleep on while the connection waits.
            Some(gate) if gate.wanting == 0 && gate.pending > 0 => Balance::Over,
            _ => Balance::Even,
        }
    }

    pub(crate) fn progress(&self, seat: Key) -> Progress {
        match &self.seats[seat] {
            Seat { trouble: Some(Trouble::Lost), .. } => Progress::Lost,
            Seat { trouble: Some(Trouble::Failed(_)), .. } => Progress::Failed,
            Seat { connected: Some(_), accepted: Some(_), .. } => Progress::Met,
            _ => Progress::Waiting,
        }
    }

    /// What has come so far: whether the connect is through, and whether the accepted end is there.
    pub(crate) fn halves(&self, seat: Key) -> (bool, bool) {
        (self.seats[seat].connected.is_some(), self.seats[seat].accepted.is_some())
    }

    /// Whom to wake when something happens at this seat. Returns who it was before, where that was another one.
    pub(crate) fn owned_by(&mut self, seat: Key, owner: &Waker) -> Option<Waker> {
        match &mut self.seats[seat].owner {
            Some(known) if known.will_wake(owner) => None,
            known => known.replace(owner.clone()),
        }
    }

    /// All who wait, to look for themselves.
    pub(crate) fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.seats.iter_mut().filter_map(|(_, seat)| seat.owner.take()));
    }

    /// Empties a seat. Returns what it had; where that is not a whole pair, the gate is retired, as the connection that is
    /// given up may turn up there. What has been accepted is no proof that it has, as long as the connect is not through.
    pub(crate) fn leave(&mut self, seat: Key) -> Left {
        let seat = self.seats.remove(seat);
        let gate = &mut self.gates[seat.gate];
        gate.seated -= 1;
        if seat.is_wanting() {
            gate.wanting -= 1;
        }
        if seat.accepted.is_none() || seat.flight.is_some() {
            gate.forsaken.extend(seat.local);
            gate.retired = true;
        }
        let error = match seat.trouble {
            Some(Trouble::Failed(error)) => Some(error),
            _ => None,
        };
        Left { gate: seat.gate, flight: seat.flight, ends: (seat.accepted, seat.connected), error, owner: seat.owner }
    }

    /// No pair can be made any more: the engine is of no use.
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> Error, woken: &mut Vec<Waker>) {
        let seats: Vec<Key> = self.seats.iter().map(|(key, _)| key).collect();
        seats.into_iter().for_each(|seat| self.fail(seat, error()));
        self.wake_all(woken);
    }

    pub(crate) fn fail(&mut self, seat: Key, error: Error) {
        let place = &mut self.seats[seat];
        if place.is_wanting() {
            self.gates[place.gate].wanting -= 1;
        }
        if !matches!(place.trouble, Some(Trouble::Failed(_))) {
            place.trouble = Some(Trouble::Failed(error));
        }
    }

    fn wake(&mut self, seat: Key, woken: &mut Vec<Waker>) {
        woken.extend(self.seats[seat].owner.take());
    }
}

/// Whether the end that connected from `local` is the other end of the one that was accepted from `peer`, at the same gate.
pub(crate) fn are_one_connection(local: Option<SocketAddr>, peer: Option<SocketAddr>) -> bool {
    peer.is_some() && local == peer
}

/// What was at a seat when it was left.
pub(crate) struct Left {
    pub(crate) gate: Key,
    /// A connect that is still under way.
    pub(crate) flight: Option<Key>,
    /// Accepted first.
    pub(crate) ends: (Option<OwnedFd>, Option<OwnedFd>),
    pub(crate) error: Option<Error>,
    pub(crate) owner: Option<Waker>,
}

impl Seat {
    /// Whether its gate still owes it the accepted end.
    fn is_wanting(&self) -> bool {
        self.accepted.is_none() && !matches!(self.trouble, Some(Trouble::Failed(_)))
    }
}

impl<L> Gate<L> {
    fn is_idle(&self) -> bool {
        self.seated == 0 && self.pending == 0 && self.leaving == 0
    }
}

#[cfg(test)]
mod tests;

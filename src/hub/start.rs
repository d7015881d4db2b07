//! How pairs are started: both operations of each in one submission.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{SockRef, Socket};

use super::{Seats, State};
use crate::engine::{Landing, Peer};
use crate::error::Result;
use crate::options::Plan;
use crate::rendezvous::{Ends, Key, are_one_connection};

impl State {
    /// Seats a pair for each socket and launches its connect and accept, all in one submission.
    pub(crate) fn start(&mut self, gate: Key, sockets: impl Iterator<Item = Socket>, seats: &mut Seats) {
        let first = seats.len();
        for socket in sockets {
            let seat = self.meeting.sit(gate);
            seats.push(seat);
            // The connect goes first; see the ring engine for why.
            let target = self.meeting.listener(gate).target();
            let flight = self.engine.connect(seat, socket.into(), target);
            self.meeting.board(seat, flight);
            self.queue_accept(gate);
        }
        self.launch();
        for seat in seats.iter().skip(first) {
            if let Some(flight) = self.meeting.flight(seat) {
                let local = self.local_address(flight);
                self.locate(seat, local);
            }
        }
    }

    /// Starts one pair. Where nobody else is in the making at this gate, both halves have landed, as a rule, when the launch
    /// returns: then they are handed back, and the pair was never seated. Else it is, and all goes its usual way.
    pub(crate) fn start_one(&mut self, plan: &Plan, gate: Key, seats: &mut Seats) -> Result<Option<Ends>> {
        if self.led || !self.meeting.is_idle(gate) {
            let socket = self.open_one(plan)?;
            self.start(gate, std::iter::once(socket), seats);
            return Ok(None);
        }
        let socket = self.take_ready(plan)?;
        let seat = self.meeting.next_seat();
        let listener = self.meeting.listener(gate);
        let flight = self.engine.connect(seat, socket.into(), listener.target());
        // Before the accept: where there is one descriptor only, it is the accepted end that has none.
        let mut opens = self.queue_ready(plan);
        self.engine.accept(gate, self.meeting.listener(gate).socket().as_fd());
        let mut launched = self.try_launch();
        let local = self.local_address(flight);

        let (mut connected, mut accepted, mut kept) = (None, None, Ok(()));
        while connected.is_none() || accepted.is_none() || opens {
            match self.engine.land() {
                Some(landing @ Landing::Connected { seat: of, .. }) if of == seat => connected = Some(landing),
                Some(landing @ Landing::Accepted { gate: at, .. }) if at == gate => accepted = Some(landing),
                Some(Landing::Opened(opened)) => (opens, kept) = (false, self.keep_ready(opened, plan)),
                Some(Landing::Broken(error)) => launched = Err(error),
                Some(other) => self.route(other),
                None => break,
            }
        }
        let ends = match (connected, accepted, &local) {
            (
                Some(Landing::Connected { socket, result: Ok(()), .. }),
                Some(Landing::Accepted { result: Ok(accepted), .. }),
                Ok(local),
            ) if is_other_end(&accepted, *local) => {
                self.meeting.served_standing(gate);
                self.close_left_gate();
                kept.map(|()| Some((accepted, socket)))
            }
            (connected, accepted, _) => {
                seats.push(self.meeting.sit(gate));
                self.meeting.board(seat, flight);
                self.meeting.accept_queued(gate);
                self.locate(seat, local);
                kept.unwrap_or_else(|error| self.meeting.fail(seat, error));
                [connected, accepted].into_iter().flatten().for_each(|landing| self.route(landing));
                Ok(None)
            }
        };
        launched.unwrap_or_else(|error| self.give_up(&error));
        if !self.meeting.nobody_is_seated() {
            self.turn(); // what landed in between may be another's
        }
        ends
    }

    /// Where a connecting end lies: the kernel has chosen its port at the launch.
    fn local_address(&self, flight: Key) -> io::Result<Option<SocketAddr>> {
        match self.engine.connecting(flight) {
            Some(socket) => Ok(SockRef::from(&socket).local_addr()?.as_socket()),
            None => Ok(None),
        }
    }

    /// Notes where a connecting end lies, to know it when it arrives.
    fn locate(&mut self, seat: Key, local: io::Result<Option<SocketAddr>>) {
        match local {
            Ok(local) => self.meeting.locate(seat, local),
            Err(error) => self.meeting.locate_failed(seat, error),
        }
    }
}

/// Whether what was accepted is the other end of what connects from `local`.
fn is_other_end(accepted: &OwnedFd, local: Option<SocketAddr>) -> bool {
    let peer = Peer::of(accepted);
    peer.is_there && are_one_connection(local, peer.address)
}

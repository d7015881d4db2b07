//! Operations in flight, and all that the kernel may still use for them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use slab::Slab;
use socket2::SockAddr;

use crate::engine::Key;

/// An operation that the kernel has, or is about to get, and that has not completed yet.
pub(super) enum Flight {
    /// Owns the socket and shares the address until the completion. An orphan's socket is closed then.
    Connect { seat: Key, socket: OwnedFd, _target: Arc<SockAddr>, orphan: bool },
    /// Has nothing that the kernel uses: who came is asked afterwards.
    Accept { gate: Key, called_off: bool },
    /// What is left of a connect on a ring that was given up: the kernel has the socket for itself, if it has taken the entry.
    Forsaken { _target: Arc<SockAddr> },
}

/// All of them. A flight leaves here only by [`land`](Flights::land), which runs on its completion: a future that is
/// dropped turns its flights into orphans, not into garbage.
pub(super) struct Flights(Slab<Flight>);

impl Flights {
    pub(super) fn new() -> Flights {
        Flights(Slab::new())
    }

    pub(super) fn take_off(&mut self, flight: Flight) -> Key {
        self.0.insert(flight)
    }

    pub(super) fn land(&mut self, key: Key) -> Option<Flight> {
        self.0.try_remove(key)
    }

    pub(super) fn connecting(&self, key: Key) -> Option<BorrowedFd<'_>> {
        match self.0.get(key)? {
            Flight::Connect { socket, .. } => Some(socket.as_fd()),
            Flight::Accept { .. } | Flight::Forsaken { .. } => None,
        }
    }

    /// Marks a connect as nobody's; false where there is no such flight.
    pub(super) fn orphan(&mut self, key: Key) -> bool {
        match self.0.get_mut(key) {
            Some(Flight::Connect { orphan, .. }) => {
                *orphan = true;
                true
            }
            _ => false,
        }
    }

    /// Marks one accept of `gate` as called off and tells which.
    pub(super) fn choose_accept(&mut self, of: Key) -> Option<Key> {
        self.0.iter_mut().find_map(|(key, flight)| match flight {
            Flight::Accept { gate, called_off } if *gate == of && !*called_off => {
                *called_off = true;
                Some(key)
            }
            _ => None,
        })
    }

    /// Whether something that was called off has not landed yet.
    pub(super) fn any_leaving(&self) -> bool {
        self.0.iter().any(|(_, flight)| {
            matches!(flight, Flight::Connect { orphan: true, .. } | Flight::Accept { called_off: true, .. })
        })
    }

    /// Closes the sockets of all connects, which nobody waits for any more.
    pub(super) fn forsake_connects(&mut self) {
        for (_, flight) in &mut self.0 {
            if let Flight::Connect { _target, .. } = flight {
                *flight = Flight::Forsaken { _target: Arc::clone(_target) };
            }
        }
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

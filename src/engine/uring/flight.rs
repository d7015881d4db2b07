//! Operations in flight, and all that the kernel may still use for them.
#![allow(unsafe_code)] // reads the addresses that the kernel has written

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use nix::libc::{AF_INET, AF_INET6, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use slab::Slab;
use socket2::SockAddr;

use crate::engine::Key;

/// An operation that the kernel has, or is about to get, and that has not completed yet.
pub(super) enum Flight {
    /// Owns the socket and shares the address until the completion. An orphan's socket is closed then.
    Connect { seat: Key, socket: OwnedFd, _target: Arc<SockAddr>, orphan: bool },
    /// Owns the place where the kernel writes who came. Asking for the peer afterwards would be one more system call, and
    /// has no answer where it has reset the connection meanwhile. Knows the number of its entry on the ring.
    Accept { gate: Key, peer: Place, called_off: bool, number: u64 },
    /// What is left of a connect on a ring that was given up: the kernel has the socket for itself, if it has taken the entry.
    Forsaken { _target: Arc<SockAddr> },
}

/// Who came, in the kernel's form.
struct Peer {
    address: sockaddr_storage,
    length: socklen_t,
}

/// A peer's place on the heap, known by its address alone, as the kernel writes to it behind the compiler's back. It is not
/// freed when it is dropped: what the kernel may still write to stays for good.
pub(super) struct Place(NonNull<Peer>);

// SAFETY: whoever has the place has the only pointer to it on this side of the kernel.
unsafe impl Send for Place {}

impl Place {
    fn new() -> Place {
        // SAFETY: all zeros is an address of no family, which is a valid one.
        let peer = Peer { address: unsafe { std::mem::zeroed() }, length: 0 };
        Place(NonNull::from(Box::leak(Box::new(peer))))
    }

    /// Where the kernel is to write to: the address, and how long it is.
    pub(super) fn pointers(&mut self) -> (*mut sockaddr_storage, *mut socklen_t) {
        let peer = self.0.as_ptr();
        // SAFETY: `new` has allocated it, and only `free` ends that.
        unsafe {
            (*peer).length = size_of::<sockaddr_storage>() as socklen_t;
            (&raw mut (*peer).address, &raw mut (*peer).length)
        }
    }

    /// What the kernel has written; to be asked after the completion only.
    fn read(&self) -> Option<SocketAddr> {
        let address: *const sockaddr_storage = &raw const self.peer().address;
        match i32::from(self.peer().address.ss_family) {
            AF_INET => {
                // SAFETY: the family says that this is what lies there, and a storage is aligned for all of its kinds.
                let v4 = unsafe { &*address.cast::<sockaddr_in>() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
            }
            AF_INET6 => {
                // SAFETY: the same.
                let v6 = unsafe { &*address.cast::<sockaddr_in6>() };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    fn peer(&self) -> &Peer {
        // SAFETY: `new` has allocated it, and the kernel, whose accept is through, does not write to it any more.
        unsafe { self.0.as_ref() }
    }

    fn free(self) {
        // SAFETY: `new` has leaked it from a box, and nobody else has it: its accept has landed, or was never launched.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// All of them. A flight leaves here only by [`land`](Flights::land), which runs on its completion: a future that is
/// dropped turns its flights into orphans, not into garbage.
pub(super) struct Flights {
    flights: Slab<Flight>,
    /// Places that no flight needs any more, for the next ones.
    spare: Vec<Place>,
}

impl Flights {
    pub(super) fn new() -> Flights {
        Flights { flights: Slab::new(), spare: Vec::new() }
    }

    pub(super) fn take_off(&mut self, flight: Flight) -> Key {
        self.flights.insert(flight)
    }

    pub(super) fn land(&mut self, key: Key) -> Option<Flight> {
        self.flights.try_remove(key)
    }

    /// A place for the kernel to write a peer's address to.
    pub(super) fn place(&mut self) -> Place {
        self.spare.pop().unwrap_or_else(Place::new)
    }

    /// Reads what the kernel has written to the place of an accept that has landed, and keeps the place for the next.
    pub(super) fn read(&mut self, place: Place) -> Option<SocketAddr> {
        let peer = place.read();
        self.spare.push(place);
        peer
    }

    pub(super) fn connecting(&self, key: Key) -> Option<BorrowedFd<'_>> {
        match self.flights.get(key)? {
            Flight::Connect { socket, .. } => Some(socket.as_fd()),
            Flight::Accept { .. } | Flight::Forsaken { .. } => None,
        }
    }

    /// Marks a connect as nobody's; false where there is no such flight.
    pub(super) fn orphan(&mut self, key: Key) -> bool {
        match self.flights.get_mut(key) {
            Some(Flight::Connect { orphan, .. }) => {
                *orphan = true;
                true
            }
            _ => false,
        }
    }

    /// Marks one accept of `gate` as called off and tells which.
    pub(super) fn choose_accept(&mut self, of: Key) -> Option<Key> {
        self.flights.iter_mut().find_map(|(key, flight)| match flight {
            Flight::Accept { gate, called_off, .. } if *gate == of && !*called_off => {
                *called_off = true;
                Some(key)
            }
            _ => None,
        })
    }

    /// Whether something that was called off has not landed yet.
    pub(super) fn any_leaving(&self) -> bool {
        self.flights.iter().any(|(_, flight)| {
            matches!(flight, Flight::Connect { orphan: true, .. } | Flight::Accept { called_off: true, .. })
        })
    }

    /// Closes the sockets of all connects, which nobody waits for any more.
    pub(super) fn forsake_connects(&mut self) {
        for (_, flight) in &mut self.flights {
            if let Flight::Connect { _target, .. } = flight {
                *flight = Flight::Forsaken { _target: Arc::clone(_target) };
            }
        }
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.flights.iter().map(|(key, _)| key).collect()
    }

    /// Frees the places of accepts from this number on: the kernel has not taken their entries, and never will.
    pub(super) fn free_from(&mut self, first: u64) {
        for flight in self.flights.drain() {
            match flight {
                Flight::Accept { peer, number, .. } if number >= first => peer.free(),
                _ => {}
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }
}

/// Frees the places that no accept is pending for.
impl Drop for Flights {
    fn drop(&mut self) {
        self.spare.drain(..).for_each(Place::free);
    }
}

//! Which accepted connection belongs to which half of an attempt.
//!
//! A *half* is one pair that is not complete yet. Accepts return connections in their order of arrival, strangers among them,
//! so addresses decide. An accepted connection is a half's other end if it comes from the local address of that half's
//! connect, and is alive after the connect has completed. The kernel has at most one live connection between two addresses.
//!
//! Before the connect completes, a connection from the same address can be an older one, of a stranger that had that port. It
//! is kept, and checked again when the connect has completed.

use std::net::SocketAddr;

/// The halves of one attempt. `C` is a connected end, `A` an accepted one.
pub(crate) struct Matching<C, A> {
    halves: Vec<Half<C, A>>,
    /// The half that is probably next: connections arrive in the order of their connects.
    next: usize,
}

struct Half<C, A> {
    /// The local address of its connect, once known.
    local: Option<SocketAddr>,
    /// Its connected end, once the connect has completed.
    connected: Option<C>,
    accepted: Option<A>,
}

impl<C, A> Matching<C, A> {
    /// Allocates room for this many halves.
    pub(crate) fn with_room(count: usize) -> Self {
        Matching { halves: Vec::with_capacity(count), next: 0 }
    }

    /// Adds a half and returns its number.
    pub(crate) fn add(&mut self) -> usize {
        self.halves.push(Half { local: None, connected: None, accepted: None });
        self.halves.len() - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.halves.len()
    }

    /// Returns how many halves have both ends.
    pub(crate) fn met(&self) -> usize {
        self.halves.iter().filter(|half| half.is_met()).count()
    }

    /// Returns how many halves lack their accepted end.
    pub(crate) fn without_accepted(&self) -> usize {
        self.halves.iter().filter(|half| half.accepted.is_none()).count()
    }

    /// Whether the connect of the first half that has not met has completed.
    pub(crate) fn first_unmet_has_connected(&self) -> bool {
        self.halves.iter().find(|half| !half.is_met()).is_some_and(|half| half.connected.is_some())
    }

    /// Notes local addresses. Calls `local` for each half whose address is unknown.
    pub(crate) fn locate(&mut self, mut local: impl FnMut(usize) -> Option<SocketAddr>) {
        for (number, half) in self.halves.iter_mut().enumerate() {
            if half.local.is_none() {
                half.local = local(number);
            }
        }
    }

    /// Notes that the connect of this half has completed. Returns its accepted connection if that one is dead.
    pub(crate) fn connected(
        &mut self,
        half: usize,
        local: SocketAddr,
        connected: C,
        lives: impl FnOnce(&A) -> bool,
    ) -> Option<A> {
        let half = &mut self.halves[half];
        half.local = Some(local);
        half.connected = Some(connected);
        half.accepted.take_if(|accepted| !lives(accepted))
    }

    /// Takes an accepted connection. Returns a stranger: this connection, or an older one from the same address.
    pub(crate) fn arrived(&mut self, peer: Option<SocketAddr>, lives: bool, accepted: A) -> Option<A> {
        match self.owner_of(peer) {
            Some(owner) if lives => {
                self.next = owner + 1;
                self.halves[owner].accepted.replace(accepted)
            }
            _ => Some(accepted),
        }
    }

    /// Whether a connection from this address may be ours. While the local address of a half is unknown, any connection may
    /// be.
    pub(crate) fn may_be_ours(&self, peer: SocketAddr) -> bool {
        let is_unknown = |half: &Half<C, A>| half.local.is_none() && !half.is_met();
        self.owner_of(Some(peer)).is_some() || self.halves.iter().any(is_unknown)
    }

    /// A half that has met owns no further connection: its port can be used again at a new listener.
    fn owner_of(&self, peer: Option<SocketAddr>) -> Option<usize> {
        let is_its = |half: &Half<C, A>| peer.is_some() && half.local == peer && !half.is_met();
        match self.halves.get(self.next) {
            Some(half) if is_its(half) => Some(self.next),
            _ => self.halves.iter().position(is_its),
        }
    }

    /// Drops every half that has not met.
    pub(crate) fn keep_met(&mut self) {
        self.halves.retain(Half::is_met);
        self.next = self.halves.len();
    }

    /// Takes all pairs, accepted end first, and drops the halves that have not met.
    pub(crate) fn take_pairs(&mut self) -> impl Iterator<Item = (A, C)> + '_ {
        self.next = 0;
        self.halves.drain(..).filter_map(|half| Some((half.accepted?, half.connected?)))
    }

    pub(crate) fn clear(&mut self) {
        self.next = 0;
        self.halves.clear();
    }
}

impl<C, A> Half<C, A> {
    fn is_met(&self) -> bool {
        self.connected.is_some() && self.accepted.is_some()
    }
}

#[cfg(test)]
mod tests;

//! Sockets to connect with: how they are opened, and the one that a factory keeps ready for its next pair.

use std::io;
use std::os::fd::OwnedFd;

use socket2::Socket;

use super::{Seats, State};
use crate::engine::Landing;
use crate::error::{Result, Step};
use crate::listener::{domain_of, open_connecting, open_unprepared, prepared};
use crate::options::Plan;

impl State {
    /// Opens so many: in one submission where the engine can, by a call each where it cannot, or where a leader waits for what
    /// lands.
    pub(crate) fn open_connecting(&mut self, plan: &Plan, count: usize) -> Result<[Option<Socket>; Seats::MOST]> {
        let mut sockets = [const { None }; Seats::MOST];
        let mut places = sockets[..count].iter_mut();
        if !self.led && self.engine.opens_sockets() {
            self.engine.open_sockets(domain_of(plan), count);
            self.launch();
            let mut refused = None;
            while let Some(landing) = self.engine.land() {
                let Landing::Opened(opened) = landing else {
                    self.route(landing);
                    continue;
                };
                match opened.map_err(Step::Socket.failed()).and_then(|socket| prepared(socket.into(), plan)) {
                    Ok(socket) => drop(places.next().map(|place| place.insert(socket))),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            refused.map_or(Ok(()), Err)?;
        }
        for place in places {
            *place = Some(self.open_one(plan)?);
        }
        Ok(sockets)
    }

    /// Opens one by a call.
    pub(super) fn open_one(&mut self, plan: &Plan) -> Result<Socket> {
        let nonblocking = self.engine.is_nonblocking();
        match open_connecting(plan, nonblocking) {
            Err(_) if self.close_left_gate() => open_connecting(plan, nonblocking), // has its descriptor
            socket => socket,
        }
    }

    /// The socket that is kept ready, or a fresh one.
    pub(super) fn take_ready(&mut self, plan: &Plan) -> Result<Socket> {
        match self.ready.take() {
            Some(ready) => prepared(ready, plan),
            None => self.open_one(plan),
        }
    }

    /// Queues the opening of a socket for the pair after this one, whose submission it goes with: that costs less than a call of
    /// its own. False where none is kept.
    pub(super) fn queue_ready(&mut self, plan: &Plan) -> bool {
        let keeps = self.keeps_ready();
        if keeps {
            self.engine.open_sockets(domain_of(plan), 1);
        }
        keeps
    }

    /// Keeps what has been opened for the next pair. Where that was refused, it is opened here and now or not at all: a pair
    /// takes two descriptors, and of those one in the place of the socket that was ready.
    pub(super) fn keep_ready(&mut self, opened: io::Result<OwnedFd>, plan: &Plan) -> Result<()> {
        match opened {
            Ok(socket) => self.ready = Some(socket.into()),
            Err(_) => {
                self.close_left_gate(); // has a descriptor
                self.restock(plan)?;
            }
        }
        Ok(())
    }

    /// Opens the socket that is to be ready, where it is missing.
    pub(crate) fn restock(&mut self, plan: &Plan) -> Result<()> {
        if self.ready.is_none() && self.keeps_ready() {
            self.ready = Some(open_unprepared(plan, self.engine.is_nonblocking())?);
        }
        Ok(())
    }

    /// Only a factory's next pair is sure to want what this one would keep.
    fn keeps_ready(&self) -> bool {
        self.counting && self.engine.opens_sockets()
    }
}

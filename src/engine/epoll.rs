//! The epoll engine: connect and accept as system calls that never wait, tried at once, and registered with an epoll if they
//! do not complete.
//!
//! On loopback the handshake runs inside `connect(2)`, though a non-blocking one says `EINPROGRESS`. So the accept is tried
//! next, and then the connect again, which succeeds now. `how_it_works::epoll_engine` describes the engine from outside.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll as Descriptor, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{SockFlag, accept4};
use socket2::{SockAddr, SockRef};

use super::{Completion, MAX_PAIRS};
use crate::poll::poll_one;

/// Identifies an event of the listener. An event of a connect has the number of its half.
const LISTENER: u64 = MAX_PAIRS as u64;

pub(crate) struct Epoll {
    epoll: Descriptor,
    target: SockAddr,
    connects: [Option<Connect>; MAX_PAIRS],
    accepts: usize,
    /// The listener is registered with the epoll.
    watches_listener: bool,
    /// How many connects are registered with the epoll.
    watched: usize,
    completed: VecDeque<Completion>,
}

struct Connect {
    socket: OwnedFd,
    is_watched: bool,
}

impl Epoll {
    pub(super) fn open() -> io::Result<Epoll> {
        Ok(Epoll {
            epoll: Descriptor::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            target: SockAddr::from(std::net::SocketAddr::from(([0, 0, 0, 0], 0))),
            connects: [const { None }; MAX_PAIRS],
            accepts: 0,
            watches_listener: false,
            watched: 0,
            completed: VecDeque::with_capacity(2 * MAX_PAIRS),
        })
    }

    pub(super) fn aim(&mut self, target: &SockAddr) {
        self.target = target.clone();
    }

    pub(super) fn connect(&mut self, half: usize, socket: OwnedFd) {
        self.connects[half] = Some(Connect { socket, is_watched: false });
    }

    pub(super) fn accept(&mut self) {
        self.accepts += 1;
    }

    pub(super) fn submit(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        self.try_connects();
        self.try_accepts(listener);
        self.try_connects();
        for (half, connect) in self.connects.iter_mut().enumerate() {
            if let Some(connect) = connect.as_mut().filter(|connect| !connect.is_watched) {
                self.epoll.add(&connect.socket, EpollEvent::new(EpollFlags::EPOLLOUT, half as u64))?;
                connect.is_watched = true;
                self.watched += 1;
            }
        }
        if self.accepts > 0 && !self.watches_listener {
            self.epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
            self.watches_listener = true;
        }
        Ok(())
    }

    pub(super) fn reap(&mut self, listener: BorrowedFd<'_>) -> Option<Completion> {
        if self.completed.is_empty() && (self.watched > 0 || self.watches_listener) {
            self.take_events(listener);
        }
        self.completed.pop_front()
    }

    pub(super) fn accepts(&self) -> usize {
        self.accepts
    }

    pub(super) fn connecting(&self, half: usize) -> Option<BorrowedFd<'_>> {
        self.connects[half].as_ref().map(|connect| connect.socket.as_fd())
    }

    pub(super) fn end(&mut self, listener: BorrowedFd<'_>) {
        for connect in &mut self.connects {
            if let Some(connect) = connect.take().filter(|connect| connect.is_watched) {
                let _ = self.epoll.delete(&connect.socket); // it is registered and open: this cannot fail
            }
        }
        self.accepts = 0;
        self.watched = 0;
        self.completed.clear();
        self.leave_the_listener(listener);
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Tries the connects that are not watched yet.
    fn try_connects(&mut self) {
        for half in 0..MAX_PAIRS {
            if self.connects[half].as_ref().is_some_and(|connect| !connect.is_watched) {
                self.try_connect(half);
            }
        }
    }

    fn try_connect(&mut self, half: usize) {
        let Some(connect) = &self.connects[half] else { return };
        let result = match SockRef::from(&connect.socket).connect(&self.target) {
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => return,
                Some(Errno::EISCONN) => Ok(()),
                _ => Err(error),
            },
            connected => connected,
        };
        if let Some(Connect { socket, is_watched }) = self.connects[half].take() {
            if is_watched {
                self.watched -= 1;
                let _ = self.epoll.delete(&socket); // it is registered and open: this cannot fail
            }
            self.completed.push_back(Completion::Connected { half, socket, result });
        }
    }

    fn try_accepts(&mut self, listener: BorrowedFd<'_>) {
        while self.accepts > 0 {
            match accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_out_of_descriptors(&error) && !is_readable(listener) => return,
                result => {
                    self.accepts -= 1;
                    self.completed.push_back(Completion::Accepted(result));
                }
            }
        }
        self.leave_the_listener(listener);
    }

    fn leave_the_listener(&mut self, listener: BorrowedFd<'_>) {
        if std::mem::take(&mut self.watches_listener) {
            let _ = self.epoll.delete(listener); // it is registered and open: this cannot fail
        }
    }

    fn take_events(&mut self, listener: BorrowedFd<'_>) {
        let mut events = [EpollEvent::empty(); MAX_PAIRS + 1];
        // EINTR counts as no events. An open epoll and a valid buffer cause no other error.
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                LISTENER => self.try_accepts(listener),
                half => self.try_connect(half as usize),
            }
        }
    }
}

/// Whether `accept4(2)` failed for lack of a descriptor. It checks that before it checks for a waiting connection.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn is_readable(listener: BorrowedFd<'_>) -> bool {
    poll_one(listener, PollFlags::POLLIN, Duration::ZERO).unwrap_or(false)
}

fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(accept4(listener, SockFlag::SOCK_CLOEXEC)?)
}

//! One pair closed, and timed.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::engine::Closing;
use crate::hazards::memlock::patiently;
use crate::measure::Error;
use crate::{Backend, PairFactory, abort};

use super::report::Cell;
use super::way::{Call, Ending, Order, Way};

/// How long a read may be pending after the other end was closed.
const READ_BY: Duration = Duration::from_secs(10);

/// What is to be `SO_LINGER` where a close waits; on loopback it never waits that long.
const LINGER: Duration = Duration::from_secs(5);

/// What pairs are closed with.
pub(super) struct Parting {
    watcher: Watcher,
    /// What the second end writes, for the ways that need unread bytes.
    unread: Vec<u8>,
}

/// What waits for the close at the second end.
enum Watcher {
    Ring(Box<Closing>),
    /// Without a ring: nothing is pending, but there is nothing to read either, and who polls is told at once.
    Poll,
}

impl Parting {
    pub(super) fn open(factory: &PairFactory, unread: usize) -> Result<Parting, Error> {
        let watcher = match factory.backend() {
            Backend::Uring => {
                let closing = patiently(Closing::open).map_err(Error::at("set up a ring to close with"))?;
                Watcher::Ring(Box::new(closing))
            }
            _ => Watcher::Poll,
        };
        Ok(Parting { watcher, unread: vec![b'u'; unread] })
    }

    /// Makes a pair, closes it the cell's way, and adds what that took.
    pub(super) fn close_one(&mut self, cell: &mut Cell, factory: &PairFactory) -> Result<(), Error> {
        let (accepted, connected) = factory.pair_blocking::<Socket>()?;
        let (first, second) = match cell.order {
            Order::AcceptedFirst => (accepted, connected),
            Order::ConnectedFirst => (connected, accepted),
        };
        self.prepare(cell.way, &first, &second).map_err(Error::at("prepare a pair for its end"))?;
        if cell.way.reads_meanwhile() {
            self.watcher.begin(&second).map_err(Error::at("have a read pending at the second end"))?;
        }
        match cell.way {
            Way::Shutdown => self.shut_and_close(cell, first, second),
            _ => self.close(cell, first, second),
        }
    }

    /// Pairs come with zero linger at both ends.
    fn prepare(&self, way: Way, first: &Socket, mut second: &Socket) -> io::Result<()> {
        let linger = match way {
            Way::Reset | Way::Abort | Way::ResetUnread => Some(Duration::ZERO),
            Way::Fin | Way::Shutdown | Way::FinUnread => None,
            Way::Wait => Some(LINGER),
        };
        if linger != Some(Duration::ZERO) {
            first.set_linger(linger)?;
            second.set_linger(linger)?;
        }
        if way.leaves_data_unread() {
            second.set_write_timeout(Some(READ_BY))?; // where the buffers are set so small that it does not fit
            second.write_all(&self.unread)?;
            wait_to_read(first)?;
        }
        Ok(())
    }

    fn close(&mut self, cell: &mut Cell, first: Socket, second: Socket) -> Result<(), Error> {
        let begin = Instant::now();
        if cell.way == Way::Abort {
            abort(&first).map_err(Error::at("abort the first end"))?;
        }
        self.close_by(cell.call, first).map_err(Error::at("close the first end"))?;
        let first_closed = Instant::now();
        let read = match cell.way.reads_meanwhile() {
            true => self.watcher.read(&second),
            false => Watcher::Poll.read(&second),
        };
        let read = read.map_err(Error::at("have the second end's read return"))?;
        let read_returned = Instant::now();
        self.close_by(cell.call, second).map_err(Error::at("close the second end"))?;
        let end = Instant::now();

        cell.first.add(first_closed - begin);
        cell.peer.add(read_returned - begin);
        cell.second.add(end - read_returned);
        cell.whole.add(end - begin);
        cell.note(&read);
        Ok(())
    }

    fn shut_and_close(&mut self, cell: &mut Cell, first: Socket, second: Socket) -> Result<(), Error> {
        let begin = Instant::now();
        first.shutdown(Shutdown::Write).map_err(Error::at("shut the first end"))?;
        let read = self.watcher.read(&second).map_err(Error::at("have the second end's read return"))?;
        let read_returned = Instant::now();
        second.shutdown(Shutdown::Write).map_err(Error::at("shut the second end"))?;
        let also_read = (&first).read(&mut [0]);
        let both_shut = Instant::now();
        self.close_by(cell.call, first).map_err(Error::at("close the first end"))?;
        let first_closed = Instant::now();
        self.close_by(cell.call, second).map_err(Error::at("close the second end"))?;
        let end = Instant::now();

        cell.first.add(first_closed - both_shut);
        cell.peer.add(read_returned - begin);
        cell.second.add(end - first_closed);
        cell.whole.add(end - begin);
        cell.note(if matches!(read, Ok(0)) { &also_read } else { &read });
        Ok(())
    }

    fn close_by(&mut self, call: Call, socket: Socket) -> io::Result<()> {
        match (call, &mut self.watcher) {
            (Call::Uring, Watcher::Ring(closing)) => closing.close(OwnedFd::from(socket)),
            _ => Ok(nix::unistd::close(OwnedFd::from(socket))?),
        }
    }
}

impl Cell {
    /// Counts a pair, and what a read returned that had to return the way's ending.
    fn note(&mut self, read: &io::Result<usize>) {
        self.pairs += 1;
        let ending = match read {
            Ok(0) => Some(Ending::EndOfFile),
            Err(error) if error.raw_os_error() == Some(Errno::ECONNRESET as i32) => Some(Ending::Reset),
            _ => None,
        };
        if ending != Some(self.way.ending()) {
            self.surprises += 1;
            self.first_surprise.get_or_insert_with(|| match read {
                Ok(0) => Ending::EndOfFile.to_string(),
                Ok(count) => format!("{count} bytes"),
                Err(error) => error.to_string(),
            });
        }
    }
}

impl Watcher {
    fn begin(&mut self, socket: &Socket) -> io::Result<()> {
        match self {
            Watcher::Ring(closing) => closing.begin_to_read(socket.as_fd()),
            Watcher::Poll => Ok(()),
        }
    }

    fn read(&mut self, mut socket: &Socket) -> io::Result<io::Result<usize>> {
        match self {
            Watcher::Ring(closing) => match closing.read() {
                Some(read) => Ok(read),
                None => closing.wait_for_read(READ_BY),
            },
            Watcher::Poll => {
                wait_to_read(socket)?;
                Ok(socket.read(&mut [0]))
            }
        }
    }
}

/// Waits until a read would not.
fn wait_to_read(socket: &Socket) -> io::Result<()> {
    let end = Instant::now() + READ_BY;
    loop {
        let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Err(Errno::ETIMEDOUT.into()),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

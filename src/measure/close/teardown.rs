//! Closes one pair and times it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::Socket;

use crate::engine::SocketOps;
use crate::hazards::memlock::patiently;
use crate::measure::Error;
use crate::poll::poll_one;
use crate::{Backend, PairFactory, abort};

use super::mode::{Call, CloseMode, Ending, Order};
use super::report::Cell;

/// The longest time that a read may stay pending after the other end has closed.
const READ_BY: Duration = Duration::from_secs(10);

/// `SO_LINGER` of a close that waits. On loopback it never waits that long.
const LINGER: Duration = Duration::from_secs(5);

/// Closes pairs one at a time.
pub(super) struct Teardown {
    watcher: Watcher,
    /// What the second end writes, for modes with unread bytes.
    unread: Vec<u8>,
}

/// Reads at the second end while the first end closes.
enum Watcher {
    Ring(Box<SocketOps>),
    /// Without a ring no read is pending: the second end is polled after the close.
    Poll,
}

impl Teardown {
    pub(super) fn open(factory: &PairFactory, unread: usize) -> Result<Teardown, Error> {
        let watcher = match factory.backend() {
            Backend::Uring => {
                let ops = patiently(SocketOps::open).map_err(Error::at("set up a ring to close with"))?;
                Watcher::Ring(Box::new(ops))
            }
            _ => Watcher::Poll,
        };
        Ok(Teardown { watcher, unread: vec![b'u'; unread] })
    }

    /// Makes a pair, closes it in the cell's mode, and adds the times to the cell.
    pub(super) fn close_one(&mut self, cell: &mut Cell, factory: &PairFactory) -> Result<(), Error> {
        let (accepted, connected) = factory.pair_blocking::<Socket>()?;
        let (first, second) = match cell.order {
            Order::AcceptedFirst => (accepted, connected),
            Order::ConnectedFirst => (connected, accepted),
        };
        self.prepare(cell.mode, &first, &second).map_err(Error::at("prepare a pair for closing"))?;
        if cell.mode.reads_meanwhile() {
            self.watcher.begin(&second).map_err(Error::at("start a read at the second end"))?;
        }
        match cell.mode {
            CloseMode::Shutdown => self.shut_and_close(cell, first, second),
            _ => self.close(cell, first, second),
        }
    }

    /// Sets linger, and leaves data unread. Pairs come with zero linger at both ends.
    fn prepare(&self, mode: CloseMode, first: &Socket, mut second: &Socket) -> io::Result<()> {
        let linger = match mode {
            CloseMode::Reset | CloseMode::Abort | CloseMode::ResetUnread => Some(Duration::ZERO),
            CloseMode::Fin | CloseMode::Shutdown | CloseMode::FinUnread => None,
            CloseMode::Wait => Some(LINGER),
        };
        if linger != Some(Duration::ZERO) {
            first.set_linger(linger)?;
            second.set_linger(linger)?;
        }
        if mode.leaves_data_unread() {
            second.set_write_timeout(Some(READ_BY))?; // in case the buffers are too small for it
            second.write_all(&self.unread)?;
            wait_to_read(first)?;
        }
        Ok(())
    }

    fn close(&mut self, cell: &mut Cell, first: Socket, second: Socket) -> Result<(), Error> {
        let begin = Instant::now();
        if cell.mode == CloseMode::Abort {
            abort(&first).map_err(Error::at("abort the first end"))?;
        }
        self.close_by(cell.call, first).map_err(Error::at("close the first end"))?;
        let first_closed = Instant::now();
        let read = match cell.mode.reads_meanwhile() {
            true => self.watcher.read(&second),
            false => Watcher::Poll.read(&second),
        };
        let read = read.map_err(Error::at("read at the second end"))?;
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
        let read = self.watcher.read(&second).map_err(Error::at("read at the second end"))?;
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
            (Call::Uring, Watcher::Ring(ops)) => ops.close(OwnedFd::from(socket)),
            _ => Ok(nix::unistd::close(OwnedFd::from(socket))?),
        }
    }
}

impl Cell {
    /// Counts a pair, and a read that did not return the mode's ending.
    fn note(&mut self, read: &io::Result<usize>) {
        self.pairs += 1;
        let ending = match read {
            Ok(0) => Some(Ending::EndOfFile),
            Err(error) if error.raw_os_error() == Some(Errno::ECONNRESET as i32) => Some(Ending::Reset),
            _ => None,
        };
        if ending != Some(self.mode.ending()) {
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
            Watcher::Ring(ops) => ops.begin_to_read(socket.as_fd()),
            Watcher::Poll => Ok(()),
        }
    }

    fn read(&mut self, mut socket: &Socket) -> io::Result<io::Result<usize>> {
        match self {
            Watcher::Ring(ops) => match ops.read() {
                Some(read) => Ok(read),
                None => ops.wait_for_read(READ_BY),
            },
            Watcher::Poll => {
                wait_to_read(socket)?;
                Ok(socket.read(&mut [0]))
            }
        }
    }
}

/// Waits until the socket has something to read, an end of file or an error.
fn wait_to_read(socket: &Socket) -> io::Result<()> {
    match poll_one(socket.as_fd(), PollFlags::POLLIN, READ_BY)? {
        true => Ok(()),
        false => Err(Errno::ETIMEDOUT.into()),
    }
}

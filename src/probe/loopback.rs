//! A connection on loopback by plain system calls: what the epoll engine lives on, and the ring engine's listener too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::attempt::Attempt;
use super::child::Report;

/// How long the child waits for any one thing. On loopback all of them take microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A listener on 127.0.0.1 that has served once.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) address: SockAddr,
}

/// Makes one pair and closes it. The listener is left for whoever tries the same in another way.
pub(super) fn try_plain(report: &Report) -> io::Result<Listener> {
    let (socket, client) = report.attempt(Attempt::Socket, || Ok((open()?, open()?)))?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
    let address = report.attempt(Attempt::Bind, || {
        socket.bind(&anywhere)?;
        socket.local_addr()
    })?;
    report.attempt(Attempt::Listen, || socket.listen(8))?;
    report.attempt(Attempt::Connect, || client.connect_timeout(&address, PATIENCE))?;
    report.attempt(Attempt::Accept, || {
        await_readable(&socket)?;
        socket.accept()
    })?;
    Ok(Listener { socket, address })
}

/// A socket that resets on close, so that nothing of this is left in TIME_WAIT. What is accepted inherits that.
pub(super) fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

pub(super) fn await_readable(descriptor: &impl AsFd) -> io::Result<()> {
    let most = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)], most) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::EINTR) => {}
            outcome => return outcome.map(drop).map_err(io::Error::from),
        }
    }
}

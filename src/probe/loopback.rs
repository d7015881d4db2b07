//! A connection on loopback by plain system calls: what the epoll engine lives on, and the ring engine's listener too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::attempt::Attempt;
use super::child::Report;

/// How long any one thing is waited for. On loopback all of them take microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A listener on 127.0.0.1 that has served once.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) address: SockAddr,
}

/// Makes one pair and closes it. The listener is left for whoever tries the same in another way.
pub(super) fn try_plain(report: &Report) -> io::Result<Listener> {
    let _ = report.attempt(Attempt::EpollCreate, || Ok(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?));
    let (socket, client) = report.attempt(Attempt::Socket, || Ok((open()?, open()?)))?;
    report.attempt(Attempt::SetOption, || reset_on_close(&socket).and_then(|()| reset_on_close(&client)))?;
    report.attempt(Attempt::Bind, || socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()))?;
    let address = report.attempt(Attempt::LocalAddress, || socket.local_addr())?;
    report.attempt(Attempt::Listen, || socket.listen(8))?;
    report.attempt(Attempt::Connect, || client.connect_timeout(&address, PATIENCE))?;
    let accepted = report.attempt(Attempt::Accept, || {
        await_readable(&socket)?;
        Ok(socket.accept()?.0)
    })?;
    let belong = report.attempt(Attempt::PeerAddress, || do_belong_together(&accepted, &client))?;
    if !belong {
        report.mismatched(Attempt::PeerAddress);
        return Err(Errno::EIO.into());
    }
    Ok(Listener { socket, address })
}

fn open() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None)
}

/// Leaves nothing in TIME_WAIT. What a listener accepts inherits it.
fn reset_on_close(socket: &Socket) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))
}

/// A socket to connect with.
pub(super) fn open_client() -> io::Result<Socket> {
    let socket = open()?;
    reset_on_close(&socket)?;
    Ok(socket)
}

/// Whether each end has the other's address for its peer. Not if something rewrites addresses on the way.
fn do_belong_together(accepted: &Socket, client: &Socket) -> io::Result<bool> {
    let peers = (accepted.peer_addr()?, client.peer_addr()?);
    Ok(peers == (client.local_addr()?, accepted.local_addr()?))
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

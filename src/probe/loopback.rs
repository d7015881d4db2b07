//! Checks each plain system call with a connection on loopback. The epoll engine needs them all, the ring engine some.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::check::Check;
use super::child::Log;
use crate::poll::poll_one;

/// The timeout of each check. On loopback each takes microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A listener on 127.0.0.1.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) address: SockAddr,
}

/// Makes one pair and closes it. Returns the listener, for the checks of the ring.
pub(super) fn try_plain(log: &Log) -> io::Result<Listener> {
    let _ = log.check(Check::EpollCreate, || Ok(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?));
    let (socket, client) = log.check(Check::Socket, || Ok((open()?, open()?)))?;
    log.check(Check::SetOption, || reset_on_close(&socket).and_then(|()| reset_on_close(&client)))?;
    log.check(Check::Bind, || socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()))?;
    let address = log.check(Check::LocalAddress, || socket.local_addr())?;
    log.check(Check::Listen, || socket.listen(8))?;
    log.check(Check::Connect, || client.connect_timeout(&address, PATIENCE))?;
    let accepted = log.check(Check::Accept, || {
        await_readable(&socket)?;
        Ok(socket.accept()?.0)
    })?;
    let belong = log.check(Check::PeerAddress, || do_belong_together(&accepted, &client))?;
    if !belong {
        log.mismatched(Check::PeerAddress);
        return Err(Errno::EIO.into());
    }
    Ok(Listener { socket, address })
}

fn open() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None)
}

/// Prevents TIME_WAIT. Accepted sockets inherit the option.
fn reset_on_close(socket: &Socket) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))
}

/// Opens a socket that will connect.
pub(super) fn open_client() -> io::Result<Socket> {
    let socket = open()?;
    reset_on_close(&socket)?;
    Ok(socket)
}

/// Whether each end's peer is the other end. False if something rewrites addresses.
fn do_belong_together(accepted: &Socket, client: &Socket) -> io::Result<bool> {
    let peers = (accepted.peer_addr()?, client.peer_addr()?);
    Ok(peers == (client.local_addr()?, accepted.local_addr()?))
}

/// Fails with `TimedOut` after [`PATIENCE`].
pub(super) fn await_readable(descriptor: &impl AsFd) -> io::Result<()> {
    match poll_one(descriptor.as_fd(), PollFlags::POLLIN, PATIENCE)? {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    }
}

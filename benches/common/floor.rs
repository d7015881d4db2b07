//! The floor: the fewest plain system calls that make and close a pair.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc::linger;
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, accept4, bind, connect, getpeername, getsockname, listen,
    setsockopt, socket,
};

/// A kept listener with zero linger, which accepted sockets inherit.
pub(crate) struct Floor {
    listener: OwnedFd,
    address: SockaddrIn,
}

/// A pair of plain descriptors. The accepted end is closed first.
pub(crate) struct Plain {
    accepted: OwnedFd,
    connected: OwnedFd,
}

impl Floor {
    pub(crate) fn open() -> nix::Result<Floor> {
        let listener = open_resetting()?;
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
        listen(&listener, Backlog::new(256)?)?;
        let address = getsockname(listener.as_raw_fd())?;
        Ok(Floor { listener, address })
    }

    /// Calls socket, setsockopt, connect and accept4. Does not check who connected.
    pub(crate) fn pair(&self) -> nix::Result<Plain> {
        let connected = open_resetting()?;
        connect(connected.as_raw_fd(), &self.address)?;
        let accepted = accept4(&self.listener, SockFlag::SOCK_CLOEXEC)?;
        Ok(Plain { accepted, connected })
    }

    /// [`pair`](Floor::pair), then getsockname of the connected end and getpeername of the accepted one, compared.
    #[allow(dead_code)] // each benchmark compiles its own copy, and `scale` has no use for this one
    pub(crate) fn verified_pair(&self) -> nix::Result<Plain> {
        let pair = self.pair()?;
        let own: SockaddrIn = getsockname(pair.connected.as_raw_fd())?;
        let peer: SockaddrIn = getpeername(pair.accepted.as_raw_fd())?;
        assert_eq!(own, peer, "another process connected to the listener");
        Ok(pair)
    }
}

fn open_resetting() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, Linger, &linger { l_onoff: 1, l_linger: 0 })?;
    Ok(socket)
}

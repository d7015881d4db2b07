//! The floor: the fewest plain system calls that make and close a pair. It asks nobody who is at the other end.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::libc::linger;
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, accept4, bind, connect, getsockname, listen, setsockopt,
    socket,
};
use nix::unistd::close;

/// A kept listener that lingers as the sockets that it accepts shall.
pub(crate) struct Floor {
    listener: OwnedFd,
    address: SockaddrIn,
}

/// A pair of plain descriptors.
pub(crate) struct Plain {
    accepted: RawFd,
    _connected: OwnedFd,
}

impl Floor {
    pub(crate) fn open() -> nix::Result<Floor> {
        let listener = open_resetting()?;
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
        listen(&listener, Backlog::new(256)?)?;
        let address = getsockname(listener.as_raw_fd())?;
        Ok(Floor { listener, address })
    }

    /// socket, setsockopt, connect, accept4.
    pub(crate) fn pair(&self) -> nix::Result<Plain> {
        let connected = open_resetting()?;
        connect(connected.as_raw_fd(), &self.address)?;
        let accepted = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
        Ok(Plain { accepted, _connected: connected })
    }
}

/// close, close; the accepted end goes first.
impl Drop for Plain {
    fn drop(&mut self) {
        let _ = close(self.accepted); // `_connected` closes itself after that
    }
}

fn open_resetting() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, Linger, &linger { l_onoff: 1, l_linger: 0 })?;
    Ok(socket)
}

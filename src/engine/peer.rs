//! Who is at the other end of a socket that was accepted, and whether they are there still.
#![allow(unsafe_code)] // neither nix nor socket2 knows the option that tells of those who have left

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{SO_PEERNAME, SOL_SOCKET, sockaddr_in, sockaddr_in6, socklen_t};
use socket2::{SockAddr, SockRef};

/// The other end of an accepted socket.
pub(crate) struct Peer {
    /// Where the connection began.
    pub(crate) address: Option<SocketAddr>,
    /// Whether it has not been reset since. Who has left has freed the port that they came from; a connect of ours may have been
    /// given it, and once that is through, only this tells the one that is in the backlog from ours.
    pub(crate) is_there: bool,
}

impl Peer {
    pub(crate) fn of(accepted: impl AsFd) -> Peer {
        match SockRef::from(&accepted).peer_addr() {
            Ok(address) => Peer { address: address.as_socket(), is_there: true },
            Err(error) => {
                let address = even_if_gone(accepted.as_fd());
                // Where the question is not answered for another reason, the address tells all that there is to know.
                Peer { address, is_there: error.kind() != io::ErrorKind::NotConnected }
            }
        }
    }
}

/// Where a connection began that has been reset, which `getpeername(2)` does not tell: `SO_PEERNAME` of `asm/socket.h`. It does
/// not tell more than there is, so that it is asked for the longer kind of address first.
fn even_if_gone(accepted: BorrowedFd<'_>) -> Option<SocketAddr> {
    let kinds = [size_of::<sockaddr_in6>(), size_of::<sockaddr_in>()];
    kinds.into_iter().find_map(|length| peer_name(accepted, length as socklen_t).ok()?.as_socket())
}

fn peer_name(accepted: BorrowedFd<'_>, most: socklen_t) -> io::Result<SockAddr> {
    // SAFETY: what begins at `address` has room for every kind of address, of which the kernel writes `most` bytes at most, and it
    // tells in `length` how many.
    let told = unsafe {
        SockAddr::try_init(|address, length| {
            *length = most;
            let asked = nix::libc::getsockopt(accepted.as_raw_fd(), SOL_SOCKET, SO_PEERNAME, address.cast(), length);
            Errno::result(asked)?;
            Ok(())
        })
    };
    told.map(|((), address)| address)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn it_is_told_where_a_connection_began_also_when_it_has_been_reset() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let local = connected.local_addr().unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let there = Peer::of(&accepted);
            assert_eq!((there.address, there.is_there), (Some(local), true));

            SockRef::from(&connected).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(connected);
            let gone = Peer::of(&accepted);
            assert_eq!((gone.address, gone.is_there), (Some(local), false));
        }
    }
}

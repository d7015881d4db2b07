//! What each completion means for an attempt.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use socket2::{SockAddr, SockRef};

use super::{Attempt, FRESH_PORTS};
use crate::error::{Error, Result, Step};
use crate::maker::locate;
use crate::sockets::{is_of_the_connection, peer_of};

impl Attempt<'_> {
    /// Verifies the connected end, and gives it to its half. `Some` if halves must begin again: `true` at a gated listener.
    #[inline] // on the hot path, called from another module
    pub(super) fn connected(&mut self, half: usize, socket: OwnedFd, result: io::Result<()>) -> Result<Option<bool>> {
        match result {
            Err(error) if errno_of(&error) != Errno::EISCONN => return self.connect_failed(half, socket, error),
            _ => {} // EISCONN: a connect that was submitted again is connected
        }
        // CONNECT can return 0 although nothing is connected, if an ICMP error answered the SYN.
        let peer = match SockRef::from(&socket).peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                let cause = SockRef::from(&socket).take_error().ok().flatten();
                return self.connect_failed(half, socket, cause.unwrap_or(error));
            }
            peer => self.verified(half, &socket, peer)?,
        };
        if peer != *self.lease.listener()?.target() {
            return Err(redirected(peer.as_socket()));
        }
        let local = self.verified(half, &socket, SockRef::from(&socket).local_addr())?;
        if let Some(local) = local.as_socket() {
            let lives = |accepted: &OwnedFd| peer_of(accepted.as_fd()).1;
            let dead = self.lease.halves.connected(half, local, socket, lives);
            self.count_strangers(usize::from(dead.is_some()));
        }
        Ok(None)
    }

    /// Returns an address, or the error of a half whose connection will still arrive.
    fn verified(&mut self, half: usize, socket: &OwnedFd, address: io::Result<SockAddr>) -> Result<SockAddr> {
        address.map_err(|error| {
            locate(&mut self.lease.halves, half, socket);
            Step::Verify.failed()(error)
        })
    }

    fn connect_failed(&mut self, half: usize, socket: OwnedFd, error: io::Error) -> Result<Option<bool>> {
        locate(&mut self.lease.halves, half, &socket); // its connection may still arrive
        let gated = self.lease.listener()?.is_gated();
        match errno_of(&error) {
            // The kernel cancels a connect when its submitting thread ends. The handshake goes on.
            Errno::ECANCELED | Errno::EINTR => {
                self.lease.connect_again(half, socket);
                self.must_retry = true;
                Ok(None)
            }
            // Submitted again too early: the next check retries.
            Errno::EALREADY => {
                self.lease.connect_again(half, socket);
                Ok(None)
            }
            Errno::EADDRNOTAVAIL if self.fresh_ports < FRESH_PORTS => {
                self.fresh_ports += 1;
                Ok(Some(gated))
            }
            // `tcp_abort_on_overflow`: the kernel has reset a connection that found the backlog full of strangers.
            Errno::ECONNRESET | Errno::EPIPE if self.has_overflowed()? => Ok(Some(true)),
            _ => Err(Step::Connect.failed()(error)),
        }
    }

    pub(super) fn accept_failed(&mut self, error: io::Error) -> Result<()> {
        match errno_of(&error) {
            // A stranger closed its connection before it was accepted.
            Errno::ECONNABORTED => self.count_strangers(1),
            Errno::ECANCELED => {} // by the kernel: the next turn submits another accept
            _ if is_of_the_connection(&error) => {}
            _ => return Err(Step::Accept.failed()(error)),
        }
        Ok(())
    }
}

fn redirected(peer: Option<SocketAddr>) -> Error {
    let whom = peer.map_or("an unknown address".to_owned(), |peer| peer.to_string());
    let why = format!("the connection leads to {whom}, and not to the listener: something redirects connections on lo");
    Step::Verify.refused(io::ErrorKind::Other, why)
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

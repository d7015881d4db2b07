//! The loopback listener: opens, listens again at a fresh port, keeps strangers out.
//!
//! Accepted sockets inherit the listener's zero linger, so an incomplete pair and a stranger are both closed by a reset.
//! `SO_REUSEADDR` is set after the bind. `SO_REUSEPORT` is never set: it would let another process share the port.
#![allow(unsafe_code)] // neither nix nor socket2 knows SO_MEMINFO, nor TCP_INFO of a listener

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_int, socklen_t};
use socket2::{SockAddr, SockRef, Socket};

use crate::error::{Result, Step};
use crate::hazards::ports;
use crate::options::{Plan, Shape};
use crate::sockets::{FULL_HOPS, open_socket, peer_of, set_min_hops};

/// Connections that can wait to be accepted before the kernel drops a SYN; `net.core.somaxconn` may lower it.
const BACKLOG: u32 = 256;

/// The maximum of pairs per port. An end that closes with FIN first leaves a TIME_WAIT for a minute; when half of the local
/// ports have one towards the same listener, each connect searches long for a free port.
const PAIRS_PER_LISTENER: usize = 2048;

/// A TCP listener on an ephemeral port of loopback, in the mode that the engine needs.
pub(crate) struct Listener {
    socket: Socket,
    shape: Shape,
    nonblocking: bool,
    address: SockAddr,
    listens: bool,
    /// The port was given explicitly: `listen` would choose it again.
    is_named: bool,
    /// It has listened at another port before. A handshake that began there can still complete here.
    is_reused: bool,
    is_gated: bool,
    served: usize,
    /// Pairs that it may serve in all.
    max_pairs: usize,
    max_at_once: usize,
    /// The last value of the kernel's counter of dropped packets.
    drops: u32,
}

impl Listener {
    /// Opens a listener at a port that the kernel chooses, or at a port in TIME_WAIT if no other is free.
    pub(crate) fn open(plan: &Plan, nonblocking: bool, gated: bool) -> Result<Listener> {
        let (socket, searched) = match listen_at_a_named_port(plan, nonblocking)? {
            Some(socket) => (socket, None),
            None => listen_at_any_port(plan, nonblocking)?,
        };
        let address = socket.local_addr().map_err(Step::Verify.failed())?;
        if let (Some(took), Some(address)) = (searched, address.as_socket()) {
            ports::chosen(address.port(), took);
        }
        let mut listener = Listener {
            socket,
            shape: plan.shape,
            nonblocking,
            address,
            listens: true,
            is_named: searched.is_none(),
            is_reused: false,
            is_gated: false,
            served: 0,
            max_pairs: PAIRS_PER_LISTENER,
            max_at_once: 1,
            drops: 0,
        };
        if gated {
            listener.shut_the_gate();
        }
        Ok(listener)
    }

    /// Listens at another port that the kernel chooses. Resets all connections that wait at the old one.
    ///
    /// False if a fresh socket is needed: the options differ, the port was named, or the kernel refuses.
    pub(crate) fn listen_again(&mut self, plan: &Plan, gated: bool) -> bool {
        if self.is_named || self.shape != plan.shape || ports::are_named() {
            return false;
        }
        self.stop();
        let is_listening = self.choose_a_port().is_ok();
        if is_listening && gated != self.is_gated {
            if gated { self.shut_the_gate() } else { self.open_the_gate() }
        }
        is_listening
    }

    fn choose_a_port(&mut self) -> io::Result<()> {
        // With SO_REUSEADDR set, the kernel would choose from the lower half of the range only.
        if self.shape.reuse_address {
            self.socket.set_reuse_address(false)?;
        }
        let begin = Instant::now();
        self.socket.listen(BACKLOG as c_int)?;
        let took = begin.elapsed();
        if self.shape.reuse_address {
            self.socket.set_reuse_address(true)?;
        }
        self.address = self.socket.local_addr()?;
        (self.listens, self.is_reused) = (true, true);
        self.served = 0;
        ports::chosen(self.address().port(), took);
        Ok(())
    }

    /// Stops listening: refuses newcomers, resets connections that wait, ends pending accepts. `shutdown(2)`.
    pub(crate) fn stop(&mut self) {
        if std::mem::take(&mut self.listens) {
            let _ = self.socket.shutdown(std::net::Shutdown::Both); // cannot fail on a listening socket
        }
    }

    /// Whether `count` more pairs may connect here.
    pub(crate) fn admits(&self, plan: &Plan, count: usize) -> bool {
        self.listens && self.shape == plan.shape && self.served + count <= self.max_pairs
    }

    pub(crate) fn serve(&mut self, count: usize) {
        self.served += count;
    }

    /// Sets how many pairs the listener serves in all and at once.
    ///
    /// In all, at most half of the number of local ports: live pairs must not take all of them, or no fresh listener finds a
    /// port. At once, at most the size of the backlog.
    pub(crate) fn set_limits(&mut self) {
        if let Some((first, last)) = ports::range() {
            self.max_pairs = PAIRS_PER_LISTENER.min(usize::from(last.saturating_sub(first)) / 2).max(1);
        }
        self.max_at_once = self.room().min(self.max_pairs);
    }

    /// Pairs that one attempt may make here.
    pub(crate) fn max_at_once(&self) -> usize {
        self.max_at_once
    }

    pub(crate) fn is_gated(&self) -> bool {
        self.is_gated
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.as_socket().unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }

    pub(crate) fn target(&self) -> &SockAddr {
        &self.address
    }

    /// Returns the peer address of an accepted connection, and whether it is alive. `None` if it came to another port.
    pub(crate) fn peer_of(&self, accepted: &OwnedFd) -> io::Result<(Option<SocketAddr>, bool)> {
        let (peer, lives) = peer_of(accepted.as_fd());
        let came_here = !self.is_reused || SockRef::from(accepted).local_addr()? == self.address;
        Ok((peer.filter(|_| came_here), lives))
    }

    /// Returns how many connects can be in flight without a dropped SYN: the backlog, as `listen(2)` and `net.core.somaxconn`
    /// set it. `TCP_INFO` of `tcp(7)`: for a listener, `tcpi_sacked` is the backlog.
    pub(crate) fn room(&self) -> usize {
        const SACKED: usize = 7; // after eight bytes, the sixth word of `struct tcp_info`
        let info = words::<{ SACKED + 1 }>(self.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO);
        info.map_or(1, |info| info[SACKED].max(1) as usize)
    }

    /// Returns how many connections wait to be accepted: `tcpi_unacked` of `TCP_INFO`, for a listener.
    pub(crate) fn waiting(&self) -> usize {
        const UNACKED: usize = 6;
        let info = words::<{ UNACKED + 1 }>(self.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO);
        info.map_or(0, |info| info[UNACKED] as usize)
    }

    /// Whether strangers have filled a queue since the last call, so that one of our SYNs may have been dropped. The kernel
    /// would resend it only after a second.
    pub(crate) fn has_overflowed(&mut self) -> bool {
        if self.is_gated {
            return self.waiting() > self.room(); // the gate's own drops are counted too
        }
        let now = drops(self.as_fd()).unwrap_or(self.drops);
        std::mem::replace(&mut self.drops, now) != now
    }

    /// Accepts and closes all waiting connections. Returns how many of them are not ours.
    pub(crate) fn turn_away_waiting(&self, mut is_ours: impl FnMut(SocketAddr) -> bool) -> u64 {
        let mut strangers = 0;
        if !self.listens || self.socket.set_nonblocking(true).is_err() {
            return 0;
        }
        for _ in 0..2 * BACKLOG {
            match self.socket.accept() {
                Ok((_, peer)) => strangers += u64::from(!peer.as_socket().is_some_and(&mut is_ours)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => strangers += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break, // nothing waits, or the kernel closes the rest with the listener
            }
        }
        let _ = self.socket.set_nonblocking(self.nonblocking); // `fcntl` accepted the same call a moment ago
        strangers
    }

    /// Makes the kernel drop every SYN with a hop count below 255. Only our own connects have it: see
    /// [`pass_the_gate`](crate::sockets::pass_the_gate). `IP_MINTTL` of `ip(7)`, `IPV6_MINHOPCOUNT`.
    ///
    /// If the kernel refuses, the listener stays open to strangers.
    fn shut_the_gate(&mut self) {
        self.is_gated = set_min_hops(self.as_fd(), self.address(), FULL_HOPS).is_ok();
    }

    fn open_the_gate(&mut self) {
        self.is_gated = set_min_hops(self.as_fd(), self.address(), 0).is_err();
        self.drops = drops(self.as_fd()).unwrap_or(self.drops); // includes the gate's drops
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.address()).finish()
    }
}

/// Returns the socket, and how long the kernel searched for a port; `None` for the time if the port was named.
fn listen_at_any_port(plan: &Plan, nonblocking: bool) -> Result<(Socket, Option<Duration>)> {
    let socket = open_socket(plan, nonblocking)?;
    let begin = Instant::now();
    if let Err(error) = socket.bind(&SocketAddr::new(plan.shape.address, 0).into()) {
        if error.kind() == io::ErrorKind::AddrInUse {
            drop(socket); // the next one may need its descriptor
            ports::none_left();
            if let Some(socket) = listen_at_a_named_port(plan, nonblocking)? {
                return Ok((socket, None));
            }
        }
        return Err(Step::Bind.failed()(error));
    }
    let took = begin.elapsed();
    if plan.shape.reuse_address {
        socket.set_reuse_address(true).map_err(Step::SetOption.failed())?;
    }
    socket.listen(BACKLOG as c_int).map_err(Step::Listen.failed())?;
    Ok((socket, Some(took)))
}

/// Listens at a port in TIME_WAIT. `None` if the kernel still has free ports, or if no such port is found soon.
fn listen_at_a_named_port(plan: &Plan, nonblocking: bool) -> Result<Option<Socket>> {
    if !plan.shape.reuse_address {
        return Ok(None);
    }
    for port in ports::named() {
        let socket = open_socket(plan, nonblocking)?;
        socket.set_reuse_address(true).map_err(Step::SetOption.failed())?;
        let bound = socket.bind(&SocketAddr::new(plan.shape.address, port).into());
        // Another thread may name the same port at the same time: then one of the two fails here.
        if bound.and_then(|()| socket.listen(BACKLOG as c_int)).is_ok() {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

/// Returns how many packets a socket has dropped, a full queue included: `SO_MEMINFO` of `socket(7)`, Linux 4.12.
fn drops(listener: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS of linux/sock_diag.h
    Ok(words::<{ DROPS + 1 }>(listener, libc::SOL_SOCKET, libc::SO_MEMINFO)?[DROPS])
}

/// Returns the first words of an option's value.
fn words<const COUNT: usize>(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<[u32; COUNT]> {
    let mut words = [0u32; COUNT];
    let mut length = size_of_val(&words) as socklen_t;
    // SAFETY: `words` has `length` bytes, and the kernel writes no more than that.
    let answer =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, words.as_mut_ptr().cast(), &raw mut length) };
    Errno::result(answer)?;
    Ok(words)
}

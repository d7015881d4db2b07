//! The sockets of a pair: opening, options, passing a gated listener, peer addresses.
#![allow(unsafe_code)] // neither nix nor socket2 knows SO_PEERNAME, IP_MINTTL, IPV6_MINHOPCOUNT and SO_MAX_PACING_RATE

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, socklen_t};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::error::{Result, Step};
use crate::options::Plan;

/// Opens a socket in the engine's mode, close-on-exec.
pub(crate) fn open_unprepared(plan: &Plan, nonblocking: bool) -> Result<Socket> {
    let kind = if nonblocking { Type::STREAM.nonblocking() } else { Type::STREAM };
    Socket::new(domain_of(plan), kind, None).map_err(Step::Socket.failed())
}

/// Sets the options of a socket that will connect.
pub(crate) fn prepared(socket: Socket, plan: &Plan) -> Result<Socket> {
    set_options(&socket, plan)?;
    bind_beside_the_listener(&socket, plan)?;
    Ok(socket)
}

/// Returns the address family of a plan's sockets.
pub(crate) fn domain_of(plan: &Plan) -> Domain {
    Domain::for_address(SocketAddr::new(plan.shape.address, 0))
}

/// Binds the connecting socket if the kernel would choose another address: for a connect to 127.0.0.2 it chooses 127.0.0.1.
fn bind_beside_the_listener(socket: &Socket, plan: &Plan) -> Result<()> {
    let address = plan.shape.address;
    if address != IpAddr::V4(Ipv4Addr::LOCALHOST) && address.is_ipv4() {
        // The port is chosen at the connect, where other connections from this address may share it.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true).map_err(Step::SetOption.failed())?;
        socket.bind(&SocketAddr::new(address, 0).into()).map_err(Step::Bind.failed())?;
    }
    Ok(())
}

/// Opens a socket with the options that both ends begin with.
pub(crate) fn open_socket(plan: &Plan, nonblocking: bool) -> Result<Socket> {
    let socket = open_unprepared(plan, nonblocking)?;
    set_options(&socket, plan)?;
    Ok(socket)
}

/// Sets zero linger, and the options that must be set before the handshake, which fixes the maximum window.
fn set_options(socket: &Socket, plan: &Plan) -> Result<()> {
    let set = || {
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(bytes) = plan.shape.recv_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = plan.shape.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        match plan.shape.nodelay {
            Some(nodelay) => socket.set_tcp_nodelay(nodelay),
            None => Ok(()),
        }
    };
    set().map_err(Step::SetOption.failed())
}

/// Returns the peer address of a connection, and whether the connection is alive.
pub(crate) fn peer_of(accepted: BorrowedFd<'_>) -> (Option<SocketAddr>, bool) {
    match SockRef::from(&accepted).peer_addr() {
        Ok(peer) => (peer.as_socket(), true),
        // Only ENOTCONN means that the connection is dead.
        Err(error) => (peer_that_was(accepted), error.kind() != io::ErrorKind::NotConnected),
    }
}

/// Returns the former peer address of a reset connection, for which `getpeername(2)` fails: `SO_PEERNAME`.
fn peer_that_was(accepted: BorrowedFd<'_>) -> Option<SocketAddr> {
    // The kernel fails if the address is shorter than the given length, so IPv6 is tried first.
    let lengths = [size_of::<libc::sockaddr_in6>(), size_of::<libc::sockaddr_in>()];
    lengths.into_iter().find_map(|max| {
        // SAFETY: the storage has room for every kind of address, and the kernel writes at most `max` bytes.
        let told = unsafe {
            SockAddr::try_init(|address, length| {
                *length = max as socklen_t;
                let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERNAME);
                let answer = libc::getsockopt(accepted.as_raw_fd(), level, name, address.cast(), length);
                Ok(Errno::result(answer).map(drop)?)
            })
        };
        told.ok()?.1.as_socket()
    })
}

/// The hop count of a packet that no router has forwarded. Ordinary connections on loopback use 64.
pub(crate) const FULL_HOPS: c_int = 255;

/// Lets a connecting socket through the gate: `IP_TTL` 255, `IPV6_UNICAST_HOPS` 255.
pub(crate) fn pass_the_gate(connecting: &Socket, address: IpAddr) -> Result<()> {
    set_hops(connecting.as_fd(), address, FULL_HOPS).map_err(Step::SetOption.failed())
}

/// Resets the gate's options at both ends. The accepted end has inherited the listener's.
pub(crate) fn leave_the_gate(accepted: &OwnedFd, connected: &OwnedFd, address: IpAddr) -> Result<()> {
    const DEFAULT_HOPS: c_int = -1;
    set_min_hops(accepted.as_fd(), SocketAddr::new(address, 0), 0)
        .and_then(|()| set_hops(connected.as_fd(), address, DEFAULT_HOPS))
        .map_err(Step::SetOption.failed())
}

fn set_hops(socket: BorrowedFd<'_>, address: IpAddr, hops: c_int) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_TTL, hops),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hops),
    }
}

/// Whether this error of `accept(2)` concerns one connection and not the listener, so that the call can be repeated.
pub(crate) fn is_of_the_connection(error: &io::Error) -> bool {
    use Errno::*;
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    matches!(
        errno,
        ECONNABORTED
            | EINTR
            | ENETDOWN
            | EPROTO
            | ENOPROTOOPT
            | EHOSTDOWN
            | ENONET
            | EHOSTUNREACH
            | EOPNOTSUPP
            | ENETUNREACH
    )
}

/// Makes the kernel drop packets with fewer hops left: `IP_MINTTL` of `ip(7)`, `IPV6_MINHOPCOUNT`. 0 removes the limit.
pub(crate) fn set_min_hops(socket: BorrowedFd<'_>, address: SocketAddr, hops: c_int) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, hops),
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, hops),
    }
}

/// The same for a socket of unknown family. An IPv6 socket can have an IPv4 connection.
pub(crate) fn set_min_hops_of_any(socket: BorrowedFd<'_>, hops: c_int) -> io::Result<()> {
    if SockRef::from(&socket).domain()? == Domain::IPV6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, hops).map_err(named("IPV6_MINHOPCOUNT"))?;
    }
    set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, hops).map_err(named("IP_MINTTL"))
}

/// Limits how fast a socket sends: `SO_MAX_PACING_RATE` of `socket(7)`.
pub(crate) fn set_max_pacing_rate(socket: BorrowedFd<'_>, bytes_per_second: u32) -> io::Result<()> {
    // The kernel reads the same bits as an unsigned number.
    set(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, bytes_per_second as c_int)
        .map_err(named("SO_MAX_PACING_RATE"))
}

/// Adds the option's name to an error.
fn named(option: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("setting {option} failed: {error}"))
}

fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of_val(&value)` bytes from `value`.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of_val(&value) as socklen_t)
    };
    Errno::result(answer)?;
    Ok(())
}

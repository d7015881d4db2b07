//! The loopback listener: how it is opened, what accepted sockets inherit from it, when to turn to a fresh one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Result, Step};
use crate::options::Plan;
use crate::ports;

/// How many connections wait to be accepted before the kernel drops a SYN; `net.core.somaxconn` may make it fewer.
/// Small enough that a backlog full of strangers is soon turned away.
pub(crate) const BACKLOG: u32 = 256;

/// How many pairs a kept listener serves. Ends that close with FIN first leave their port in TIME_WAIT towards this
/// listener for a minute; once half of the ports are, each connect searches long for a free one.
pub(crate) const PAIRS_PER_LISTENER: u32 = 2048;

/// A TCP listener on an ephemeral port of loopback, in the mode that the engine needs.
pub(crate) struct Listener {
    socket: Socket,
    nonblocking: bool,
    target: Arc<SockAddr>,
}

impl Listener {
    /// Opens one. `spare` is an address nobody uses any more, to be filled anew where that saves an allocation.
    pub(crate) fn open(plan: &Plan, nonblocking: bool, spare: Option<Arc<SockAddr>>) -> Result<Listener> {
        let (socket, took) = match listen_at_a_named_port(plan, nonblocking)? {
            Some(socket) => (socket, None),
            None => listen_at_any_port(plan, nonblocking)?,
        };
        let address = socket.local_addr().map_err(Step::Verify.failed())?;
        if let (Some(took), Some(address)) = (took, address.as_socket()) {
            ports::chosen(address.port(), took);
        }
        Ok(Listener { socket, nonblocking, target: refilled(spare, address) })
    }

    /// Where to connect to.
    pub(crate) fn target(&self) -> &Arc<SockAddr> {
        &self.target
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Accepts and resets those who wait, `most` at most, without waiting itself.
    pub(crate) fn drain(&self, most: u32, mut turn_away: impl FnMut(SockAddr)) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let accept = || loop {
            match self.socket.accept() {
                Ok((_, peer)) => break Ok(Some(peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let drained = (0..most).map_while(|_| accept().transpose()).try_for_each(|peer| peer.map(&mut turn_away));
        self.socket.set_nonblocking(self.nonblocking)?;
        drained
    }

    /// Lets nobody in any more, and resets who waits. An accept that is pending fails.
    pub(crate) fn shut(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both); // it listens: this cannot fail
    }

    /// Gives the listener up; its address can be filled anew.
    pub(crate) fn close(self) -> Arc<SockAddr> {
        self.target
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.target.as_socket()).finish()
    }
}

/// Never SO_REUSEPORT: with it, another listener of the same user shares our port and takes connections. SO_REUSEADDR not before
/// the bind: with it, the kernel looks for a free port in half of those for listeners, and for long when that half is full.
///
/// Also tells how long the kernel has searched, where it was the one who chose.
fn listen_at_any_port(plan: &Plan, nonblocking: bool) -> Result<(Socket, Option<Duration>)> {
    let socket = open_socket(plan, nonblocking)?;
    let begin = Instant::now();
    if let Err(error) = socket.bind(&SocketAddr::new(plan.address, 0).into()) {
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
    if plan.reuse_address {
        socket.set_reuse_address(true).map_err(Step::SetOption.failed())?;
    }
    socket.listen(BACKLOG as i32).map_err(Step::Listen.failed())?;
    Ok((socket, Some(took)))
}

/// Where TIME_WAIT has filled the ports for listeners: at one of them all the same. `None` where it has not, and where none is
/// found soon.
fn listen_at_a_named_port(plan: &Plan, nonblocking: bool) -> Result<Option<Socket>> {
    if !plan.reuse_address {
        return Ok(None);
    }
    for port in ports::named() {
        let socket = open_socket(plan, nonblocking)?;
        socket.set_reuse_address(true).map_err(Step::SetOption.failed())?;
        let bound = socket.bind(&SocketAddr::new(plan.address, port).into());
        // Whoever else names the same port at the same moment is in the way of the listen only.
        if bound.and_then(|()| socket.listen(BACKLOG as i32)).is_ok() {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

/// Opens a socket to connect with.
pub(crate) fn open_connecting(plan: &Plan, nonblocking: bool) -> Result<Socket> {
    let socket = open_socket(plan, nonblocking)?;
    place(&socket, plan)?;
    Ok(socket)
}

/// Opens a socket in the engine's mode, close-on-exec.
pub(crate) fn open_unprepared(plan: &Plan, nonblocking: bool) -> Result<Socket> {
    let kind = if nonblocking { Type::STREAM.nonblocking() } else { Type::STREAM };
    Socket::new(domain_of(plan), kind, None).map_err(Step::Socket.failed())
}

/// Makes such a socket one to connect with.
pub(crate) fn prepared(socket: Socket, plan: &Plan) -> Result<Socket> {
    set_out(&socket, plan)?;
    place(&socket, plan)?;
    Ok(socket)
}

/// The address family of a plan's sockets.
pub(crate) fn domain_of(plan: &Plan) -> Domain {
    Domain::for_address(SocketAddr::new(plan.address, 0))
}

/// Binds it where it would connect from elsewhere: towards another address of 127.0.0.0/8 the kernel takes 127.0.0.1.
fn place(socket: &Socket, plan: &Plan) -> Result<()> {
    if plan.address != IpAddr::V4(Ipv4Addr::LOCALHOST) && plan.address.is_ipv4() {
        // The port is chosen by the connect, which need not keep it from other listeners' connections.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true).map_err(Step::SetOption.failed())?;
        socket.bind(&SocketAddr::new(plan.address, 0).into()).map_err(Step::Bind.failed())?;
    }
    Ok(())
}

/// Opens a socket as both ends begin: [set out](set_out).
fn open_socket(plan: &Plan, nonblocking: bool) -> Result<Socket> {
    let socket = open_unprepared(plan, nonblocking)?;
    set_out(&socket, plan)?;
    Ok(socket)
}

/// Makes a socket resetting, with the options that must be there before the connection is (a window cannot grow later beyond
/// what the handshake said). What is set on the listener is inherited by the sockets that it accepts, zero linger among it:
/// so even a half-made pair, or a stranger, is closed by a reset.
fn set_out(socket: &Socket, plan: &Plan) -> Result<()> {
    let set = || {
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(bytes) = plan.recv_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = plan.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        match plan.nodelay {
            Some(nodelay) => socket.set_tcp_nodelay(nodelay),
            None => Ok(()),
        }
    };
    set().map_err(Step::SetOption.failed())
}

fn refilled(spare: Option<Arc<SockAddr>>, address: SockAddr) -> Arc<SockAddr> {
    let Some(mut spare) = spare else { return Arc::new(address) };
    match Arc::get_mut(&mut spare) {
        Some(place) => {
            *place = address;
            spare
        }
        None => Arc::new(address),
    }
}

//! Addresses for code that dials: each treats its clients in one way.
//!
//! | a client that connects there | endpoint |
//! |---|---|
//! | gets `ECONNREFUSED` | [`refusing`] |
//! | waits for the handshake, until [`release`](Hanging::release) | [`hanging`] |
//! | is connected, and never gets an answer | [`silent`] |
//! | is connected, and reset: at once, or after some bytes | [`resetting`] |
//! | is connected to a stream that you accept | [`accepting`] |
//!
//! ```
//! use std::io::ErrorKind;
//! use std::net::TcpStream;
//!
//! # fn main() -> ringpair::Result<()> {
//! let refusing = ringpair::endpoint::refusing()?;
//! let error = TcpStream::connect(refusing.addr()).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
//! # Ok(())
//! # }
//! ```
//!
//! Each endpoint is one value: `addr()` returns its address, and dropping it ends it at once and closes all of its connections.
//! [`EndpointOptions`] sets the address, the port and more. Only loopback addresses are allowed. Any process of the host can
//! connect to an endpoint; it cannot be told from your client.
//!
//! For a server that plays a script, see [`mocket`](crate::mocket). To break a connection later on, see [`link`](crate::link).

mod accepting;
pub(crate) mod background;
mod passive;
mod resetting;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

pub use self::accepting::Accepting;
pub use self::passive::{Hanging, Refusing, Silent};
pub use self::resetting::Resetting;
use crate::error::{Result, Step};
use crate::options::{FinalLinger, Linger, checked};

/// Connections that the kernel completes before they are accepted; `net.core.somaxconn` may lower it.
const BACKLOG: i32 = 1024;

/// Opens an address that refuses with `ECONNREFUSED`. As [`EndpointOptions::refusing`] with the default options.
///
/// # Errors
///
/// As [`EndpointOptions::refusing`].
pub fn refusing() -> Result<Refusing> {
    EndpointOptions::new().refusing()
}

/// Opens an address where a connect waits. As [`EndpointOptions::hanging`] with the default options.
///
/// # Errors
///
/// As [`EndpointOptions::hanging`].
pub fn hanging() -> Result<Hanging> {
    EndpointOptions::new().hanging()
}

/// Opens an address that connects and never answers. As [`EndpointOptions::silent`] with the default options.
///
/// # Errors
///
/// As [`EndpointOptions::silent`].
pub fn silent() -> Result<Silent> {
    EndpointOptions::new().silent()
}

/// Opens an address that connects and resets at once. As [`EndpointOptions::resetting`] with the default options.
///
/// # Errors
///
/// As [`EndpointOptions::resetting`].
pub fn resetting() -> Result<Resetting> {
    EndpointOptions::new().resetting()
}

/// Opens an address whose connections are handed out as streams. As [`EndpointOptions::accepting`] with the default options.
///
/// # Errors
///
/// As [`EndpointOptions::accepting`].
pub fn accepting() -> Result<Accepting> {
    EndpointOptions::new().accepting()
}

/// The options of endpoints.
///
/// ```
/// use std::net::{Ipv6Addr, TcpStream};
///
/// use ringpair::endpoint::EndpointOptions;
///
/// # fn main() -> ringpair::Result<()> {
/// let resetting = EndpointOptions::new().after(4).resetting()?; // reset when four bytes have arrived
/// let client = TcpStream::connect(resetting.addr()).unwrap();
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    address: IpAddr,
    port: u16,
    timeout: Duration,
    linger: Linger,
    after: usize,
}

impl EndpointOptions {
    /// Creates the default options: 127.0.0.1, a port that the kernel chooses, a timeout of ten seconds, reset on close.
    pub fn new() -> Self {
        EndpointOptions {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            timeout: Duration::from_secs(10),
            linger: Linger::Reset,
            after: 0,
        }
    }

    /// Sets the address: any of 127.0.0.0/8, or `::1`. Default: 127.0.0.1.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the port. Default: 0, and the kernel chooses one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets how long [`Accepting::accept`] waits for a connection. Default: ten seconds. Zero is refused.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets what closing a stream of [`Accepting`] does. Default: [`Linger::Reset`], as for pairs.
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Sets how many bytes [`Resetting`] reads from a connection before it resets. Default: 0, at once.
    pub fn after(mut self, bytes: usize) -> Self {
        self.after = bytes;
        self
    }

    /// Opens an address that refuses: a socket is bound there but does not listen. No other process can take the port meanwhile.
    ///
    /// # Errors
    ///
    /// [`Step::Options`] before anything is opened; [`Step::Socket`]; [`Step::Bind`], `EADDRINUSE` if the port is taken;
    /// [`Step::Verify`] if the socket was bound to another address.
    ///
    /// # Source
    ///
    /// `bind(2)`, and `tcp(7)`: a SYN to a port without a listener is answered by RST.
    pub fn refusing(&self) -> Result<Refusing> {
        let (socket, addr) = self.bind(false)?;
        Ok(Refusing { _socket: socket, addr })
    }

    /// Opens an address where a connect waits, with its SYN unanswered, until [`Hanging::release`].
    ///
    /// # Errors
    ///
    /// As [`refusing`](EndpointOptions::refusing), and [`Step::Listen`]; [`Step::SetOption`] if the kernel refuses the option.
    ///
    /// # Source
    ///
    /// `IP_MINTTL` of `ip(7)` and `IPV6_MINHOPCOUNT`, at 255, on a listener: the kernel drops each SYN.
    pub fn hanging(&self) -> Result<Hanging> {
        let (socket, addr) = self.bind(true)?;
        Hanging::listen(socket, addr)
    }

    /// Opens an address that connects, and then neither reads nor answers. Up to 1,024 clients are connected.
    ///
    /// # Errors
    ///
    /// As [`refusing`](EndpointOptions::refusing), and [`Step::Listen`].
    ///
    /// # Source
    ///
    /// `listen(2)`: the kernel completes handshakes by itself, and keeps what arrives until the buffer is full.
    pub fn silent(&self) -> Result<Silent> {
        let (socket, addr) = self.bind(true)?;
        listen(&socket)?;
        Ok(Silent { _listener: socket, addr })
    }

    /// Opens an address that connects, and resets [`after`](EndpointOptions::after) some bytes. Starts a thread.
    ///
    /// # Errors
    ///
    /// As [`silent`](EndpointOptions::silent), and [`Step::Socket`] if the thread cannot be started.
    ///
    /// # Source
    ///
    /// `SO_LINGER {1, 0}` of `socket(7)`, and `close(2)`.
    pub fn resetting(&self) -> Result<Resetting> {
        let (listener, addr) = self.listen_nonblocking()?;
        Resetting::start(listener, addr, self.after)
    }

    /// Opens an address whose connections are handed out as streams, in the order in which they came.
    ///
    /// # Errors
    ///
    /// As [`silent`](EndpointOptions::silent).
    ///
    /// # Source
    ///
    /// `listen(2)`.
    pub fn accepting(&self) -> Result<Accepting> {
        let linger = self.checked()?;
        let (listener, addr) = self.listen_nonblocking()?;
        if let Some(linger) = linger {
            listener.set_linger(linger.0).map_err(Step::SetOption.failed())?; // accepted sockets inherit it
        }
        Ok(Accepting { listener, addr, timeout: self.timeout })
    }

    /// Opens a listener whose connections close by a reset.
    pub(crate) fn listen_nonblocking(&self) -> Result<(Socket, SocketAddr)> {
        let (socket, addr) = self.bind(true)?;
        socket.set_nonblocking(true).map_err(Step::SetOption.failed())?;
        listen(&socket)?;
        Ok((socket, addr))
    }

    fn checked(&self) -> Result<Option<FinalLinger>> {
        checked(self.address, self.timeout, self.linger)
    }

    /// Checks the options, and binds a socket whose connections close by a reset.
    fn bind(&self, will_listen: bool) -> Result<(Socket, SocketAddr)> {
        self.checked()?;
        let wanted = SocketAddr::new(self.address, self.port);
        let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None).map_err(Step::Socket.failed())?;
        socket.set_linger(Some(Duration::ZERO)).map_err(Step::SetOption.failed())?;
        // A listener may use a port in TIME_WAIT. A port that refuses must not be shared.
        socket.set_reuse_address(will_listen && self.port != 0).map_err(Step::SetOption.failed())?;
        socket.bind(&wanted.into()).map_err(Step::Bind.failed())?;
        socket.set_reuse_address(will_listen).map_err(Step::SetOption.failed())?; // its TIME_WAITs inherit this
        let bound = socket.local_addr().map_err(Step::Verify.failed())?.as_socket();
        match bound {
            Some(bound) if bound.ip() == wanted.ip() && (self.port == 0 || bound.port() == self.port) => {
                Ok((socket, bound))
            }
            _ => {
                let why = format!("the socket is bound to {bound:?}, and not to {wanted}: something redirects bind(2)");
                Err(Step::Verify.refused(io::ErrorKind::Other, why))
            }
        }
    }
}

impl Default for EndpointOptions {
    fn default() -> Self {
        EndpointOptions::new()
    }
}

fn listen(socket: &impl AsFd) -> Result<()> {
    SockRef::from(socket).listen(BACKLOG).map_err(Step::Listen.failed())
}

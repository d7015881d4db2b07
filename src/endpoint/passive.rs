//! Endpoints for which the kernel does all the work.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::Socket;

use super::listen;
use crate::error::{Result, Step};
use crate::sockets::{FULL_HOPS, set_min_hops};

/// An address that refuses; see [`EndpointOptions::refusing`](super::EndpointOptions::refusing).
///
/// ```
/// use std::io::ErrorKind;
/// use std::net::{TcpListener, TcpStream};
///
/// let refusing = ringpair::endpoint::refusing().unwrap();
/// assert_eq!(TcpStream::connect(refusing.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
/// assert_eq!(TcpListener::bind(refusing.addr()).unwrap_err().kind(), ErrorKind::AddrInUse);
/// ```
#[derive(Debug)]
pub struct Refusing {
    pub(super) _socket: Socket,
    pub(super) addr: SocketAddr,
}

impl Refusing {
    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// An address where a connect waits; see [`EndpointOptions::hanging`](super::EndpointOptions::hanging).
///
/// ```
/// use std::io::ErrorKind;
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// let hanging = ringpair::endpoint::hanging().unwrap();
/// let timeout = Duration::from_millis(50);
/// assert_eq!(TcpStream::connect_timeout(&hanging.addr(), timeout).unwrap_err().kind(), ErrorKind::TimedOut);
///
/// hanging.release().unwrap();
/// TcpStream::connect(hanging.addr()).unwrap(); // from now on it is connected, and never answered
/// ```
#[derive(Debug)]
pub struct Hanging {
    listener: Socket,
    addr: SocketAddr,
}

impl Hanging {
    pub(super) fn listen(listener: Socket, addr: SocketAddr) -> Result<Hanging> {
        set_min_hops(listener.as_fd(), addr, FULL_HOPS).map_err(Step::SetOption.failed())?;
        listen(&listener)?;
        Ok(Hanging { listener, addr })
    }

    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets connects succeed. A waiting connect succeeds when the kernel resends its SYN: 1, 3, 7, 15… seconds after it began.
    ///
    /// # Errors
    ///
    /// The errno of `setsockopt(2)`.
    pub fn release(&self) -> io::Result<()> {
        set_min_hops(self.listener.as_fd(), self.addr, 0)
    }
}

/// An address that connects and never answers; see [`EndpointOptions::silent`](super::EndpointOptions::silent). Dropping it
/// resets its clients.
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// let silent = ringpair::endpoint::silent().unwrap();
/// let mut client = TcpStream::connect(silent.addr()).unwrap();
/// client.write_all(b"anyone there?").unwrap();
/// client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
/// assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
/// ```
#[derive(Debug)]
pub struct Silent {
    pub(super) _listener: Socket,
    pub(super) addr: SocketAddr,
}

impl Silent {
    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

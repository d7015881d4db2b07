//! An endpoint that resets its connections, in a thread of its own.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::poll::PollTimeout;
use nix::sys::eventfd::EventFd;
use socket2::Socket;

use super::background::{Background, wait_for};
use crate::error::{Result, Step};
use crate::sockets::is_of_the_connection;

/// An address that connects and resets; see [`EndpointOptions::resetting`](super::EndpointOptions::resetting).
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
/// use std::net::TcpStream;
/// use ringpair::endpoint::EndpointOptions;
///
/// let resetting = EndpointOptions::new().after(4).resetting().unwrap();
/// let mut client = TcpStream::connect(resetting.addr()).unwrap();
/// client.write_all(b"ping").unwrap();
/// assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
/// ```
pub struct Resetting {
    addr: SocketAddr,
    _thread: Background<()>,
}

impl Resetting {
    pub(super) fn start(listener: Socket, addr: SocketAddr, after: usize) -> Result<Resetting> {
        let mut server = Server { listener, after, clients: Vec::new() };
        let serve = move |stop: &EventFd| while server.serve_once(stop) {};
        let thread = Background::start("ringpair-reset", serve).map_err(Step::Socket.failed())?;
        Ok(Resetting { addr, _thread: thread })
    }

    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl fmt::Debug for Resetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resetting").field("addr", &self.addr).finish()
    }
}

struct Server {
    listener: Socket,
    after: usize,
    clients: Vec<Client>,
}

/// A connection, and how many bytes it may still send.
struct Client {
    socket: Socket,
    left: usize,
}

/// Without free descriptors, the pause before the thread accepts again, in milliseconds.
const WITHOUT_DESCRIPTORS: u16 = 10;

impl Server {
    /// Serves all clients, then waits for events. False at the end.
    fn serve_once(&mut self, stop: &EventFd) -> bool {
        let has_descriptors = self.accept_all().is_ok();
        self.clients.retain_mut(Client::goes_on); // dropping a client resets it
        let timeout = if has_descriptors { PollTimeout::NONE } else { PollTimeout::from(WITHOUT_DESCRIPTORS) };
        let listener = has_descriptors.then_some(self.listener.as_fd());
        let clients = self.clients.iter().map(|client| client.socket.as_fd());
        let descriptors = [stop.as_fd()].into_iter().chain(listener).chain(clients);
        !wait_for(descriptors.map(|descriptor| (descriptor, false)), timeout)
    }

    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) if socket.set_nonblocking(true).is_ok() => {
                    self.clients.push(Client { socket, left: self.after });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Client {
    /// Reads what has arrived. False when it is time to reset.
    fn goes_on(&mut self) -> bool {
        let mut bytes = [0; 4096];
        while self.left > 0 {
            let max = self.left.min(bytes.len());
            match self.socket.read(&mut bytes[..max]) {
                Ok(0) => return false, // the client has shut down, so the rest never arrives
                Ok(count) => self.left -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }
}

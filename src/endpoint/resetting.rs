//! An endpoint that resets its connections, in a thread of its own.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow};
use socket2::Socket;

use crate::error::{Result, Step};
use crate::hazards::fork::Token;

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
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    token: Token,
}

impl Resetting {
    pub(super) fn start(listener: Socket, addr: SocketAddr, after: usize) -> Result<Resetting> {
        listener.set_nonblocking(true).map_err(Step::SetOption.failed())?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let stop = EventFd::from_flags(flags).map_err(|errno| Step::Socket.failed()(io::Error::from(errno)))?;
        let stop = Arc::new(stop);
        let server = Server { listener, stop: Arc::clone(&stop), after, clients: Vec::new() };
        let thread = spawn(server).map_err(Step::Socket.failed())?;
        Ok(Resetting { addr, stop, thread: Some(thread), token: Token::current() })
    }

    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The thread inherits the mask: signals of the program are handled by the program's own threads.
fn spawn(mut server: Server) -> io::Result<JoinHandle<()>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = thread::Builder::new().name("ringpair-reset".into()).spawn(move || while server.serve_once() {});
    before.thread_set_mask()?;
    started
}

impl Drop for Resetting {
    fn drop(&mut self) {
        // A forked child has no such thread.
        if let Some(thread) = self.thread.take().filter(|_| self.token.is_current()) {
            let _ = self.stop.write(1);
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Resetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resetting").field("addr", &self.addr).finish()
    }
}

struct Server {
    listener: Socket,
    stop: Arc<EventFd>,
    after: usize,
    clients: Vec<Client>,
}

/// A connection, and how many bytes it may still send.
struct Client {
    socket: Socket,
    left: usize,
}

/// How long the thread waits for a descriptor, in milliseconds.
const WITHOUT_DESCRIPTORS: u16 = 10;

impl Server {
    /// Waits for something to do, and does it. False at the end.
    fn serve_once(&mut self) -> bool {
        let timeout = match self.accept_all() {
            Ok(()) => PollTimeout::NONE,
            Err(_) => PollTimeout::from(WITHOUT_DESCRIPTORS), // none is free
        };
        self.clients.retain_mut(Client::goes_on); // a client that is dropped is reset
        let listener = (timeout == PollTimeout::NONE).then_some(self.listener.as_fd());
        let clients = self.clients.iter().map(|client| client.socket.as_fd());
        let descriptors = [self.stop.as_fd()].into_iter().chain(listener).chain(clients);
        let mut polled: Vec<_> = descriptors.map(readable).collect();
        let _ = poll(&mut polled, timeout); // EINTR is an empty look
        !polled[0].any().unwrap_or(false)
    }

    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) if socket.set_nonblocking(true).is_ok() => {
                    self.clients.push(Client { socket, left: self.after });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if [ErrorKind::ConnectionAborted, ErrorKind::Interrupted].contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn readable(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::POLLIN)
}

impl Client {
    /// Reads what is there. False when it is time to reset.
    fn goes_on(&mut self) -> bool {
        let mut bytes = [0; 4096];
        while self.left > 0 {
            let most = self.left.min(bytes.len());
            match self.socket.read(&mut bytes[..most]) {
                Ok(0) => return false, // as many bytes will never arrive
                Ok(count) => self.left -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }
}

//! A script on real TCP, for a client that dials.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sys::eventfd::EventFd;
use socket2::Socket;

use super::{Mismatch, MismatchKind, Script, Turn};
use crate::endpoint::EndpointOptions;
use crate::endpoint::background::{Background, wait_for};
use crate::sockets::is_of_the_connection;
use crate::wait::millis_until;

/// Serves one connection by a script, on 127.0.0.1 and in a thread of its own: an address for code that dials by itself.
///
/// The script is the same as for a [`Mocket`](super::Mocket), seen from the client: what it must [`expect`](Script::expect) to
/// write, and what is [`provide`](Script::provide)d for it to read. [`end_of_file`](Script::end_of_file) sends FIN,
/// [`reset`](Script::reset) and every other error send RST. After the last step the server stays silent.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use ringpair::mocket::{Script, serve};
///
/// let served = serve(Script::new().expect("GET /").then().provide("half of the ans").reset()).unwrap();
///
/// // The code under test.
/// let mut client = TcpStream::connect(served.addr()).unwrap();
/// client.write_all(b"GET /").unwrap();
/// let mut answer = Vec::new();
/// client.read_to_end(&mut answer).unwrap_err(); // it was reset
/// assert_eq!(answer, b"half of the ans");
///
/// served.finish().unwrap(); // everything was read and written
/// ```
///
/// # Errors
///
/// The errno of the call that failed to open the listener, or to start the thread.
///
/// # Source
///
/// `listen(2)`, `accept4(2)`; a reset is `SO_LINGER {1, 0}` and `close(2)`.
pub fn serve(script: Script) -> io::Result<Served> {
    serve_all([script])
}

/// Serves a script to each connection in turn: the first script to the first connection, and so on. A connection beyond the last
/// script is reset, and a mismatch.
///
/// ```
/// use std::io::Read;
/// use std::net::TcpStream;
/// use ringpair::mocket::{Script, serve_all};
///
/// let served = serve_all([Script::new().reset(), Script::new().provide("ok").end_of_file()]).unwrap();
/// let mut answer = String::new();
/// while answer.is_empty() {
///     // A client that tries again.
///     let _ = TcpStream::connect(served.addr()).and_then(|mut client| client.read_to_string(&mut answer));
/// }
/// assert_eq!(answer, "ok");
/// served.finish().unwrap();
/// ```
///
/// # Errors
///
/// As [`serve`].
///
/// # Source
///
/// As [`serve`].
pub fn serve_all(scripts: impl IntoIterator<Item = Script>) -> io::Result<Served> {
    let (listener, addr) = EndpointOptions::new().listen_nonblocking().map_err(io::Error::from)?;
    let mut server = Server { listener, scripts: scripts.into_iter().collect(), clients: Vec::new(), mismatch: None };
    server.scripts.reverse(); // the next one is the last
    let thread = Background::start("ringpair-serve", move |stop| server.serve(stop))?;
    Ok(Served { addr, thread })
}

/// A server that plays scripts; see [`serve`].
///
/// Dropping it without [`finish`](Served::finish) panics if a script is not used up or the client has diverged from it, unless
/// the thread is panicking already.
pub struct Served {
    addr: SocketAddr,
    thread: Background<Result<(), Mismatch>>,
}

impl Served {
    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends the server, closes its connections, and checks that all scripts are used up. What the client has sent by now
    /// counts; what it sends later does not.
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`] of any connection.
    pub fn finish(mut self) -> Result<(), Mismatch> {
        self.thread.end().unwrap_or(Ok(()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(Err(mismatch)) = self.thread.end() {
            if !std::thread::panicking() {
                panic!("a served script was dropped unverified: {mismatch}");
            }
        }
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("addr", &self.addr).finish()
    }
}

struct Server {
    listener: Socket,
    /// Those that no connection has got yet, the next one last.
    scripts: Vec<Script>,
    clients: Vec<Client>,
    mismatch: Option<Mismatch>,
}

/// How long the thread waits for a descriptor.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(10);

impl Server {
    /// Serves until it is stopped, then takes what has arrived by then.
    fn serve(&mut self, stop: &EventFd) -> Result<(), Mismatch> {
        while !self.serve_once(stop) {}
        let _ = self.accept_all();
        for client in &mut self.clients {
            client.go_on();
        }
        let left = self.clients.iter().map(|client| &client.script).chain(self.scripts.iter().rev());
        left.fold(self.mismatch.take().map_or(Ok(()), Err), |verdict, script| verdict.and_then(|()| script.verify()))
    }

    /// Does what there is to do, and waits for more. True if it is to stop.
    fn serve_once(&mut self, stop: &EventFd) -> bool {
        let has_descriptors = self.accept_all().is_ok();
        for client in &mut self.clients {
            client.go_on();
        }
        let without = (!has_descriptors).then(|| Instant::now() + WITHOUT_DESCRIPTORS);
        let until = self.clients.iter().filter_map(Client::waits_until).chain(without).min();
        let listener = has_descriptors.then_some((self.listener.as_fd(), false));
        let clients = self.clients.iter().filter_map(Client::waits_for);
        let timeout = until.map_or(PollTimeout::NONE, |until| PollTimeout::from(millis_until(until)));
        wait_for([(stop.as_fd(), false)].into_iter().chain(listener).chain(clients), timeout)
    }

    fn accept_all(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => self.begin(socket)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn begin(&mut self, socket: Socket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match self.scripts.pop() {
            Some(mut script) => {
                script.hold_open(); // silent after its last step
                self.clients.push(Client::new(socket, script));
            }
            None => {
                let head = format!("a connection after the last of {} scripts", self.clients.len());
                let mismatch = Mismatch::with_lines(MismatchKind::UnexpectedConnection, 0, head, Vec::new());
                self.mismatch.get_or_insert(mismatch);
            }
        }
        Ok(())
    }
}

/// A connection that plays its script.
struct Client {
    /// Gone once the connection was reset or is over.
    socket: Option<Socket>,
    script: Script,
    /// What has arrived, and the script has not taken yet.
    arrived: Vec<u8>,
    /// What the script has provided, and the socket has not taken yet.
    provided: Vec<u8>,
    /// When the delay of a read, and of a write, is over.
    late: [Option<Instant>; 2],
    /// The client has ended its direction, and the script has been told.
    has_ended: bool,
    was_told: bool,
    has_sent_fin: bool,
}

const READ: usize = 0;
const WRITE: usize = 1;

impl Client {
    fn new(socket: Socket, script: Script) -> Client {
        Client {
            socket: Some(socket),
            script,
            arrived: Vec::new(),
            provided: Vec::new(),
            late: [None; 2],
            has_ended: false,
            was_told: false,
            has_sent_fin: false,
        }
    }

    /// Goes on until everything waits: for the client, or for a delay. The connection closes by a reset if the script says so, or
    /// the client diverges from it.
    fn go_on(&mut self) {
        while self.socket.is_some() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => self.socket = None, // zero linger: a reset
            }
        }
    }

    /// Provides what the script has ready, and only then takes what has arrived: no client can answer what it has not been sent.
    /// Returns whether something moved, and an error to reset the connection.
    fn step(&mut self) -> io::Result<bool> {
        let provided = self.provide()? | self.send()?;
        Ok(provided || self.receive()? | self.take()?)
    }

    /// Reads what the client has sent.
    fn receive(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.has_ended && self.arrived.is_empty()) else {
            return Ok(false);
        };
        let mut bytes = [0; 16384];
        match socket.read(&mut bytes) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.arrived.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Lets the script take what has arrived, and the end of it.
    fn take(&mut self) -> io::Result<bool> {
        if self.is_late(WRITE) || (self.arrived.is_empty() && (!self.has_ended || self.was_told)) {
            return Ok(false);
        }
        let turn = if self.arrived.is_empty() { self.script.shutdown() } else { self.script.write(&self.arrived) };
        match turn {
            Turn::Moved(_) if self.arrived.is_empty() => self.was_told = true,
            Turn::Moved(count) => drop(self.arrived.drain(..count)),
            Turn::Wait(delay) => self.late[WRITE] = Instant::now().checked_add(delay),
            Turn::Fails(error) => return Err(error),
            Turn::EndOfFile | Turn::NotYet | Turn::PassThrough { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Takes what the script provides next.
    fn provide(&mut self) -> io::Result<bool> {
        if self.is_late(READ) || self.has_sent_fin || !self.provided.is_empty() {
            return Ok(false);
        }
        let mut bytes = [0; 16384];
        match self.script.read(&mut bytes) {
            Turn::Moved(count) => self.provided.extend_from_slice(&bytes[..count]),
            Turn::EndOfFile => {
                self.has_sent_fin = true;
                if let Some(socket) = &self.socket {
                    socket.shutdown(Shutdown::Write)?;
                }
            }
            Turn::Wait(delay) => self.late[READ] = Instant::now().checked_add(delay),
            Turn::Fails(error) => return Err(error),
            Turn::NotYet | Turn::PassThrough { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Sends what was provided.
    fn send(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.provided.is_empty()) else { return Ok(false) };
        match socket.write(&self.provided) {
            Ok(count) => drop(self.provided.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Whether the delay of this direction lasts. Tells the script when it is over.
    fn is_late(&mut self, direction: usize) -> bool {
        match self.late[direction] {
            None => false,
            Some(until) if until > Instant::now() => true,
            Some(_) => {
                self.late[direction] = None;
                match direction {
                    READ => self.script.read_delay_is_over(),
                    _ => self.script.write_delay_is_over(),
                }
                false
            }
        }
    }

    fn waits_until(&self) -> Option<Instant> {
        self.socket.as_ref()?;
        self.late.iter().flatten().min().copied()
    }

    fn waits_for(&self) -> Option<(std::os::fd::BorrowedFd<'_>, bool)> {
        let socket = self.socket.as_ref()?;
        let (reads, writes) = (!self.has_ended && self.arrived.is_empty(), !self.provided.is_empty());
        (reads || writes).then(|| (socket.as_fd(), writes))
    }
}

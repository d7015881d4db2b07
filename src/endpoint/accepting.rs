//! An endpoint that hands out its connections.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::error::{Error, Result, Step};
use crate::sockets::is_of_the_connection;
use crate::streams::PairSocket;
use crate::wait::{Deadline, Waiting, block_on};

/// An address whose connections are handed out; see [`EndpointOptions::accepting`](super::EndpointOptions::accepting).
/// Dropping it resets the clients that were not accepted.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let server = ringpair::endpoint::accepting().unwrap();
/// let mut client = TcpStream::connect(server.addr()).unwrap(); // the code under test
/// let mut accepted = server.accept_blocking::<TcpStream>().unwrap();
/// accepted.write_all(b"hello").unwrap();
/// let mut read = [0; 5];
/// client.read_exact(&mut read).unwrap();
/// assert_eq!(&read, b"hello");
/// ```
#[derive(Debug)]
pub struct Accepting {
    pub(super) listener: Socket,
    pub(super) addr: SocketAddr,
    pub(super) timeout: Duration,
}

impl Accepting {
    /// Returns the address to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next connection, in any executor. Several calls can wait at once.
    ///
    /// # Errors
    ///
    /// [`Step::Timeout`] if nothing connects within [`EndpointOptions::timeout`](super::EndpointOptions::timeout);
    /// [`Step::Accept`], for example with `EMFILE`; [`Step::Convert`] if the stream cannot be made.
    ///
    /// # Source
    ///
    /// `accept4(2)`, and `epoll(7)` to wait.
    pub async fn accept<S: PairSocket>(&self) -> Result<S> {
        let mut call = AcceptCall { endpoint: self, deadline: Deadline::after(self.timeout), listener: None };
        let accepted = poll_fn(|context| call.poll(context)).await?;
        drop(call);
        S::from_fd(accepted).map_err(Step::Convert.failed())
    }

    /// Waits for the next connection, without a runtime.
    ///
    /// # Errors
    ///
    /// As [`accept`](Accepting::accept).
    ///
    /// # Source
    ///
    /// `accept4(2)`, and `poll(2)` to wait.
    pub fn accept_blocking<S: PairSocket>(&self) -> Result<S> {
        let mut deadline = Deadline::after(self.timeout);
        loop {
            if let Some(accepted) = self.take()? {
                return S::from_fd(accepted).map_err(Step::Convert.failed());
            }
            let until = self.time_left(&mut deadline)?;
            block_on(self.listener.as_fd(), until).map_err(Step::Accept.failed())?;
        }
    }

    /// Accepts a waiting connection, if there is one.
    fn take(&self) -> Result<Option<OwnedFd>> {
        loop {
            match self.listener.accept() {
                Ok((accepted, _)) => return Ok(Some(accepted.into())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => return Err(Step::Accept.failed()(error)),
            }
        }
    }

    fn time_left(&self, deadline: &mut Deadline) -> Result<Instant> {
        deadline.start().ok_or_else(|| nothing_came(self.timeout))
    }
}

/// A call that waits for a connection.
struct AcceptCall<'a> {
    endpoint: &'a Accepting,
    deadline: Deadline,
    /// A duplicate, opened when the call must wait: several calls may wait, and an epoll takes each descriptor once.
    listener: Option<(Socket, Waiting)>,
}

impl AcceptCall<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<OwnedFd>> {
        if let Some(accepted) = self.endpoint.take()? {
            return Poll::Ready(Ok(accepted));
        }
        let until = self.endpoint.time_left(&mut self.deadline)?;
        if self.listener.is_none() {
            let duplicate = self.endpoint.listener.try_clone().map_err(Step::Accept.failed())?;
            self.listener = Some((duplicate, Waiting::default()));
        }
        if let Some((listener, waiting)) = &mut self.listener {
            waiting.arrange(context, Some(listener.as_fd()), until);
        }
        Poll::Pending
    }
}

impl Drop for AcceptCall<'_> {
    fn drop(&mut self) {
        if let Some((listener, waiting)) = &mut self.listener {
            waiting.end(Some(listener.as_fd()));
        }
    }
}

fn nothing_came(timeout: Duration) -> Error {
    Step::Timeout.refused(ErrorKind::TimedOut, format!("after {timeout:?} nothing has connected to the endpoint"))
}

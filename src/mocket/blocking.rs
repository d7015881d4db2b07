//! The blocking face: `Read` and `Write`.

use std::io::{self, Read, Write};

use super::delays::Direction;
use super::stage::Call;
use super::{Mocket, NoSocket, Turn, closed};

/// Blocks during a delay of the script, where the socket does, and while a handle may provide more. A read before its turn fails:
/// no other thread can write meanwhile.
impl<S: Read> Read for Mocket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stage.begin(Call::Read)?;
        let mut until = None;
        loop {
            match self.stage.read(buffer) {
                Turn::Moved(size) => return Ok(size),
                Turn::EndOfFile => return Ok(0),
                Turn::Fails(error) => return Err(error),
                Turn::NotYet if self.stage.wait_for_handles(&mut until) => {}
                Turn::NotYet => return Err(self.stage.refuse_early_read()),
                Turn::Wait(late) => {
                    std::thread::sleep(late);
                    self.stage.delay_is_over(Direction::Read);
                }
                Turn::PassThrough { at_most } => {
                    let size = at_most.min(buffer.len());
                    let size = self.socket_mut()?.read(&mut buffer[..size])?;
                    self.stage.read_passed(size);
                    return Ok(size);
                }
            }
        }
    }
}

/// Blocks during a delay of the script, and where the socket does.
impl<S: Write> Write for Mocket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stage.begin(Call::Write)?;
        loop {
            match self.stage.write(bytes) {
                Turn::Moved(size) => return Ok(size),
                Turn::Fails(error) => return Err(error),
                Turn::Wait(late) => {
                    std::thread::sleep(late);
                    self.stage.delay_is_over(Direction::Write);
                }
                Turn::PassThrough { at_most } => {
                    let size = at_most.min(bytes.len());
                    let size = self.socket_mut()?.write(&bytes[..size])?;
                    self.stage.write_passed(&bytes[..size]);
                    return Ok(size);
                }
                Turn::EndOfFile | Turn::NotYet => unreachable!("a write was told what only reads are told"),
            }
        }
    }

    /// Flushes the socket; the script takes everything at once.
    fn flush(&mut self) -> io::Result<()> {
        self.stream.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<S: Shut> Mocket<S> {
    /// Shuts down the writing side: in the script if there are steps left, otherwise of the socket.
    ///
    /// ```
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let mut mocket = Mocket::scripted(Script::new().expect_shutdown());
    /// mocket.shut_down_writing().unwrap();
    /// mocket.close().unwrap();
    /// ```
    ///
    /// `Read` and `Write` have no shutdown, so code that is generic over these cannot call it.
    ///
    /// # Errors
    ///
    /// Those of the script or of the socket.
    pub fn shut_down_writing(&mut self) -> io::Result<()> {
        self.stage.begin(Call::Shutdown)?;
        loop {
            match self.stage.shutdown() {
                Turn::Fails(error) => return Err(error),
                Turn::Wait(late) => {
                    std::thread::sleep(late);
                    self.stage.delay_is_over(Direction::Write);
                }
                Turn::PassThrough { .. } => return self.socket()?.shut_down_writing(),
                _ => return Ok(()),
            }
        }
    }
}

/// A blocking stream whose writing side can be shut down by [`Mocket::shut_down_writing`]. Open to other types.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use ringpair::mocket::{MocketOptions, Shut};
///
/// struct Line(UnixStream);
///
/// impl Shut for Line {
///     fn shut_down_writing(&self) -> std::io::Result<()> {
///         self.0.shutdown(std::net::Shutdown::Write)
///     }
/// }
///
/// let (line, mut end) = UnixStream::pair().unwrap();
/// MocketOptions::new().in_front_of(Line(line)).unwrap().shut_down_writing().unwrap();
/// assert_eq!(std::io::read_to_string(&mut end).unwrap(), "");
/// ```
pub trait Shut {
    /// Shuts down the writing side.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`.
    fn shut_down_writing(&self) -> io::Result<()>;
}

impl Shut for std::net::TcpStream {
    fn shut_down_writing(&self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

impl Shut for socket2::Socket {
    fn shut_down_writing(&self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

impl Shut for NoSocket {
    fn shut_down_writing(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Never called: without a socket the script answers every call.
impl Read for NoSocket {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

/// Never called.
impl Write for NoSocket {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(closed())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

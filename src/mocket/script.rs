//! The script of a mocket: what is read, what must be written, and in which order. It does no I/O.
//!
//! A face, which is the code that makes a stream of a script, asks the script at each call and does what the [`Turn`] says.
//! The faces of this crate are those of [`Mocket`](super::Mocket). A face for another family of streams needs only this:
//!
//! ```
//! use ringpair::mocket::{Script, Turn};
//!
//! let mut script = Script::new().expect("ping").then().provide("pong").end_of_file();
//! let mut buffer = [0; 8];
//! assert!(matches!(script.read(&mut buffer), Turn::NotYet)); // first comes the ping
//! assert!(matches!(script.write(b"ping"), Turn::Moved(4)));
//! assert!(matches!(script.read(&mut buffer), Turn::Moved(4)));
//! assert_eq!(&buffer[..4], b"pong");
//! assert!(matches!(script.read(&mut buffer), Turn::EndOfFile));
//! script.verify().unwrap();
//! ```

mod compare;
mod divergence;
mod replay;
mod sizes;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use self::compare::Look;
use self::sizes::Sizes;
use self::step::{Failure, ReadStep, WriteStep};
use super::mismatch::Mismatch;

/// A script: steps for reads, steps for writes, and which of them wait for others.
///
/// Reads and writes are independent: each direction goes through its own steps in order. Steps after [`then`](Script::then)
/// have their turn when all steps before it are done. In an [ordered](Script::ordered) script, each step waits for the one
/// before.
///
/// ```
/// use std::io::{Read, Write};
/// use ringpair::mocket::{Mocket, Script};
///
/// let script = Script::new()
///     .provide("220 ready\r\n")
///     .then()
///     .expect("HELO me\r\n")
///     .then()
///     .provide("250 well met\r\n")
///     .end_of_file();
/// let mut mocket = Mocket::scripted(script);
/// let mut greeting = [0; 11];
/// mocket.read_exact(&mut greeting).unwrap();
/// mocket.write_all(b"HELO me\r\n").unwrap();
/// let mut answer = String::new();
/// mocket.read_to_string(&mut answer).unwrap();
/// assert_eq!(answer, "250 well met\r\n");
/// mocket.close().unwrap();
/// ```
///
/// When the steps of a direction are used up, its calls pass through to the socket. Without a socket, reads return the end of
/// file, and writes are a mismatch. A direction that the script has ended does not pass through any more. After
/// [`expect_shutdown`](Script::expect_shutdown), no later write step has its turn; after [`reset`](Script::reset), no later step
/// at all: such steps are left over.
#[derive(Clone, Debug, Default)]
pub struct Script {
    reads: VecDeque<(u64, ReadStep)>,
    writes: VecDeque<(u64, WriteStep)>,
    /// How many `then`s stand before a step that is added now.
    part: u64,
    /// Each step waits for the one before.
    is_ordered: bool,
    coalesces: bool,
    passes_through: bool,
    /// Reads wait for more at the end of the script.
    is_held_open: bool,
    reads_have_ended: bool,
    writes_have_ended: bool,
    was_reset: bool,
    /// The other end of a pair of mockets has failed: every call fails.
    is_cut_off: bool,
    read_sizes: Sizes,
    write_sizes: Sizes,
    /// Bytes read and written so far, and the last few that were written.
    read: u64,
    written: u64,
    recent: Vec<u8>,
    look: Look,
    /// What the script took.
    captured: Vec<u8>,
    failed: Option<Mismatch>,
}

/// What a face has to do: the answer of a [`Script`] to each call.
///
/// Complete: there will be no further variants, since a face has to handle all of them.
#[derive(Debug)]
pub enum Turn {
    /// Tell the caller that this many bytes were read or written. After a read they are in the buffer. It is 0 only for an
    /// empty buffer or a shutdown.
    Moved(usize),
    /// Tell the reader that this is the end of file.
    EndOfFile,
    /// Return this error to the caller.
    Fails(io::Error),
    /// Wait for this long, call [`read_delay_is_over`](Script::read_delay_is_over) or
    /// [`write_delay_is_over`](Script::write_delay_is_over), and ask again.
    Wait(Duration),
    /// The next read step comes after something that must be written first. Ask again after the next write; or, if no other
    /// task can write meanwhile, fail with [`refuse_early_read`](Script::refuse_early_read).
    NotYet,
    /// Make the call on the socket, with no more bytes than this, and report the outcome to
    /// [`read_passed`](Script::read_passed) or [`write_passed`](Script::write_passed).
    PassThrough {
        /// The number of bytes that may be moved, at least 1.
        at_most: usize,
    },
}

/// Building a script. Nothing happens until a mocket replays it.
impl Script {
    /// Returns a script without steps.
    pub fn new() -> Script {
        Script::default()
    }

    /// Returns an empty script in which each step waits for the step before it, as in `tokio_test::io::Builder`.
    ///
    /// Each step stands in a turn of its own, as if [`then`](Script::then) stood between any two. What is added to a mocket that
    /// began with an ordered script comes in order, too.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use ringpair::mocket::{Mocket, MismatchKind, Script};
    /// let mut hasty = Mocket::scripted(Script::ordered().expect("ping").provide("pong"));
    /// hasty.read(&mut [0; 4]).unwrap_err();
    /// assert_eq!(hasty.verify().unwrap_err().kind(), MismatchKind::ReadEarly);
    /// ```
    pub fn ordered() -> Script {
        Script { is_ordered: true, ..Script::default() }
    }

    /// Lets one read take the bytes of several `provide`s whose turn has come, as much as its buffer holds.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().coalesce().provide("in one ").provide("piece"));
    /// assert_eq!(mocket.read(&mut [0; 100]).unwrap(), 12);
    /// ```
    ///
    /// A read still ends where the order, a delay, an error, an end of file or a size limit says so.
    pub fn coalesce(mut self) -> Script {
        self.coalesces = true;
        self
    }

    /// Adds bytes that are read next. A read takes bytes of one such step only, unless steps are [joined](Script::coalesce).
    ///
    /// ```
    /// # use std::io::Read;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().provide("in two ").provide("pieces"));
    /// assert_eq!(mocket.read(&mut [0; 100]).unwrap(), 7);
    /// assert_eq!(mocket.read(&mut [0; 100]).unwrap(), 6);
    /// ```
    pub fn provide(self, bytes: impl AsRef<[u8]>) -> Script {
        match bytes.as_ref() {
            [] => self,
            bytes => self.with_read(ReadStep::Bytes(bytes.to_vec(), 0)),
        }
    }

    /// Adds bytes that must be written next, in any number of writes.
    ///
    /// A write is compared as a whole, even if [`MocketOptions::max_write_size`](super::MocketOptions::max_write_size)
    /// lets only a part of it through, and must not reach beyond what is expected.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().expect("ping"));
    /// mocket.write_all(b"pi").unwrap();
    /// mocket.write_all(b"ng, and more").unwrap_err();
    /// # mocket.close().unwrap_err();
    /// ```
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Script {
        match bytes.as_ref() {
            [] => self,
            bytes => self.with_write(WriteStep::Bytes(bytes.to_vec(), 0)),
        }
    }

    /// Lets anything be written next, up to this byte and including it. [`Mocket::written`](super::Mocket::written) returns it.
    ///
    /// ```
    /// use std::io::Write;
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let mut mocket = Mocket::scripted(Script::new().expect("Date: ").expect_until(b'\n').expect("\n"));
    /// mocket.write_all(b"Date: today or so\n\n").unwrap();
    /// mocket.close().unwrap();
    /// ```
    pub fn expect_until(self, byte: u8) -> Script {
        self.with_write(WriteStep::Until(byte))
    }

    /// Lets anything be written from here on, or nothing; [`Mocket::written`](super::Mocket::written) returns it.
    ///
    /// Only [`expect_shutdown`](Script::expect_shutdown) can follow: no other write step after this one ever has its turn.
    ///
    /// ```
    /// use std::io::Write;
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let mut mocket = Mocket::scripted(Script::new().expect_anything());
    /// mocket.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    /// assert!(mocket.written().ends_with(b"\r\n\r\n"));
    /// mocket.close().unwrap();
    /// ```
    pub fn expect_anything(self) -> Script {
        self.with_write(WriteStep::Anything)
    }

    /// Makes the steps after this wait until all steps before it are done.
    ///
    /// A read before its turn waits, as it would for a peer that was not asked yet; a blocking read fails, since it would wait
    /// forever. A write before its turn fails: the code should have read first.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use ringpair::mocket::{Mocket, MismatchKind, Script};
    /// let mut hasty = Mocket::scripted(Script::new().provide("220 ready").then().expect("HELO"));
    /// hasty.write_all(b"HELO").unwrap_err();
    /// assert_eq!(hasty.verify().unwrap_err().kind(), MismatchKind::WrittenEarly);
    /// ```
    pub fn then(mut self) -> Script {
        self.part += 1;
        self
    }

    /// Lets the end of file be read next. It stays if it is the last step for reads; otherwise the next read goes on.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use std::net::TcpStream;
    /// # use ringpair::mocket::{Script, make_mocket_pair_blocking};
    /// let (mut mocket, _peer) = make_mocket_pair_blocking::<TcpStream>().unwrap();
    /// mocket.play(Script::new().provide("half a l").end_of_file());
    /// assert_eq!(std::io::read_to_string(&mut mocket).unwrap(), "half a l"); // though the peer is still there
    /// ```
    pub fn end_of_file(self) -> Script {
        self.with_read(ReadStep::EndOfFile)
    }

    /// Resets the connection when all steps before this are done, as after [`then`](Script::then).
    ///
    /// The next read or write, whichever comes first, fails with `ECONNRESET`. From then on reads return the end of file, writes
    /// fail with `EPIPE` and a shutdown with `ENOTCONN`, as the kernel has it. No later step has its turn.
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let mut mocket = Mocket::scripted(Script::new().expect("GET").reset());
    /// mocket.write_all(b"GET").unwrap();
    /// assert_eq!(mocket.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// assert_eq!(mocket.write(b"GET").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// mocket.close().unwrap();
    /// ```
    pub fn reset(mut self) -> Script {
        self.part += 1;
        self.reads.push_back((self.part, ReadStep::Reset));
        self.writes.push_back((self.part, WriteStep::Reset));
        self.then()
    }

    /// Lets the next read fail once, with this `ErrorKind`, `io::Error` or `Errno`.
    ///
    /// Kind, errno and text are kept. Of a custom error inside the `io::Error`, only the text is kept.
    ///
    /// ```
    /// # use std::io::{ErrorKind, Read};
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().read_error(ErrorKind::Interrupted).provide("x"));
    /// mocket.read_exact(&mut [0]).unwrap(); // tries again, as it should
    /// mocket.close().unwrap();
    /// ```
    pub fn read_error(self, error: impl Into<io::Error>) -> Script {
        self.with_read(ReadStep::Fails(Failure::from(error.into())))
    }

    /// Lets the next write or shutdown fail once, as [`read_error`](Script::read_error) does for reads.
    ///
    /// ```
    /// # use std::io::{Error, Write};
    /// # use ringpair::mocket::{Mocket, Script};
    /// let no_space = Error::from_raw_os_error(105); // ENOBUFS
    /// let mut mocket = Mocket::scripted(Script::new().expect("ab").write_error(no_space).expect("c"));
    /// assert_eq!(mocket.write(b"abc").unwrap(), 2);
    /// assert_eq!(mocket.write(b"c").unwrap_err().raw_os_error(), Some(105));
    /// assert_eq!(mocket.write(b"c").unwrap(), 1);
    /// ```
    pub fn write_error(self, error: impl Into<io::Error>) -> Script {
        self.with_write(WriteStep::Fails(Failure::from(error.into())))
    }

    /// Delays what is read next. The time runs from the first read in its turn, by the wall clock, in every executor.
    ///
    /// A paused clock of tokio neither stops nor skips a delay. While all tasks wait, it jumps to the next timer: a timeout of the
    /// runtime comes before the end of any delay, without taking time.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # fn main() {
    /// use std::time::Duration;
    /// use ringpair::mocket::{Mocket, Script};
    /// use tokio::io::AsyncReadExt;
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    /// runtime.block_on(async {
    ///     let mut mocket = Mocket::scripted(Script::new().delay(Duration::from_secs(60)).provide("at last"));
    ///     let read = tokio::time::timeout(Duration::from_secs(30), mocket.read_u8());
    ///     assert!(read.await.is_err()); // the code under test has run out of patience
    ///     # mocket.verify().unwrap_err();
    /// });
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    pub fn delay(self, late: Duration) -> Script {
        self.with_read(ReadStep::Late(late))
    }

    /// Delays what is written next, as a peer that does not read would. The time runs from the first write in its turn.
    ///
    /// ```
    /// # use std::{io::Write, time::Duration};
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().write_delay(Duration::from_millis(1)).expect("ping"));
    /// mocket.write_all(b"ping").unwrap();
    /// ```
    pub fn write_delay(self, late: Duration) -> Script {
        self.with_write(WriteStep::Late(late))
    }

    /// Adds a shutdown of the writing side, which must come next. The socket, if there is one, is not shut down.
    ///
    /// Later writes fail with `EPIPE`, even if write steps are left.
    ///
    /// ```
    /// # use std::io::{ErrorKind, Write};
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().expect("bye").expect_shutdown());
    /// mocket.write_all(b"bye").unwrap();
    /// mocket.shut_down_writing().unwrap();
    /// assert_eq!(mocket.write(b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// mocket.close().unwrap();
    /// ```
    pub fn expect_shutdown(self) -> Script {
        self.with_write(WriteStep::Shutdown)
    }

    /// Lets calls after the last step pass through to a socket. A mocket in front of a stream sets this itself.
    ///
    /// ```
    /// # use ringpair::mocket::{Script, Turn};
    /// let mut script = Script::new().provide("x").passing_through();
    /// assert!(matches!(script.read(&mut [0; 8]), Turn::Moved(1)));
    /// assert!(matches!(script.read(&mut [0; 8]), Turn::PassThrough { .. }));
    /// ```
    pub fn passing_through(mut self) -> Script {
        self.passes_through = true;
        self
    }

    /// Limits the bytes of each read.
    ///
    /// ```
    /// # use std::num::NonZeroUsize;
    /// # use ringpair::mocket::{Script, Turn};
    /// let mut script = Script::new().provide("abc").max_read_size(NonZeroUsize::MIN);
    /// assert!(matches!(script.read(&mut [0; 8]), Turn::Moved(1)));
    /// ```
    pub fn max_read_size(mut self, size: NonZeroUsize) -> Script {
        self.read_sizes.max = Some(size);
        self
    }

    /// Limits the bytes of each write.
    ///
    /// ```
    /// # use std::num::NonZeroUsize;
    /// # use ringpair::mocket::{Script, Turn};
    /// let mut script = Script::new().expect("abc").max_write_size(NonZeroUsize::MIN);
    /// assert!(matches!(script.write(b"abc"), Turn::Moved(1)));
    /// ```
    pub fn max_write_size(mut self, size: NonZeroUsize) -> Script {
        self.write_sizes.max = Some(size);
        self
    }

    /// Limits each read and each write to a pseudo-random size of 1 to 128 bytes; small sizes are more frequent. The same seed
    /// makes the same sizes.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let sizes = |seed| {
    ///     let mut mocket = Mocket::scripted(Script::new().provide([0; 1000]).chunk_seed(seed));
    ///     let read = std::iter::from_fn(|| mocket.read(&mut [0; 1000]).ok().filter(|size| *size > 0));
    ///     read.collect::<Vec<usize>>()
    /// };
    /// assert_eq!(sizes(1), sizes(1));
    /// assert_ne!(sizes(1), sizes(2));
    /// ```
    pub fn chunk_seed(mut self, seed: u64) -> Script {
        self.read_sizes.state = Some(seed);
        self.write_sizes.state = Some(!seed); // or each write would be as large as the read before it
        self
    }

    fn with_read(mut self, step: ReadStep) -> Script {
        self.part += u64::from(self.is_ordered);
        self.reads.push_back((self.part, step));
        self
    }

    fn with_write(mut self, step: WriteStep) -> Script {
        self.part += u64::from(self.is_ordered);
        self.writes.push_back((self.part, step));
        self
    }
}

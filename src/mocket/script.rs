//! The script of a mocket: what is read, what must be written, and in which order. It does no I/O.
//!
//! A face, the code that makes a stream of it, asks the script at each call and does as its [`Turn`] says. Those of this
//! crate are [`Mocket`](super::Mocket)'s; for another family of streams, a face of one's own needs nothing but this:
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

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::errno::Errno;

use super::mismatch::{BEFORE, Line, Mismatch, MismatchKind};

/// A script: steps for reads, steps for writes, and where one waits for the other.
///
/// Reads and writes go their own ways, each through its own steps in their order. [`then`](Script::then) is where they meet:
/// what stands after it has its turn when all that stands before it has been read and written.
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
/// When the steps of a direction are used up, it passes through to the socket, if there is one; without one, reads come to the
/// end of file, and whatever is written is too much. A direction that the script has ended, by
/// [`end_of_file`](Script::end_of_file), [`expect_shutdown`](Script::expect_shutdown) or [`reset`](Script::reset), stays ended.
#[derive(Clone, Debug, Default)]
pub struct Script {
    reads: VecDeque<(u64, ReadStep)>,
    writes: VecDeque<(u64, WriteStep)>,
    /// How many `then`s stand before a step that is added now.
    part: u64,
    passes_through: bool,
    reads_have_ended: bool,
    writes_have_ended: bool,
    read_sizes: Sizes,
    write_sizes: Sizes,
    /// Bytes read and written so far, and the last few that were written.
    read: u64,
    written: u64,
    recent: Vec<u8>,
    failed: Option<Mismatch>,
}

#[derive(Clone, Debug)]
enum ReadStep {
    /// The bytes, and how many of them have been read.
    Bytes(Vec<u8>, usize),
    EndOfFile,
    Fails(Failure),
    Reset,
    /// Belongs to the step after it.
    Late(Duration),
}

#[derive(Clone, Debug)]
enum WriteStep {
    /// The bytes, and how many of them have been written.
    Bytes(Vec<u8>, usize),
    Until(u8),
    Shutdown,
    Fails(Failure),
    Reset,
    /// Belongs to the step after it.
    Late(Duration),
}

/// What a face is to do; [`Script`]'s answer to each call.
///
/// All there will be: a face that did not know one of them could not go on.
#[derive(Debug)]
pub enum Turn {
    /// Tell the caller that this many bytes were read or written. After a read they are in the buffer. Not 0, but for an
    /// empty buffer; for a shutdown it is 0.
    Moved(usize),
    /// Tell the reader that this is the end of file.
    EndOfFile,
    /// Hand this error to the caller.
    Fails(io::Error),
    /// Wait so long, tell [`read_delay_is_over`](Script::read_delay_is_over) or
    /// [`write_delay_is_over`](Script::write_delay_is_over), and ask again.
    Wait(Duration),
    /// What the script has for the reader comes after something that is to be written. Ask again after the next write; or,
    /// where nobody else could write meanwhile, fail with [`refuse_early_read`](Script::refuse_early_read).
    NotYet,
    /// Hand the call to the socket, with no more bytes than this, and tell [`read_passed`](Script::read_passed) or
    /// [`write_passed`](Script::write_passed) what came of it.
    PassThrough {
        /// Bytes that may be moved, 1 at least.
        at_most: usize,
    },
}

/// Building one. None of these does anything before the script is played.
impl Script {
    /// One without a step.
    pub fn new() -> Script {
        Script::default()
    }

    /// These bytes are read next. A read takes from one such step at most, however large its buffer is.
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

    /// These bytes must be written next, in as many writes as the code likes.
    ///
    /// A write is compared as a whole, also where [`MocketOptions::max_write_size`](super::MocketOptions::max_write_size)
    /// takes but a part of it, and must not reach beyond what is expected.
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

    /// Anything may be written next, up to this byte and with it.
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

    /// What comes after this has its turn when all that stands before it has been read and written.
    ///
    /// A read that comes before its turn waits, as it would for a peer that has not been asked yet; a blocking one fails, since it
    /// would wait forever. A write that comes before its turn fails: the code should have read first.
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

    /// The end of file is read next. It stays when it is the last step for reads.
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

    /// The peer resets the connection, when all that stands before this has been read and written, as after [`then`](Script::then).
    ///
    /// The next read or write, whichever comes first, is told: `ECONNRESET`. Later on the end of file is read, and a write
    /// is told `EPIPE`, as by the kernel.
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
    pub fn reset(self) -> Script {
        self.then().with_read(ReadStep::Reset).with_write(WriteStep::Reset).then()
    }

    /// The next read fails: once, with this `ErrorKind`, `io::Error` or `Errno`.
    ///
    /// Kind, errno and text are kept; of an error of one's own inside the `io::Error`, the text.
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

    /// The next write or shutdown fails, as [`read_error`](Script::read_error) has it.
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

    /// What is read next comes so late. The time runs from the first read that asks for it in its turn.
    ///
    /// In a task it is the runtime's time, which may be paused, and which must be enabled.
    ///
    /// ```
    /// # #[cfg(feature = "epoll")]
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
    /// # #[cfg(not(feature = "epoll"))]
    /// # fn main() {}
    /// ```
    pub fn delay(self, late: Duration) -> Script {
        self.with_read(ReadStep::Late(late))
    }

    /// What is written next is taken so late, as by a peer that does not read. The time runs from the first write in its turn.
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

    /// The writing side must be shut down next. The socket, if there is one, is not told.
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

    /// There is a socket: what comes after the last step passes through, and is no mismatch. A mocket sees to it itself.
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

    /// No read moves more bytes than this.
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

    /// No write moves more bytes than this.
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

    /// Each read and each write moves at most so many bytes as a generator says, 1 to 128, the smaller the more often. The
    /// same seed, the same sizes.
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
        self.reads.push_back((self.part, step));
        self
    }

    fn with_write(mut self, step: WriteStep) -> Script {
        self.writes.push_back((self.part, step));
        self
    }
}

/// Playing it.
impl Script {
    /// Adds the steps of another script after those of this one. Its sizes and what it has played count for nothing.
    ///
    /// ```
    /// # use ringpair::mocket::Script;
    /// let mut script = Script::new().provide("once");
    /// script.append(Script::new().provide("twice"));
    /// assert_eq!(script.verify().unwrap_err().to_string().lines().count(), 3); // a head, and a line for each
    /// ```
    pub fn append(&mut self, other: Script) {
        let base = self.part;
        self.reads.extend(other.reads.into_iter().map(|(part, step)| (base + part, step)));
        self.writes.extend(other.writes.into_iter().map(|(part, step)| (base + part, step)));
        self.part += other.part;
    }

    /// The code wants to read into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        if buffer.is_empty() {
            return Turn::Moved(0);
        }
        if self.reads_must_wait() {
            return Turn::NotYet;
        }
        let at_most = self.read_sizes.next();
        match self.reads.front_mut() {
            None if self.reads_have_ended || !self.passes_through => Turn::EndOfFile,
            None => Turn::PassThrough { at_most },
            Some((_, ReadStep::Late(late))) => Turn::Wait(*late),
            Some((_, ReadStep::Bytes(bytes, read))) => {
                let size = at_most.min(buffer.len()).min(bytes.len() - *read);
                buffer[..size].copy_from_slice(&bytes[*read..*read + size]);
                *read += size;
                if *read == bytes.len() {
                    self.reads.pop_front();
                }
                self.read_passed(size);
                Turn::Moved(size)
            }
            Some((_, ReadStep::EndOfFile)) => {
                self.reads.pop_front();
                self.reads_have_ended = true;
                Turn::EndOfFile
            }
            Some((_, ReadStep::Fails(failure))) => {
                let failure = failure.clone();
                self.reads.pop_front();
                Turn::Fails(failure.into())
            }
            Some((_, ReadStep::Reset)) => self.be_reset(),
        }
    }

    /// The code has `offered` to write.
    pub fn write(&mut self, offered: &[u8]) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        if offered.is_empty() {
            return Turn::Moved(0);
        }
        match self.writes.front() {
            None if self.writes_have_ended => return Turn::Fails(Errno::EPIPE.into()),
            None if self.passes_through => return Turn::PassThrough { at_most: self.write_sizes.next() },
            None => return self.fail(self.too_long(offered, 0)),
            Some(_) if self.writes_must_wait() => {
                return self.fail(self.written_early(offered, 0));
            }
            Some((_, WriteStep::Late(late))) => return Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => return self.be_reset(),
            Some((_, WriteStep::Fails(failure))) => {
                let failure = failure.clone();
                self.writes.pop_front();
                return Turn::Fails(failure.into());
            }
            Some((_, WriteStep::Shutdown)) => return self.fail(self.not_shut_down(offered, 0)),
            Some((_, WriteStep::Bytes(..) | WriteStep::Until(_))) => {}
        }
        match self.compare(offered) {
            Ok(equal) => {
                let size = equal.min(self.write_sizes.next());
                self.use_up(&offered[..size]);
                self.write_passed(&offered[..size]);
                Turn::Moved(size)
            }
            Err(mismatch) => self.fail(mismatch),
        }
    }

    /// The code shuts down its writing side.
    pub fn shutdown(&mut self) -> Turn {
        if let Some(failed) = &self.failed {
            return Turn::Fails(failed.clone().into());
        }
        match self.writes.front() {
            None if self.writes_have_ended || !self.passes_through => {
                self.writes_have_ended = true;
                Turn::Moved(0)
            }
            None => Turn::PassThrough { at_most: usize::MAX },
            Some(_) if self.writes_must_wait() => self.fail(self.shut_down_early(self.first_read())),
            Some((_, WriteStep::Late(late))) => Turn::Wait(*late),
            Some((_, WriteStep::Reset)) => {
                self.be_reset();
                Turn::Fails(Errno::ENOTCONN.into())
            }
            Some((_, WriteStep::Fails(failure))) => {
                let failure = failure.clone();
                self.writes.pop_front();
                Turn::Fails(failure.into())
            }
            Some((_, WriteStep::Shutdown)) => {
                self.writes.pop_front();
                self.writes_have_ended = true;
                Turn::Moved(0)
            }
            Some((_, WriteStep::Bytes(..) | WriteStep::Until(_))) => {
                self.fail(self.shut_down_early(self.first_write()))
            }
        }
    }

    /// The delay that a read was told of is over.
    pub fn read_delay_is_over(&mut self) {
        pop_if(&mut self.reads, ReadStep::is_delay);
    }

    /// The delay that a write or a shutdown was told of is over.
    pub fn write_delay_is_over(&mut self) {
        pop_if(&mut self.writes, WriteStep::is_delay);
    }

    /// So many bytes were read from the socket.
    pub fn read_passed(&mut self, size: usize) {
        self.read += size as u64;
        self.read_sizes.forget();
    }

    /// These bytes were written to the socket.
    pub fn write_passed(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(BEFORE)..]);
        self.recent.drain(..self.recent.len().saturating_sub(BEFORE));
        self.write_sizes.forget();
    }

    /// Turns a read that would wait forever into a mismatch: the error for the caller.
    ///
    /// ```
    /// # use ringpair::mocket::{MismatchKind, Script, Turn};
    /// let mut script = Script::new().expect("ping").then().provide("pong");
    /// if let Turn::NotYet = script.read(&mut [0; 8]) {
    ///     script.refuse_early_read();
    /// }
    /// assert_eq!(script.verify().unwrap_err().kind(), MismatchKind::ReadEarly);
    /// ```
    pub fn refuse_early_read(&mut self) -> io::Error {
        let head = format!("a read, at offset {}, before its turn: this is to be written first", self.read);
        let mismatch = Mismatch::with_lines(MismatchKind::ReadEarly, self.read, head, self.first_write());
        self.failed.get_or_insert(mismatch).clone().into()
    }

    /// Checks that the script is used up, and that code and script have not parted on the way.
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`] that there was, also where the code swallowed it; otherwise what is left over. A delay that
    /// nobody waited for is not.
    pub fn verify(&self) -> Result<(), Mismatch> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let mut lines = Vec::new();
        let mut offset = self.read;
        for (_, step) in &self.reads {
            lines.extend(step.line(&mut offset));
        }
        let mut offset = self.written;
        for (_, step) in &self.writes {
            lines.extend(step.line(&mut offset));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let is_read = self.reads.iter().any(|(_, step)| !step.is_delay());
        let offset = if is_read { self.read } else { self.written };
        Err(Mismatch::with_lines(MismatchKind::LeftOver, offset, "the script is not used up".to_owned(), lines))
    }

    /// What is to be read next stands behind something that is to be written.
    fn reads_must_wait(&self) -> bool {
        matches!((first_part(&self.reads), first_part(&self.writes)), (Some(reads), Some(writes)) if reads > writes)
    }

    fn writes_must_wait(&self) -> bool {
        matches!((first_part(&self.reads), first_part(&self.writes)), (Some(reads), Some(writes)) if writes > reads)
    }

    /// Whoever comes first, reader or writer, is told.
    fn be_reset(&mut self) -> Turn {
        let (reads, writes) = (&mut self.reads, &mut self.writes);
        while pop_if(reads, ReadStep::is_delay) {}
        while pop_if(writes, WriteStep::is_delay) {}
        pop_if(reads, |step| matches!(step, ReadStep::Reset));
        pop_if(writes, |step| matches!(step, WriteStep::Reset));
        (self.reads_have_ended, self.writes_have_ended) = (true, true);
        Turn::Fails(Errno::ECONNRESET.into())
    }

    /// How much of `offered` may be taken, by the script alone: at least one byte.
    fn compare(&self, offered: &[u8]) -> Result<usize, Mismatch> {
        let mut equal = 0;
        for (part, step) in &self.writes {
            let rest = &offered[equal..];
            if rest.is_empty() {
                return Ok(equal);
            }
            if first_part(&self.reads).is_some_and(|first| *part > first) {
                return Err(self.written_early(offered, equal));
            }
            match step {
                WriteStep::Bytes(bytes, written) => {
                    let expected = &bytes[*written..];
                    let size = expected.len().min(rest.len());
                    let same = expected.iter().zip(rest).take_while(|(expected, came)| expected == came).count();
                    if same < size {
                        return Err(self.different(offered, equal + same, &expected[same..]));
                    }
                    equal += size;
                }
                WriteStep::Until(byte) => {
                    equal += rest.iter().position(|came| came == byte).map_or(rest.len(), |at| at + 1);
                }
                WriteStep::Shutdown => return Err(self.not_shut_down(offered, equal)),
                WriteStep::Fails(_) | WriteStep::Reset | WriteStep::Late(_) => return Ok(equal),
            }
        }
        if equal < offered.len() { Err(self.too_long(offered, equal)) } else { Ok(equal) }
    }

    /// Takes from the steps what `compare` has found to be equal.
    fn use_up(&mut self, mut bytes: &[u8]) {
        while let (Some((_, step)), false) = (self.writes.front_mut(), bytes.is_empty()) {
            let (size, is_through) = match step {
                WriteStep::Bytes(expected, written) => {
                    let size = bytes.len().min(expected.len() - *written);
                    *written += size;
                    (size, *written == expected.len())
                }
                WriteStep::Until(byte) => match bytes.iter().position(|came| came == byte) {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
                _ => return,
            };
            bytes = &bytes[size..];
            if is_through {
                self.writes.pop_front();
            }
        }
    }
}

/// Saying how code and script part.
impl Script {
    fn fail(&mut self, mismatch: Mismatch) -> Turn {
        self.failed = Some(mismatch.clone());
        Turn::Fails(mismatch.into())
    }

    fn different(&self, offered: &[u8], at: usize, expected: &[u8]) -> Mismatch {
        let expected = self.line("expected", offered, at).bytes(expected);
        let head = "what was written is not what the script expects";
        self.marked(MismatchKind::Different, head, expected, offered, at)
    }

    fn too_long(&self, offered: &[u8], at: usize) -> Mismatch {
        let expected = self.line("expected", offered, at).note("and no more");
        let head = format!("{} more than the script expects", written(offered.len() - at));
        self.marked(MismatchKind::TooLong, &head, expected, offered, at)
    }

    fn not_shut_down(&self, offered: &[u8], at: usize) -> Mismatch {
        let expected = self.line("expected", offered, at).note("and a shutdown");
        let head = format!("{} where the script expects a shutdown", written(offered.len() - at));
        self.marked(MismatchKind::NotShutDown, &head, expected, offered, at)
    }

    fn written_early(&self, offered: &[u8], at: usize) -> Mismatch {
        let offset = self.written + at as u64;
        let head = format!(
            "{}, at offset {offset}, before its turn: what is to be read comes first",
            written(offered.len() - at)
        );
        let mut lines = vec![self.line("came", offered, at).bytes(&offered[at..])];
        lines.extend(self.first_read());
        Mismatch::with_lines(MismatchKind::WrittenEarly, offset, head, lines).came_with(&offered[at..])
    }

    fn shut_down_early(&self, first: Vec<Line>) -> Mismatch {
        let head = format!("a shutdown, at offset {}, before its turn: this comes first", self.written);
        Mismatch::with_lines(MismatchKind::ShutDownEarly, self.written, head, first)
    }

    fn marked(&self, kind: MismatchKind, head: &str, expected: Line, offered: &[u8], at: usize) -> Mismatch {
        let came = self.line("came", offered, at).bytes(&offered[at..]);
        Mismatch::at(kind, self.written + at as u64, head, expected, came)
    }

    /// A line that shows what both sides agree on, up to this place of what was offered.
    fn line(&self, label: &'static str, offered: &[u8], at: usize) -> Line {
        Line::new(label).after(&[&self.recent[..], &offered[..at]].concat(), self.written + at as u64)
    }

    /// What is to be read before anything else, if anything is.
    fn first_read(&self) -> Vec<Line> {
        let mut offset = self.read;
        self.reads.iter().find_map(|(_, step)| step.line(&mut offset)).into_iter().collect()
    }

    /// What is to be written before anything else, if anything is.
    fn first_write(&self) -> Vec<Line> {
        let mut offset = self.written;
        self.writes.iter().find_map(|(_, step)| step.line(&mut offset)).into_iter().collect()
    }
}

/// `3 bytes were written`.
fn written(count: usize) -> String {
    if count == 1 { "1 byte was written".to_owned() } else { format!("{count} bytes were written") }
}

fn bytes_at(count: usize, offset: u64) -> String {
    format!("{count} {} at offset {offset}", if count == 1 { "byte" } else { "bytes" })
}

/// The part that a direction has come to, if there is anything left in it. A delay belongs to the step after it.
fn first_part<S: Step>(steps: &VecDeque<(u64, S)>) -> Option<u64> {
    steps.iter().find(|(_, step)| !step.is_delay()).map(|(part, _)| *part)
}

/// Takes the first step, if it is such a one.
fn pop_if<S>(steps: &mut VecDeque<(u64, S)>, is_such: impl FnOnce(&S) -> bool) -> bool {
    steps.front().is_some_and(|(_, step)| is_such(step)) && steps.pop_front().is_some()
}

/// What the steps of both directions have in common.
trait Step {
    fn is_delay(&self) -> bool;

    /// How it is shown when it is left over; moves `offset` on to where the next one begins.
    fn line(&self, offset: &mut u64) -> Option<Line>;
}

impl Step for ReadStep {
    fn is_delay(&self) -> bool {
        matches!(self, ReadStep::Late(_))
    }

    fn line(&self, offset: &mut u64) -> Option<Line> {
        let line = Line::new("to read");
        Some(match self {
            ReadStep::Bytes(bytes, read) => {
                let (bytes, begin) = (&bytes[*read..], *offset);
                *offset += bytes.len() as u64;
                line.bytes(bytes).note(bytes_at(bytes.len(), begin))
            }
            ReadStep::EndOfFile => line.note("the end of file"),
            ReadStep::Fails(failure) => line.note(format!("an error: {}", io::Error::from(failure.clone()))),
            ReadStep::Reset => line.note("a reset"),
            ReadStep::Late(_) => return None,
        })
    }
}

impl Step for WriteStep {
    fn is_delay(&self) -> bool {
        matches!(self, WriteStep::Late(_))
    }

    fn line(&self, offset: &mut u64) -> Option<Line> {
        let line = Line::new("to write");
        Some(match self {
            WriteStep::Bytes(bytes, written) => {
                let (bytes, begin) = (&bytes[*written..], *offset);
                *offset += bytes.len() as u64;
                line.bytes(bytes).note(bytes_at(bytes.len(), begin))
            }
            WriteStep::Until(byte) => line.note(format!("anything until \"{}\"", [*byte].escape_ascii())),
            WriteStep::Shutdown => line.note("a shutdown"),
            WriteStep::Fails(failure) => line.note(format!("an error: {}", io::Error::from(failure.clone()))),
            WriteStep::Reset => line.note("a reset"),
            WriteStep::Late(_) => return None,
        })
    }
}

/// An `io::Error` that can be had more than once.
#[derive(Clone, Debug)]
enum Failure {
    Errno(i32),
    Kind(ErrorKind),
    Said(ErrorKind, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::Errno(errno),
            None if error.get_ref().is_some() => Failure::Said(error.kind(), error.to_string()),
            None => Failure::Kind(error.kind()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Errno(errno) => io::Error::from_raw_os_error(errno),
            Failure::Kind(kind) => kind.into(),
            Failure::Said(kind, text) => io::Error::new(kind, text),
        }
    }
}

/// How much a transfer may move.
#[derive(Clone, Debug, Default)]
struct Sizes {
    max: Option<NonZeroUsize>,
    state: Option<u64>,
    /// Drawn, and not yet used: a call that had to wait is asked again.
    drawn: Option<usize>,
}

impl Sizes {
    fn next(&mut self) -> usize {
        let max = self.max.map_or(usize::MAX, NonZeroUsize::get);
        let Some(state) = &mut self.state else { return max };
        let drawn = *self.drawn.get_or_insert_with(|| {
            let bits = mixed(state);
            1 + (bits >> 8) as usize % (1 << (bits % 8))
        });
        drawn.min(max)
    }

    fn forget(&mut self) {
        self.drawn = None;
    }
}

/// A step of a counter whose bits are then mixed, twice by a shift and an odd factor.
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    for _ in 0..2 {
        bits = (bits ^ (bits >> 31)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    bits ^ (bits >> 32)
}

//! A mocket: a stream that replays a script, in front of one end of a real pair or without a socket.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! /// The code under test: says its name, and reads the answer.
//! fn greet(stream: &mut (impl Read + Write)) -> std::io::Result<String> {
//!     stream.write_all(b"I am Bob\n")?;
//!     let mut answer = [0; 11];
//!     stream.read_exact(&mut answer)?;
//!     Ok(String::from_utf8_lossy(&answer).into_owned())
//! }
//!
//! let (mut mocket, mut peer) = ringpair::mocket::make_mocket_pair_blocking::<TcpStream>().unwrap();
//! mocket.expect("I am Bob\n"); // must be written
//! mocket.provide("I am "); // is read, and the rest of it comes
//! peer.write_all(b"Alice\n").unwrap(); // through the socket
//! assert_eq!(greet(&mut mocket).unwrap(), "I am Alice\n");
//! mocket.close().unwrap(); // everything was read and written
//! ```
//!
//! # Which call
//!
//! | the code under test | wants | call |
//! |---|---|---|
//! | blocks | a script, then a real peer | [`make_mocket_pair_blocking`] |
//! | is async | the same | [`make_mocket_pair`] |
//! | either | a conversation, without a peer | [`Mocket::scripted`] |
//! | either | a conversation that the test goes on with | [`Mocket::scripted_with_handle`] |
//! | either | two scripts that face each other, without a socket | [`MocketOptions::memory_pair`] |
//! | either | the same bytes, cut at every point in turn | [`Splits`] |
//! | dials by itself | a server on real TCP that plays a script | [`serve`], [`serve_all`] |
//! | either | short transfers, a fuse, another stream | [`MocketOptions`] |
//!
//! [`provide`](Mocket::provide) and [`expect`](Mocket::expect) can be called repeatedly. Everything else that a peer does is a
//! step of a [`Script`]: order, end of file, errors, delays; [`play`](Mocket::play) adds it.
//!
//! # When the code diverges from the script
//!
//! The call that diverges fails with a [`Mismatch`], which shows where, what was expected and what came. All later calls fail
//! with the same mismatch, and so does [`close`](Mocket::close), which also fails while anything is left over. A mocket that is
//! dropped with steps left over panics, unless [`verify`](Mocket::verify) or `close` was called since the last read or write. It
//! does not panic for a mismatch that a call has returned, while its thread is unwinding, or after its [fuse](crate::fuse) has
//! blown.
//!
//! # Faces
//!
//! A mocket has the traits of its socket. A mocket without a socket, and one of a pair in memory, has all of them.
//!
//! | the code under test | feature | traits |
//! |---|---|---|
//! | blocks | | `Read` and `Write`; [`shut_down_writing`](Mocket::shut_down_writing) |
//! | runs on tokio | `tokio` | `AsyncRead` and `AsyncWrite` of tokio |
//! | runs on smol, or takes `futures::io` | `smol` | `AsyncRead` and `AsyncWrite` of `futures::io` |
//! | runs on tokio-uring | `tokio-uring` | the calls of `tokio_uring::net::TcpStream`, by the trait `uring::UringStream` |
//! | runs on compio | `compio` | `AsyncRead`, `AsyncWrite` and `Splittable` of `compio::io`, also for `&Mocket` |
//! | runs on monoio | `monoio` | `AsyncReadRent`, `AsyncWriteRent` and `Splitable` of `monoio::io` |
//! | owns its buffers, on any runtime | | [`OwnedBufStream`](owned::OwnedBufStream) |
//!
//! All of them behave the same. Waiting, for the turn of a call or for a delay, takes no runtime and goes by the wall clock.
//!
#![doc = include_str!("from_tokio_test.md")]

mod asynchronous;
mod blocking;
#[cfg(feature = "compio")]
mod compio;
mod delays;
mod handle;
mod memory;
mod mismatch;
#[cfg(feature = "monoio")]
mod monoio;
mod options;
pub mod owned;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod polled;
mod script;
mod serve;
#[cfg(feature = "smol")]
mod smol;
mod socket;
mod splits;
mod stage;
mod tasks;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tokio-uring")]
pub mod uring;

use std::io::{self, ErrorKind};
use std::sync::Arc;

pub use blocking::Shut;
pub use handle::Handle;
pub use memory::Memory;
pub use mismatch::{Mismatch, MismatchKind};
pub use options::MocketOptions;
pub use script::{Script, Turn};
pub use serve::{Served, serve, serve_all};
pub use splits::{Split, Splits};

use options::PATIENCE;
use stage::Stage;

use crate::{PairSocket, Result};

/// Makes a pair with the default options and puts a mocket in front of its accepted end. The other end is plain.
///
/// ```
/// # #[cfg(feature = "tokio-uring")]
/// # fn main() {
/// use ringpair::mocket::make_mocket_pair;
/// use ringpair::mocket::uring::UringStream;
/// use tokio_uring::net::TcpStream;
///
/// # if !ringpair::ring_or_skip("make_mocket_pair") { return }
/// let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).unwrap();
/// runtime.block_on(async {
///     let (mut mocket, peer) = make_mocket_pair::<TcpStream>().await.unwrap();
///     mocket.provide("scripted");
///     let (read, bytes) = mocket.read(vec![0; 16]).await;
///     assert_eq!(&bytes[..read.unwrap()], b"scripted");
///     mocket.close().unwrap();
///     assert!(peer.read(vec![0; 1]).await.0.is_err()); // it was reset
/// });
/// # }
/// # #[cfg(not(feature = "tokio-uring"))]
/// # fn main() {}
/// ```
///
/// # Errors
///
/// As [`PairOptions::make_pair`](crate::PairOptions::make_pair).
pub async fn make_mocket_pair<S: PairSocket>() -> Result<(Mocket<S>, S)> {
    MocketOptions::new().make_pair().await
}

/// The same in a call that blocks, and needs no runtime.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let (mut mocket, mut peer) = ringpair::mocket::make_mocket_pair_blocking::<TcpStream>().unwrap();
/// mocket.expect("ping");
/// mocket.write_all(b"ping").unwrap(); // the script takes it
/// mocket.write_all(b"pong").unwrap(); // the peer gets it
/// let mut read = [0; 4];
/// peer.read_exact(&mut read).unwrap();
/// assert_eq!(&read, b"pong");
/// ```
///
/// # Errors
///
/// As [`PairOptions::make_pair_blocking`](crate::PairOptions::make_pair_blocking).
pub fn make_mocket_pair_blocking<S: PairSocket>() -> Result<(Mocket<S>, S)> {
    MocketOptions::new().make_pair_blocking()
}

/// A stream that replays a [`Script`], and then passes everything on to the stream behind it.
///
/// It has the traits for reading and writing that `S` has; see [the module](self).
pub struct Mocket<S> {
    stage: Arc<Stage>,
    /// None after `close`.
    stream: Option<S>,
    #[cfg(any(feature = "tokio", feature = "smol"))]
    begun: polled::Begun,
}

/// Stands for the socket of a mocket that has none; see [`Mocket::scripted`].
#[derive(Debug)]
pub struct NoSocket(());

impl Mocket<NoSocket> {
    /// Makes a mocket without a socket: at the end of its script, reads return the end of file and writes are a mismatch.
    ///
    /// ```
    /// use std::io::Read;
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let mut mocket = Mocket::scripted(Script::new().provide("all there is"));
    /// let mut read = String::new();
    /// mocket.read_to_string(&mut read).unwrap();
    /// assert_eq!(read, "all there is");
    /// mocket.close().unwrap();
    /// ```
    pub fn scripted(script: Script) -> Mocket<NoSocket> {
        Mocket::new(Arc::new(Stage::new(script, None, PATIENCE)), NoSocket(()))
    }

    /// Makes a mocket without a socket, and a handle that keeps it open: at the end of the script, reads wait for more.
    ///
    /// When the last handle is dropped, they return the end of file. A read that waits longer than the
    /// [patience](MocketOptions::patience) fails.
    ///
    /// ```
    /// use std::io::Read;
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// let (mut mocket, handle) = Mocket::scripted_with_handle(Script::new());
    /// let reader = std::thread::spawn(move || {
    ///     let mut read = String::new();
    ///     mocket.read_to_string(&mut read).map(|_| read)
    /// });
    /// handle.provide("late, ").provide("but complete");
    /// drop(handle);
    /// assert_eq!(reader.join().unwrap().unwrap(), "late, but complete");
    /// ```
    pub fn scripted_with_handle(script: Script) -> (Mocket<NoSocket>, Handle) {
        Mocket::scripted(script).held_open()
    }

    fn held_open(self) -> (Mocket<NoSocket>, Handle) {
        let handle = self.handle();
        self.stage.lock().script.hold_open();
        (self, handle)
    }
}

impl<S> Mocket<S> {
    fn new(stage: Arc<Stage>, stream: S) -> Mocket<S> {
        Mocket::with(stage, Some(stream))
    }

    fn with(stage: Arc<Stage>, stream: Option<S>) -> Mocket<S> {
        Mocket {
            stage,
            stream,
            #[cfg(any(feature = "tokio", feature = "smol"))]
            begun: polled::Begun::default(),
        }
    }

    /// Two mockets that share the script, in front of the halves of the socket.
    #[cfg(any(feature = "compio", feature = "monoio"))]
    fn into_halves<R, W>(self, split: impl FnOnce(S) -> (R, W)) -> (Mocket<R>, Mocket<W>) {
        let (reads, writes) = self.stream.map(split).unzip();
        (Mocket::with(Arc::clone(&self.stage), reads), Mocket::with(self.stage, writes))
    }

    /// Adds bytes that are read next, before those of the socket.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new());
    /// mocket.provide("once").provide(", and again");
    /// assert_eq!(std::io::read_to_string(&mut mocket).unwrap(), "once, and again");
    /// ```
    pub fn provide(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.play(Script::new().provide(bytes))
    }

    /// Adds bytes that must be written next.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new());
    /// mocket.expect("once").expect(", and again");
    /// mocket.write_all(b"once, and again").unwrap();
    /// ```
    pub fn expect(&self, bytes: impl AsRef<[u8]>) -> &Self {
        self.play(Script::new().expect(bytes))
    }

    /// Adds the steps of a script. Its sizes are ignored: [`MocketOptions`] sets them.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new());
    /// mocket.play(Script::new().expect("ping").then().provide("pong"));
    /// mocket.write_all(b"ping").unwrap();
    /// assert_eq!(std::io::read_to_string(&mut mocket).unwrap(), "pong");
    /// ```
    pub fn play(&self, script: Script) -> &Self {
        self.stage.play(script);
        self
    }

    /// Returns all bytes that the script has taken so far; not those that passed through to the socket.
    ///
    /// After [`expect_anything`](Script::expect_anything) or [`expect_until`](Script::expect_until), a test can look at bytes
    /// that it did not know beforehand.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mut mocket = Mocket::scripted(Script::new().expect("nonce=").expect_until(b';'));
    /// mocket.write_all(b"nonce=84;").unwrap();
    /// assert_eq!(mocket.written(), b"nonce=84;");
    /// ```
    pub fn written(&self) -> Vec<u8> {
        self.stage.written()
    }

    /// Checks that the script is used up, and that there was no mismatch.
    ///
    /// ```
    /// # use ringpair::mocket::{Mocket, Script};
    /// let mocket = Mocket::scripted(Script::new().provide("never read"));
    /// assert_eq!(mocket.verify().unwrap_err().to_string(), r#"the script is not used up
    ///   to read   6e 65 76 65 72 20 72 65 61 64  "never read"  10 bytes at offset 0"#);
    /// ```
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`]; without one, what is left over, unless a fuse has blown.
    pub fn verify(&self) -> Result<(), Mismatch> {
        self.stage.verify()
    }

    /// Closes the socket, and verifies as [`verify`](Mocket::verify) does. Can be called repeatedly.
    ///
    /// Afterwards, calls that would reach the socket fail with `NotConnected`.
    ///
    /// ```
    /// # use std::{io::Write, net::TcpStream};
    /// # use ringpair::mocket::make_mocket_pair_blocking;
    /// let (mut mocket, _peer) = make_mocket_pair_blocking::<TcpStream>().unwrap();
    /// mocket.expect("ping");
    /// mocket.close().unwrap_err(); // it was not written
    /// mocket.write_all(b"ping").unwrap();
    /// mocket.close().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`verify`](Mocket::verify). The socket is closed in any case.
    pub fn close(&mut self) -> Result<(), Mismatch> {
        self.stream = None;
        self.verify()
    }

    /// Returns a handle on the script, for a test that hands the mocket itself away.
    ///
    /// ```
    /// use std::io::Read;
    /// use ringpair::mocket::{Mocket, Script};
    ///
    /// fn read_all(mut stream: impl Read) -> String {
    ///     std::io::read_to_string(&mut stream).unwrap()
    /// }
    ///
    /// let mocket = Mocket::scripted(Script::new());
    /// let handle = mocket.handle();
    /// handle.provide("all of it");
    /// assert_eq!(read_all(mocket), "all of it");
    /// handle.verify().unwrap();
    /// ```
    ///
    /// While there is a handle, a mocket that is dropped with steps left over does not panic; the last handle does.
    pub fn handle(&self) -> Handle {
        Handle::of(&self.stage)
    }

    /// Returns the stream behind the mocket; `None` after [`close`](Mocket::close).
    ///
    /// ```
    /// # use std::net::TcpStream;
    /// # use ringpair::mocket::make_mocket_pair_blocking;
    /// let (mut mocket, peer) = make_mocket_pair_blocking::<TcpStream>().unwrap();
    /// assert_eq!(mocket.get_ref().unwrap().local_addr().unwrap(), peer.peer_addr().unwrap());
    /// mocket.close().unwrap();
    /// assert!(mocket.get_ref().is_none());
    /// ```
    pub fn get_ref(&self) -> Option<&S> {
        self.stream.as_ref()
    }

    /// Returns the stream behind the mocket. What is done with it does not count for the script.
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.stream.as_mut()
    }

    /// The stream behind the mocket, for what passes through.
    fn socket(&self) -> io::Result<&S> {
        self.stream.as_ref().ok_or_else(closed)
    }

    fn socket_mut(&mut self) -> io::Result<&mut S> {
        self.stream.as_mut().ok_or_else(closed)
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, "the mocket was closed")
}

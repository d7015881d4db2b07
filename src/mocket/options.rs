//! [`MocketOptions`]: the options of a mocket.

use std::borrow::Borrow;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::memory::{Link, Memory};
use super::stage::{Stage, Wire};
use super::{Handle, Mocket, NoSocket, Script};
use crate::fuse::Fuse;
use crate::{PairOptions, PairSocket, Result, Step};

/// The options of a mocket. The same options can make many mockets, each with its own copy of the script.
///
/// ```
/// use std::io::Read;
/// use std::net::TcpStream;
/// use ringpair::mocket::{MocketOptions, Script};
///
/// let options = MocketOptions::new().script(Script::new().provide("abc")).max_read_size(1);
/// let (mut mocket, _peer) = options.make_pair_blocking::<TcpStream>().unwrap();
/// let mut buffer = [0; 8];
/// assert_eq!(mocket.read(&mut buffer).unwrap(), 1);
/// assert_eq!(mocket.read(&mut buffer).unwrap(), 1);
/// assert_eq!(mocket.read(&mut buffer).unwrap(), 1);
/// mocket.close().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MocketOptions {
    pair: PairOptions,
    script: Script,
    max_read_size: Option<usize>,
    max_write_size: Option<usize>,
    chunk_seed: Option<u64>,
    wire: Option<Wire>,
    patience: Duration,
}

/// The default of [`MocketOptions::patience`].
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl MocketOptions {
    /// Returns the defaults: an empty script, transfers of any size, no fuse, ten seconds of patience, and the defaults of
    /// [`PairOptions`].
    pub fn new() -> Self {
        MocketOptions {
            pair: PairOptions::new(),
            script: Script::new(),
            max_read_size: None,
            max_write_size: None,
            chunk_seed: None,
            wire: None,
            patience: PATIENCE,
        }
    }

    /// Sets the options of the pair.
    ///
    /// ```
    /// # use std::{io::Read, net::TcpStream};
    /// # use ringpair::{Linger, PairOptions, mocket::MocketOptions};
    /// let options = MocketOptions::new().pair(PairOptions::new().linger(Linger::Graceful));
    /// let (mut mocket, mut peer) = options.make_pair_blocking::<TcpStream>().unwrap();
    /// mocket.close().unwrap();
    /// assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    /// ```
    pub fn pair(mut self, options: PairOptions) -> Self {
        self.pair = options;
        self
    }

    /// Sets the script that each mocket begins with.
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Limits the bytes of each read, from the script or from the socket. Making a mocket fails if `size` is 0.
    ///
    /// A pair whose sizes are limited, or [random](MocketOptions::chunk_seed), has `TCP_NODELAY` at both ends, whatever its options
    /// say: with Nagle's algorithm, a short write waits up to 40 ms for the peer to acknowledge the one before. For a stream that is
    /// put [behind](MocketOptions::in_front_of) a mocket, the caller has to set it.
    pub fn max_read_size(mut self, size: usize) -> Self {
        self.max_read_size = Some(size);
        self
    }

    /// Limits the bytes of each write, to the script or to the socket. Making a mocket fails if `size` is 0.
    ///
    /// Sets `TCP_NODELAY`, as [`max_read_size`](MocketOptions::max_read_size) does.
    pub fn max_write_size(mut self, size: usize) -> Self {
        self.max_write_size = Some(size);
        self
    }

    /// Makes the sizes of transfers pseudo-random; the same seed repeats them. See [`Script::chunk_seed`].
    ///
    /// Sets `TCP_NODELAY`, as [`max_read_size`](MocketOptions::max_read_size) does.
    pub fn chunk_seed(mut self, seed: u64) -> Self {
        self.chunk_seed = Some(seed);
        self
    }

    /// Makes each read, write and shutdown a point of the fuse.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use ringpair::fuse::Fuse;
    /// use ringpair::mocket::{MocketOptions, Script};
    ///
    /// let script = Script::new().expect("ping").then().provide("pong");
    /// let points = Fuse::armed_blocking(|fuse| {
    ///     let mut mocket = MocketOptions::new().script(script.clone()).fuse(&fuse).scripted().unwrap();
    ///     mocket.write_all(b"ping")?;
    ///     mocket.read_exact(&mut [0; 4])
    /// });
    /// assert_eq!(points.unwrap(), 2);
    /// ```
    #[track_caller]
    pub fn fuse(mut self, fuse: impl Borrow<Fuse>) -> Self {
        self.wire = Some(Wire::new(fuse.borrow().clone(), Location::caller()));
        self
    }

    /// Sets how long a read waits before it fails [default: 10 s], by the wall clock.
    ///
    /// An async read waits for its turn in the script: for another task that writes what comes first. With zero, it does not
    /// wait; a blocking read never waits for its turn. Both wait for a handle to provide more, if one
    /// [holds the mocket open](Mocket::scripted_with_handle), and a blocking one waits for the other end of a pair
    /// [in memory](MocketOptions::memory_pair).
    ///
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # fn main() {
    /// # use std::time::Duration;
    /// # use ringpair::mocket::{MismatchKind, MocketOptions, Script};
    /// # use tokio::io::AsyncReadExt;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let script = Script::new().expect("ping").then().provide("pong");
    /// let mut mocket = MocketOptions::new().script(script).patience(Duration::ZERO).scripted().unwrap();
    /// mocket.read_u8().await.unwrap_err();
    /// assert_eq!(mocket.verify().unwrap_err().kind(), MismatchKind::ReadEarly);
    /// # });
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes a pair and puts a mocket in front of its accepted end; see [`make_mocket_pair`](super::make_mocket_pair).
    ///
    /// ```
    /// # #[cfg(feature = "tokio")]
    /// # fn main() {
    /// # use ringpair::mocket::MocketOptions;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # use tokio::net::TcpStream;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// let (mut mocket, mut peer) = MocketOptions::new().max_write_size(2).make_pair::<TcpStream>().await.unwrap();
    /// assert_eq!(mocket.write(b"ping").await.unwrap(), 2);
    /// let mut read = [0; 2];
    /// peer.read_exact(&mut read).await.unwrap();
    /// assert_eq!(&read, b"pi");
    /// # });
    /// # }
    /// # #[cfg(not(feature = "tokio"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0. Otherwise as [`PairOptions::make_pair`].
    pub async fn make_pair<S: PairSocket>(&self) -> Result<(Mocket<S>, S)> {
        let stage = self.stage(true)?;
        let (accepted, connected) = self.pair_options().make_pair().await?;
        Ok((Mocket::new(stage, accepted), connected))
    }

    /// Makes a pair and puts a mocket in front of its accepted end, in a blocking call without a runtime.
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0. Otherwise as [`PairOptions::make_pair_blocking`].
    pub fn make_pair_blocking<S: PairSocket>(&self) -> Result<(Mocket<S>, S)> {
        let stage = self.stage(true)?;
        let (accepted, connected) = self.pair_options().make_pair_blocking()?;
        Ok((Mocket::new(stage, accepted), connected))
    }

    /// Puts a mocket in front of any stream. With limited sizes, set `TCP_NODELAY` on a TCP stream first.
    ///
    /// ```
    /// use std::io::{Cursor, read_to_string};
    /// use ringpair::mocket::{MocketOptions, Script};
    ///
    /// let options = MocketOptions::new().script(Script::new().provide("before "));
    /// let mocket = options.in_front_of(Cursor::new("after")).unwrap();
    /// assert_eq!(read_to_string(mocket).unwrap(), "before after");
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0; the stream is dropped.
    pub fn in_front_of<S>(&self, stream: S) -> Result<Mocket<S>> {
        Ok(Mocket::new(self.stage(true)?, stream))
    }

    /// Makes a mocket without a socket; see [`Mocket::scripted`].
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0.
    ///
    /// ```
    /// # use std::io::ErrorKind;
    /// # use ringpair::mocket::MocketOptions;
    /// let error = MocketOptions::new().max_read_size(0).scripted().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// ```
    pub fn scripted(&self) -> Result<Mocket<NoSocket>> {
        Ok(Mocket::new(self.stage(false)?, NoSocket(())))
    }

    /// Makes a mocket without a socket that a handle keeps open; see [`Mocket::scripted_with_handle`].
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0.
    pub fn scripted_with_handle(&self) -> Result<(Mocket<NoSocket>, Handle)> {
        Ok(self.scripted()?.held_open())
    }

    /// Makes two mockets that are connected in memory: what their scripts do not take passes to the other end.
    ///
    /// The script is that of the first end; the second begins with an empty one, which [`Mocket::play`] fills. Sizes, fuse and
    /// patience are those of both. If one end diverges from its script, or the fuse blows there, both ends fail: the other one
    /// with the same [`Mismatch`](super::Mismatch), or with `ECONNRESET`.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use ringpair::mocket::{MocketOptions, Script};
    ///
    /// let (mut client, mut server) = MocketOptions::new().max_write_size(1).memory_pair().unwrap();
    /// server.play(Script::ordered().expect("hello").provide("QUIT"));
    /// client.write_all(b"PING").unwrap(); // in four writes
    /// server.read_exact(&mut [0; 4]).unwrap_err(); // the script wants a write first
    /// assert!(client.write_all(b"PING").unwrap_err().to_string().starts_with("at the other end: "));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Step::Options`] if a size is 0.
    pub fn memory_pair(&self) -> Result<(Mocket<Memory>, Mocket<Memory>)> {
        let second = MocketOptions { script: Script::new(), wire: self.wire.clone().map(Wire::second), ..self.clone() };
        let stages = [self.stage(true)?, second.stage(true)?];
        let link = Arc::new(Link::new(self.patience));
        stages[0].join(&stages[1], &link);
        let [first, second] = stages;
        let ends = Memory::ends(link);
        Ok((Mocket::new(first, ends.0), Mocket::new(second, ends.1)))
    }

    /// Short transfers turn Nagle's algorithm off: against delayed acknowledgements, each would take 40 ms.
    fn pair_options(&self) -> PairOptions {
        let sizes = [self.max_read_size, self.max_write_size];
        let is_limited = sizes.iter().any(Option::is_some) || self.chunk_seed.is_some() || self.script.limits_sizes();
        if is_limited { self.pair.clone().nodelay(true) } else { self.pair.clone() }
    }

    fn stage(&self, passes_through: bool) -> Result<Arc<Stage>> {
        let mut script = self.script.clone();
        if let Some(size) = at_least_one("max_read_size", self.max_read_size)? {
            script = script.max_read_size(size);
        }
        if let Some(size) = at_least_one("max_write_size", self.max_write_size)? {
            script = script.max_write_size(size);
        }
        if let Some(seed) = self.chunk_seed {
            script = script.chunk_seed(seed);
        }
        if passes_through {
            script = script.passing_through();
        }
        Ok(Arc::new(Stage::new(script, self.wire.clone(), self.patience)))
    }
}

impl Default for MocketOptions {
    fn default() -> Self {
        MocketOptions::new()
    }
}

fn at_least_one(name: &str, size: Option<usize>) -> Result<Option<NonZeroUsize>> {
    size.map(|size| {
        let why = || Step::Options.refused(ErrorKind::InvalidInput, format!("{name} must be at least 1"));
        NonZeroUsize::new(size).ok_or_else(why)
    })
    .transpose()
}

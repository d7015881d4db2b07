//! An engine behind a lock, and waiting for it without the lock: inside the kernel, or in whichever runtime is current.
#![allow(unsafe_code)] // waits for a descriptor that is known by number; the engine that has it open is kept here

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Engine;

/// What has an engine, and keeps that one for all of its life.
pub(crate) trait Keeper {
    fn engine(&self) -> &Engine;
}

/// A keeper that many use at once.
pub(crate) struct Shared<K> {
    keeper: Mutex<K>,
    /// The descriptor of the keeper's engine, open as long as `self` lives.
    descriptor: RawFd,
}

impl<K: Keeper> Shared<K> {
    pub(crate) fn new(keeper: K) -> Self {
        let descriptor = keeper.engine().descriptor();
        Shared { keeper: Mutex::new(keeper), descriptor }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, K> {
        // No code of a caller's runs under the lock, so nobody can have left the keeper half-changed.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits inside the kernel until the engine has something to land, or `most` has passed, or a signal came: the caller
    /// looks for itself.
    pub(crate) fn wait(&self, most: Duration) -> io::Result<()> {
        // SAFETY: `self.keeper` has the engine, which has the descriptor open, as long as `self` lives.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        // Rounded up: else the last fraction of a millisecond would be spent asking again and again.
        let most = most.saturating_add(Duration::from_micros(999));
        let most = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], most) {
            Err(errno) if errno != Errno::EINTR => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

impl<K> AsRawFd for Shared<K> {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor
    }
}

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
pub(crate) use watching::{Watch, Watches, can_wait};

#[cfg(any(feature = "tokio-uring", feature = "epoll"))]
mod watching {
    use std::cell::Cell;
    use std::future::Future;
    use std::io;
    use std::os::fd::{AsRawFd, RawFd};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::Pin;
    use std::sync::{Arc, Weak};
    use std::task::{Context, Poll, Waker};

    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::runtime::{Handle, Id};

    use super::Shared;

    /// The registrations in force, one for each runtime that waits for this engine at the moment. An epoll takes a
    /// descriptor once, so those who wait in the same runtime share one; an engine that is kept outlives runtimes, so a
    /// registration lasts as long as someone waits and no longer.
    pub(crate) struct Watches<K>(Vec<(Id, Weak<AsyncFd<Descriptor<K>>>)>);

    /// One who waits; each has a place of its own in tokio's list, so that nobody depends on another one being polled.
    pub(crate) struct Watch<K> {
        runtime: Id,
        registration: Arc<AsyncFd<Descriptor<K>>>,
        waiting: Option<(Waker, Readable)>,
    }

    type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// The engine's descriptor, and what keeps it open.
    pub(crate) struct Descriptor<K>(Arc<Shared<K>>);

    impl<K> AsRawFd for Descriptor<K> {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }
    }

    thread_local! {
        /// The runtime that was last found to be one that can wait.
        static KNOWN: Cell<Option<Id>> = const { Cell::new(None) };
    }

    /// Whether the current runtime can wait for a descriptor at all: tokio panics where its IO is not enabled, and would do so
    /// only when there is something to wait for.
    pub(crate) fn can_wait<K>(runtime: &Handle, shared: impl FnOnce() -> Arc<Shared<K>>) -> bool {
        let id = runtime.id();
        if KNOWN.get() == Some(id) {
            return true;
        }
        let registration = || {
            // SAFETY: as in `Watches::join`.
            unsafe { AsyncFd::register_with_interest(Descriptor(shared()), Interest::READABLE) }
        };
        // An error says that it is registered already, or that there is no room now: so there is where to register it.
        let can = catch_unwind(AssertUnwindSafe(registration)).is_ok();
        if can {
            KNOWN.set(Some(id));
        }
        can
    }

    impl<K: Send + 'static> Watches<K> {
        pub(crate) fn new() -> Self {
            Watches(Vec::new())
        }

        /// Joins the registration of `runtime`, the current one, or makes it.
        pub(crate) fn join(&mut self, runtime: &Handle, shared: &Arc<Shared<K>>) -> io::Result<Watch<K>> {
            self.0.retain(|(_, registration)| registration.strong_count() > 0);
            let known = self.0.iter().find(|(id, _)| *id == runtime.id());
            let registration = match known.and_then(|(_, registration)| registration.upgrade()) {
                Some(registration) => registration,
                None => {
                    let descriptor = Descriptor(Arc::clone(shared));
                    // SAFETY: `Shared` has the same descriptor open for all of its life, and `Descriptor` keeps it alive
                    // until tokio has let go of the descriptor.
                    let registration = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
                    let registration = Arc::new(registration);
                    self.0.push((runtime.id(), Arc::downgrade(&registration)));
                    registration
                }
            };
            Ok(Watch { runtime: runtime.id(), registration, waiting: None })
        }
    }

    impl<K: Send + 'static> Watch<K> {
        /// Whether it waits in this runtime.
        pub(crate) fn is_of(&self, runtime: &Handle) -> bool {
            self.runtime == runtime.id()
        }

        /// Ready once the descriptor has turned readable since the last time. Look at the engine after it, not before: what
        /// completes in between makes the descriptor readable anew.
        pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            // Given another waker, tokio drops the one before under a lock of its own; but with that one a task may go whose
            // futures wait here too.
            drop(self.waiting.take_if(|(waker, _)| !waker.will_wake(context.waker())));
            let (_, readable) = self.waiting.get_or_insert_with(|| {
                let registration = Arc::clone(&self.registration);
                let readable = async move {
                    registration.readable().await?.clear_ready();
                    Ok(())
                };
                (context.waker().clone(), Box::pin(readable))
            });
            let polled = readable.as_mut().poll(context);
            if polled.is_ready() {
                self.waiting = None;
            }
            polled
        }
    }
}

//! Applies after `fork(2)`: a child has copies of all descriptors and mappings, but the kernel objects are still its parent's.
#![allow(unsafe_code)] // maps a page that the kernel clears in a child, and leaks one value per process

use std::num::NonZeroUsize;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// Identifies a process among its ancestors and descendants. Process ids cannot: they repeat across pid namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

/// The token of the next process. In ordinary memory, so a child continues from its parent's number.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Token {
    /// Returns the token of this process. Two loads, except for the first call in each process.
    pub(crate) fn current() -> Token {
        let Some(place) = cleared_by_fork() else { return Token(process::id().into()) };
        match place.load(Ordering::Relaxed) {
            0 => {
                let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
                // If two threads get here at once, the first store wins.
                let stored = place.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
                Token(stored.err().unwrap_or(fresh))
            }
            own => Token(own),
        }
    }

    pub(crate) fn is_current(self) -> bool {
        self == Token::current()
    }
}

/// Returns a number that the kernel resets to zero in every child: `MADV_WIPEONFORK` of `madvise(2)`, Linux 4.14.
fn cleared_by_fork() -> Option<&'static AtomicU64> {
    /// Null at first, then the page or [`NONE`].
    static PLACE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
    static NONE: AtomicU64 = AtomicU64::new(0);

    let mut place = PLACE.load(Ordering::Acquire).cast_const();
    if place.is_null() {
        let mapped = map().unwrap_or(&raw const NONE);
        // A thread that loses the race uses the winner's page.
        let stored = PLACE.compare_exchange(ptr::null_mut(), mapped.cast_mut(), Ordering::AcqRel, Ordering::Acquire);
        place = stored.err().map_or(mapped, <*mut AtomicU64>::cast_const);
    }
    // SAFETY: `place` points to `NONE` or to a page that is never unmapped, and both hold an atomic number.
    (place != &raw const NONE).then(|| unsafe { &*place })
}

fn map() -> Option<*const AtomicU64> {
    let length = NonZeroUsize::new(size_of::<AtomicU64>())?; // the kernel rounds up to a page
    // SAFETY: the kernel chooses the address, so nothing else is mapped there.
    let page =
        unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }
            .ok()?;
    // SAFETY: the page was mapped above and holds nothing yet.
    unsafe { madvise(page, length.get(), MmapAdvise::MADV_WIPEONFORK) }.ok()?;
    Some(page.as_ptr().cast_const().cast())
}

/// A static value that every process makes for itself. Takes no lock, so a fork in another thread cannot leave it locked.
pub(crate) struct ProcessLocal<T> {
    newest: AtomicPtr<(Token, T)>,
}

impl<T: Sync> ProcessLocal<T> {
    pub(crate) const fn new() -> Self {
        ProcessLocal { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns this process's value, and makes it first if there is none. Then `inherited` gets the parent's value, if any.
    pub(crate) fn get_or_make<E>(
        &'static self,
        make: impl FnOnce() -> Result<T, E>,
        inherited: impl FnOnce(&T),
    ) -> Result<&'static T, E> {
        let before = self.newest.load(Ordering::Acquire);
        // SAFETY: only `Box::into_raw` below stores here, and nothing frees what it stored.
        let known = unsafe { before.as_ref() };
        if let Some((_, value)) = known.filter(|(token, _)| token.is_current()) {
            return Ok(value);
        }
        let fresh = Box::into_raw(Box::new((Token::current(), make()?)));
        match self.newest.compare_exchange(before, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                if let Some((_, value)) = known {
                    inherited(value);
                }
                // SAFETY: `fresh` was leaked above and is never freed from here on.
                Ok(unsafe { &(*fresh).1 })
            }
            Err(other) => {
                // SAFETY: `fresh` was leaked above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: as for `known`: another thread of this process stored it, and nothing frees it.
                Ok(unsafe { &(*other).1 })
            }
        }
    }
}

/// An owned value, which a forked child makes anew from its parent's. Takes no lock.
pub(crate) struct PerProcess<T> {
    token: Token,
    value: T,
    /// The child's value, or null.
    next: AtomicPtr<PerProcess<T>>,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        PerProcess { token: Token::current(), value, next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Returns this process's value. A child makes it from its parent's first.
    pub(crate) fn get(&self, make: impl Fn(&T) -> T) -> &T {
        let mut known = self;
        while !known.token.is_current() {
            let next = known.next.load(Ordering::Acquire);
            // SAFETY: only `Box::into_raw` below stores here, and only `drop` frees it, after all borrows have ended.
            known = match unsafe { next.as_ref() } {
                Some(next) => next,
                None => known.add(make(&known.value)),
            };
        }
        &known.value
    }

    fn add(&self, value: T) -> &Self {
        let fresh = Box::into_raw(Box::new(PerProcess::new(value)));
        match self.next.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it is stored now; only `drop` frees it.
            Ok(_) => unsafe { &*fresh },
            Err(other) => {
                // SAFETY: `fresh` was leaked above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: another thread stored it; only `drop` frees it.
                unsafe { &*other }
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let next = *self.next.get_mut();
        if !next.is_null() {
            // SAFETY: `add` leaked it from a box, and `self` is borrowed exclusively.
            drop(unsafe { Box::from_raw(next) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Barrier, Mutex};
    use std::thread;

    use super::*;

    /// A token that no process gets.
    const PARENTS: Token = Token(u64::MAX);

    /// A value that counts how many of its kind are alive.
    struct Counted<'a>(u32, &'a AtomicUsize);

    impl<'a> Counted<'a> {
        fn new(value: u32, alive: &'a AtomicUsize) -> Self {
            alive.fetch_add(1, Ordering::Relaxed);
            Counted(value, alive)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns what a child sees after a fork.
    fn inherited<T>(value: T) -> PerProcess<T> {
        let mut own = PerProcess::new(value);
        own.token = PARENTS;
        own
    }

    impl<T: Sync> ProcessLocal<T> {
        /// Makes this process a child, whose parent had this value.
        pub(crate) fn inherit(&self, value: T) {
            /// Keeps what a child never frees in LeakSanitizer's sight.
            static PARENTS_VALUES: Mutex<Vec<usize>> = Mutex::new(Vec::new());

            let parents = Box::into_raw(Box::new((PARENTS, value)));
            PARENTS_VALUES.lock().unwrap().push(parents.expose_provenance());
            self.newest.store(parents, Ordering::Release);
        }
    }

    /// Whether several threads get the same value at once.
    fn is_same_in_threads<'a, T: 'a>(get: impl Fn() -> &'a T + Sync) -> bool {
        const THREADS: usize = 4;
        let barrier = Barrier::new(THREADS);
        let address = || {
            barrier.wait();
            ptr::from_ref(get()).addr()
        };
        thread::scope(|scope| {
            let threads = [0; THREADS].map(|_| scope.spawn(address));
            let addresses = threads.map(|thread| thread.join().unwrap());
            addresses.iter().all(|address| *address == addresses[0])
        })
    }

    #[test]
    fn a_process_keeps_its_token() {
        let token = Token::current();
        assert!(token.is_current());
        assert!(!PARENTS.is_current());
        assert_eq!(thread::spawn(Token::current).join().unwrap(), token);
    }

    /// `NEXT` is above every ancestor's token, because each process takes its own from it first.
    #[test]
    fn a_token_is_kept_where_a_fork_clears_it() {
        let token = Token::current();
        if let Some(place) = cleared_by_fork() {
            assert!(is_same_in_threads(|| cleared_by_fork().unwrap()));
            assert_eq!(place.load(Ordering::Relaxed), token.0);
            assert!((1..NEXT.load(Ordering::Relaxed)).contains(&token.0));
        }
    }

    #[test]
    fn a_value_is_made_once_and_kept() {
        static LOCAL: ProcessLocal<u32> = ProcessLocal::new();
        assert_eq!(LOCAL.get_or_make(|| Err("refused"), |_| ()), Err("refused"));
        let first = LOCAL.get_or_make(|| Ok::<_, ()>(7), |_| panic!("nothing is inherited")).unwrap();
        let again = LOCAL.get_or_make(|| Err(()), |_| ()).unwrap();
        assert!(ptr::eq(first, again));
        assert_eq!(*again, 7);
    }

    #[test]
    fn a_child_makes_its_own_value_and_sees_its_parents_once() {
        static LOCAL: ProcessLocal<u32> = ProcessLocal::new();
        LOCAL.inherit(1);
        assert_eq!(LOCAL.get_or_make(|| Err("refused"), |_| panic!("nothing was made")), Err("refused"));
        let seen = Cell::new(0);
        let get = |value| LOCAL.get_or_make(|| Ok::<_, ()>(value), |parents| seen.set(seen.get() + parents));
        assert_eq!((get(2), get(3), seen.get()), (Ok(&2), Ok(&2), 1));
    }

    #[test]
    fn of_values_made_at_once_the_first_stays() {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        static LOCAL: ProcessLocal<Counted<'_>> = ProcessLocal::new();
        LOCAL.inherit(Counted::new(1, &ALIVE));
        let seen = Cell::new(0);
        let see = |parents: &Counted<'_>| seen.set(seen.get() + parents.0);
        let make_late = || {
            LOCAL.get_or_make(|| Ok(Counted::new(2, &ALIVE)), see)?;
            Ok::<_, ()>(Counted::new(3, &ALIVE))
        };
        assert!(LOCAL.get_or_make(make_late, see).is_ok_and(|value| value.0 == 2));
        assert_eq!((seen.get(), ALIVE.load(Ordering::Relaxed)), (1, 2));
    }

    #[test]
    fn threads_share_a_value() {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        static LOCAL: ProcessLocal<Counted<'_>> = ProcessLocal::new();
        let make = || Ok::<_, ()>(Counted::new(1, &ALIVE));
        assert!(is_same_in_threads(|| LOCAL.get_or_make(make, |_| ()).ok().unwrap()));
        assert_eq!(ALIVE.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_owner_keeps_the_value_it_was_given() {
        let value = PerProcess::new(7);
        assert_eq!(*value.get(|_| panic!("it is this process's")), 7);
    }

    #[test]
    fn a_child_makes_its_value_from_its_parents_once() {
        let mut value = inherited(1);
        let first = ptr::from_ref(value.get(|parents| parents + 1));
        assert_eq!(ptr::from_ref(value.get(|_| panic!("it was made"))), first);
        // SAFETY: `get` has stored a value here, which only `value` can reach.
        unsafe { (**value.next.get_mut()).token = PARENTS };
        let grandchilds = value.get(|parents| parents + 1);
        assert_eq!(*grandchilds, 3);
    }

    #[test]
    fn of_values_made_by_one_child_at_once_the_first_stays() {
        let alive = AtomicUsize::new(0);
        let value = inherited(Counted::new(1, &alive));
        let chosen = value.get(|_| {
            value.get(|_| Counted::new(2, &alive));
            Counted::new(3, &alive)
        });
        assert_eq!((chosen.0, alive.load(Ordering::Relaxed)), (2, 2));
        drop(value);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn threads_of_a_child_share_its_value() {
        let alive = AtomicUsize::new(0);
        let value = inherited(Counted::new(1, &alive));
        assert!(is_same_in_threads(|| value.get(|parents| Counted::new(parents.0 + 1, &alive))));
        assert_eq!(alive.load(Ordering::Relaxed), 2);
    }
}

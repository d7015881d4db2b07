//! In which process something was made: `fork(2)` copies what names kernel objects, and these stay the parent's.
#![allow(unsafe_code)] // maps a page that the kernel clears in a child

use std::num::NonZeroUsize;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// The process in which something was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u32);

impl Home {
    /// This process. No system call, but for the first time in each.
    pub(crate) fn here() -> Home {
        let Some(known) = known_in_this_process() else { return Home(process::id()) };
        match known.load(Relaxed) {
            0 => {
                let own = process::id();
                known.store(own, Relaxed);
                Home(own)
            }
            own => Home(own),
        }
    }

    pub(crate) fn is_here(self) -> bool {
        self == Home::here()
    }
}

/// Where this process notes its number; zero in a child (`MADV_WIPEONFORK` of `madvise(2)`, Linux 4.14). `None` where there can
/// be no such place.
fn known_in_this_process() -> Option<&'static AtomicU32> {
    static PLACE: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();
    *PLACE.get_or_init(|| {
        let length = NonZeroUsize::new(size_of::<AtomicU32>())?; // a page, as that is the least
        // SAFETY: the kernel chooses where, so that nothing is there.
        let page = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
        }
        .ok()?;
        // SAFETY: it is the page from above, and holds nothing yet.
        unsafe { madvise(page, length.get(), MmapAdvise::MADV_WIPEONFORK) }.ok()?;
        // SAFETY: a page is aligned for everything, zeros are a number, and it is never given back.
        Some(unsafe { page.cast::<AtomicU32>().as_ref() })
    })
}

//! Whether there is memory to lock for one more ring, found out without taking any.
#![allow(unsafe_code)] // maps memory, and shows it to the kernel

use std::io;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::libc::{c_void, iovec};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};

use super::ring::Ring;

/// What a ring of up to 32 entries locks: a page for both queues' heads and the completions, and one for the submissions.
const PAGES: usize = 2;

impl Ring {
    /// Fails with `ENOMEM` where the kernel would not let one more small ring lock its memory.
    ///
    /// A ring that is made and dropped would tell, but what it has locked comes back some time after, and is missing until
    /// then. So buffers are registered, two of them, the second of which lies nowhere: either there is no room for the first, or
    /// the second is refused, and the first is let go before the call returns.
    pub(super) fn refuse_without_room_for_another(&self) -> io::Result<()> {
        let pages = Pages::map(PAGES)?;
        let nowhere = iovec { iov_base: ptr::null_mut(), iov_len: 1 };
        // SAFETY: the pages stay mapped until the kernel has let go of them, and nobody else knows of them.
        match unsafe { self.register_buffers(&[pages.buffer(), nowhere]) } {
            Err(error) if error.raw_os_error() == Some(Errno::ENOMEM as i32) => Err(error),
            _ => Ok(()), // EFAULT as a rule; whoever bars the question answers it with something else
        }
    }
}

/// Small pages of memory: of huge ones the kernel counts all when it locks a part.
struct Pages {
    start: NonNull<c_void>,
    length: usize,
}

impl Pages {
    fn map(count: usize) -> io::Result<Pages> {
        let size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096);
        let length = NonZeroUsize::new(count * size).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: asks for new memory, wherever it may be.
        let start = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) }?;
        let pages = Pages { start, length: length.get() };
        // SAFETY: the memory is ours. A kernel without huge pages refuses, and has none to keep away.
        let _ = unsafe { madvise(start, pages.length, MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(pages)
    }

    fn buffer(&self) -> iovec {
        iovec { iov_base: self.start.as_ptr(), iov_len: self.length }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `map`, and nothing points into it any more.
        let _ = unsafe { munmap(self.start, self.length) }; // refused is only what was never mapped
    }
}

//! Checks whether one more ring could lock its memory, without making a ring.
#![allow(unsafe_code)] // maps memory, and shows it to the kernel

use std::io;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::libc::{c_void, iovec};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};

use super::ring::Ring;

/// The pages that a ring of up to 32 entries locks: one for the heads and the completions, one for the submissions.
const PAGES: usize = 2;

impl Ring {
    /// Fails with `ENOMEM` if the kernel would not let one more small ring lock its memory.
    ///
    /// Making and dropping a ring would not do: it releases its memory only later. So two buffers are registered, the second
    /// at an invalid address: either there is no room for the first, or the kernel refuses the second and releases the first.
    pub(super) fn refuse_without_room_for_another(&self) -> io::Result<()> {
        let pages = Pages::map(PAGES)?;
        let nowhere = iovec { iov_base: ptr::null_mut(), iov_len: 1 };
        // SAFETY: the pages stay mapped until the kernel has released them, and no other code uses them.
        match unsafe { self.register_buffers(&[pages.buffer(), nowhere]) } {
            Err(error) if error.raw_os_error() == Some(Errno::ENOMEM as i32) => Err(error),
            _ => Ok(()), // usually EFAULT; another errno comes from a seccomp filter and says nothing about memory
        }
    }
}

/// Small pages: the kernel counts a whole huge page even if only a part of it is locked.
struct Pages {
    start: NonNull<c_void>,
    length: usize,
}

impl Pages {
    fn map(count: usize) -> io::Result<Pages> {
        let size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096);
        let length = NonZeroUsize::new(count * size).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so nothing else is mapped there.
        let start = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) }?;
        let pages = Pages { start, length: length.get() };
        // SAFETY: the memory was mapped above. A kernel without huge pages refuses, and has none.
        let _ = unsafe { madvise(start, pages.length, MmapAdvise::MADV_NOHUGEPAGE) };
        Ok(pages)
    }

    fn buffer(&self) -> iovec {
        iovec { iov_base: self.start.as_ptr(), iov_len: self.length }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped the memory, and no pointer to it remains.
        let _ = unsafe { munmap(self.start, self.length) }; // fails only for memory that was never mapped
    }
}

//! Page-aligned memory at an address that does not move, for what the kernel is told to read and write.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The alignment of every region: a page, which the kernel asks of a ring of provided buffers.
const PAGE: usize = 4096;

/// Zeroed memory, freed on drop. It hands out pointers only: who may read or write which part of it, and when, is the
/// business of whoever made it.
pub(super) struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    /// Allocates `len` bytes (at least one page).
    pub(super) fn new(len: usize) -> Option<Region> {
        let layout = Layout::from_size_align(len.max(PAGE), PAGE).ok()?;
        // SAFETY: the layout has a size of at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        Some(Region { start, layout })
    }

    /// The first byte.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The byte at `offset`, which must be inside.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.layout.size(), "outside of the region");
        // SAFETY: `offset` is inside the allocation, as was just checked.
        unsafe { self.start().add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start(), self.layout) };
    }
}

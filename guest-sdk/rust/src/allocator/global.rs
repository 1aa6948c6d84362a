//! The heap of a guest, on its linear memory.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::memory_grow;
use std::cell::UnsafeCell;
use std::ptr::NonNull;

use super::{GRAIN, GROWTH, Heap, Memory, PAGE};

/// What the heap begins with. An instance has it from its start; to grow the
/// memory, and to make it small again for the next instance, a host changes its
/// address space twice for each batch.
#[repr(C, align(4096))]
struct First(UnsafeCell<[u8; GROWTH]>);

const _: () = assert!(align_of::<First>() == GRAIN);

// SAFETY: a component has one thread.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([0; GROWTH]));

struct LinearMemory {
    has_first: bool,
}

impl Memory for LinearMemory {
    fn grow(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        if self.has_first && bytes == GROWTH {
            self.has_first = false;
            return NonNull::new(FIRST.0.get().cast());
        }
        let before = memory_grow::<0>(bytes.div_ceil(PAGE));
        if before == usize::MAX {
            return None;
        }
        NonNull::new(std::ptr::with_exposed_provenance_mut(
            before.wrapping_mul(PAGE),
        ))
    }
}

struct Global(UnsafeCell<Heap<LinearMemory>>);

// SAFETY: a component has one thread.
unsafe impl Sync for Global {}

// SAFETY: a heap gives blocks of their layout, which are nobody else's;
// none of its functions calls the allocator or panics, and so each has the
// heap for itself.
unsafe impl GlobalAlloc for Global {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller says so.
        unsafe { (*self.0.get()).allocate(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller says so.
        unsafe { (*self.0.get()).free(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller says so.
        unsafe { (*self.0.get()).resize(block, layout, new_size) }
    }
}

#[global_allocator]
static GLOBAL: Global = Global(UnsafeCell::new(Heap::new(LinearMemory { has_first: true })));

/// [`std::alloc::alloc`], without the calls between it and the heap.
///
/// # Safety
/// As for [`GlobalAlloc::alloc`].
#[inline(always)]
pub(crate) unsafe fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the caller says so.
    unsafe { GLOBAL.alloc(layout) }
}

/// [`std::alloc::realloc`], in the same way.
///
/// # Safety
/// As for [`GlobalAlloc::realloc`].
#[inline(always)]
pub(crate) unsafe fn realloc(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller says so.
    unsafe { GLOBAL.realloc(block, layout, new_size) }
}

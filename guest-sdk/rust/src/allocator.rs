//! The allocator of a guest.
//!
//! An instance lives for one batch, has one thread, and takes and gives back
//! some ten blocks for each event. The allocator that Rust has for wasm keeps
//! headers, and joins neighbours each time a block is given back; here a block
//! has no header, and mostly it comes from a list and goes back to it.
//!
//! ```text
//! up to 32 KiB   rounded up to a class; one list of free blocks for each class,
//!                filled from a chunk
//! above          spans of whole grains; free spans are one list, by address,
//!                and neighbours are one span
//! ```
//!
//! What holds at any time: a block is as long as its class, or its number of
//! grains, says, and both follow from its layout alone; a free block is in the
//! list of its class, a free span in the list of spans, and no byte is in two
//! places. A block never changes its class, so a batch needs for each class what
//! it used of it at its peak, however long it goes on.

#![expect(
    unsafe_code,
    reason = "an allocator is made of raw memory; every caller keeps the contract of `GlobalAlloc`"
)]

use std::alloc::Layout;
use std::ptr::{self, NonNull};

/// Every class is a multiple of it, and every block is aligned to it.
const STEP: usize = 16;
/// Up to here classes are [`STEP`] apart, above it four between powers of two.
const FINE: usize = 1024;
/// The longest block that has a class.
const COARSE: usize = 32 * 1024;
/// Lists of free blocks: one for each class, and one that stays empty.
const CLASSES: usize = FINE / STEP + 1 + 4 * (COARSE / FINE).ilog2() as usize;
/// What is added to the chunk, or begins another.
const CHUNK: usize = 64 * 1024;
/// What spans are made of, and aligned to.
const GRAIN: usize = 4 * 1024;
/// What is asked of the memory at once, as long as it has so much.
const GROWTH: usize = 512 * 1024;

/// Where memory comes from.
pub(crate) trait Memory {
    /// So many bytes more, a multiple of 64 KiB and aligned to a grain, that
    /// nobody else uses.
    fn grow(&mut self, bytes: usize) -> Option<NonNull<u8>>;
}

/// The granularity of a [`Memory`].
pub(crate) const PAGE: usize = 64 * 1024;

/// The start of a free block.
struct Free {
    next: *mut Self,
}

/// The start of a free span.
struct Span {
    next: *mut Self,
    bytes: usize,
}

/// Where a block belongs.
#[derive(Clone, Copy)]
enum Place {
    Class { index: usize, bytes: usize },
    Span { bytes: usize },
    Nowhere,
}

impl Place {
    #[inline(always)]
    const fn of(layout: Layout) -> Self {
        let size = layout.size();
        if layout.align() > STEP || size > COARSE {
            if layout.align() > GRAIN {
                return Self::Nowhere;
            }
            // A layout is at most `isize::MAX` long: this cannot overflow.
            let bytes = size.next_multiple_of(GRAIN);
            return Self::Span { bytes };
        }
        if size <= FINE {
            let index = size.wrapping_add(STEP - 1) / STEP;
            return Self::Class {
                index,
                bytes: index.wrapping_mul(STEP),
            };
        }
        // `FINE` is a power of two, and so this is at least its exponent.
        let last = size.wrapping_sub(1);
        let exponent = last.ilog2();
        let quarter = 1 << exponent.wrapping_sub(2);
        let quarters = last / quarter;
        let powers = exponent.wrapping_sub(FINE.ilog2()) as usize;
        Self::Class {
            // There are 4 to 7 quarters, of which 4 are the power itself.
            index: (FINE / STEP + 1)
                .wrapping_add(powers.wrapping_mul(4))
                .wrapping_add(quarters.wrapping_sub(4)),
            bytes: quarters.wrapping_add(1).wrapping_mul(quarter),
        }
    }
}

/// A heap on a memory.
pub(crate) struct Heap<M> {
    memory: M,
    /// The end of what the memory gave last.
    end: *mut u8,
    /// Free blocks, by class.
    free: [*mut Free; CLASSES],
    /// The rest of the chunk.
    chunk: *mut u8,
    chunk_bytes: usize,
    /// Free spans, by address.
    spans: *mut Span,
}

impl<M: Memory> Heap<M> {
    pub(crate) const fn new(memory: M) -> Self {
        Self {
            memory,
            end: ptr::null_mut(),
            free: [ptr::null_mut(); CLASSES],
            chunk: ptr::null_mut(),
            chunk_bytes: 0,
            spans: ptr::null_mut(),
        }
    }

    /// A block, or null.
    ///
    /// # Safety
    /// The layout is not empty.
    #[inline(always)]
    pub(crate) unsafe fn allocate(&mut self, layout: Layout) -> *mut u8 {
        match Place::of(layout) {
            Place::Class { index, bytes } => {
                if let Some(list) = self.free.get_mut(index)
                    && !list.is_null()
                {
                    let block = *list;
                    // SAFETY: what is in a list is a free block, which nobody
                    // else refers to.
                    *list = unsafe { (*block).next };
                    return block.cast();
                }
                if bytes > self.chunk_bytes && !self.next_chunk() {
                    return ptr::null_mut();
                }
                let block = self.chunk;
                self.chunk_bytes = self.chunk_bytes.wrapping_sub(bytes);
                // SAFETY: the chunk has at least so many bytes.
                self.chunk = unsafe { block.add(bytes) };
                block
            }
            Place::Span { bytes } => self.take(bytes),
            Place::Nowhere => ptr::null_mut(),
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block is one of this heap, of this layout, and not used any more.
    #[inline(always)]
    pub(crate) unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        match Place::of(layout) {
            Place::Class { index, .. } => {
                // SAFETY: a class has room for a `Free`, which is less than a
                // step, and its alignment; nobody uses the block.
                unsafe { self.list(block, index) }
            }
            // SAFETY: so long is a span of this layout.
            Place::Span { bytes } => unsafe { self.release(block, bytes) },
            Place::Nowhere => {}
        }
    }

    /// Makes a block longer or shorter, or moves it; null, and the block stays
    /// as it is, if there is no memory.
    ///
    /// # Safety
    /// The block is one of this heap, of this layout; the new size is not 0,
    /// and a layout with it would be one.
    #[inline(always)]
    pub(crate) unsafe fn resize(
        &mut self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: the caller says so.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the same block and layout.
        if unsafe { self.resized(block, Place::of(layout), Place::of(new)) } {
            return block;
        }
        // SAFETY: the new size is not 0.
        let moved = unsafe { self.allocate(new) };
        if !moved.is_null() {
            // SAFETY: both blocks have so many bytes, and they are two blocks;
            // the old one is not used any more.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.free(block, layout);
            }
        }
        moved
    }

    /// Tries to make a block longer or shorter where it is.
    ///
    /// # Safety
    /// The block is at the place `old`.
    #[inline(always)]
    unsafe fn resized(&mut self, block: *mut u8, old: Place, new: Place) -> bool {
        match (old, new) {
            (Place::Class { bytes: old, .. }, Place::Class { bytes: new, .. }) => {
                if old == new {
                    return true;
                }
                let there = self.chunk_bytes.wrapping_add(old);
                if block.wrapping_add(old) != self.chunk || new > there {
                    return false;
                }
                // The last block of the chunk: its end moves.
                self.chunk = block.wrapping_add(new);
                self.chunk_bytes = there.wrapping_sub(new);
                true
            }
            (Place::Span { bytes: old }, Place::Span { bytes: new }) => {
                if new > old {
                    return self.take_at(block.wrapping_add(old), new.wrapping_sub(old));
                }
                if new < old {
                    // SAFETY: the span is so long, and its end not used any more.
                    unsafe { self.release(block.wrapping_add(new), old.wrapping_sub(new)) };
                }
                true
            }
            _ => false,
        }
    }

    /// Puts a block into the list of its class.
    ///
    /// # Safety
    /// The block is of this class, and nobody uses it.
    #[inline(always)]
    unsafe fn list(&mut self, block: *mut u8, index: usize) {
        if let Some(list) = self.free.get_mut(index) {
            let block = block.cast::<Free>();
            // SAFETY: a block has room for a `Free`, and its alignment.
            unsafe { block.write(Free { next: *list }) };
            *list = block;
        }
    }

    /// Makes the chunk longer, or begins another.
    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self) -> bool {
        let chunk = self.take(CHUNK);
        if chunk.is_null() {
            return false;
        }
        if chunk == self.chunk.wrapping_add(self.chunk_bytes) {
            self.chunk_bytes = self.chunk_bytes.wrapping_add(CHUNK);
            return true;
        }
        while self.chunk_bytes >= STEP {
            let rest = self.chunk_bytes.min(FINE);
            // SAFETY: the rest of a chunk is free, and a multiple of a step, as
            // all classes are; up to `FINE` each multiple has its class.
            unsafe { self.list(self.chunk, rest / STEP) };
            self.chunk = self.chunk.wrapping_add(rest);
            self.chunk_bytes = self.chunk_bytes.wrapping_sub(rest);
        }
        self.chunk = chunk;
        self.chunk_bytes = CHUNK;
        true
    }

    /// A span, or null.
    #[inline(never)]
    fn take(&mut self, bytes: usize) -> *mut u8 {
        loop {
            let mut link = &raw mut self.spans;
            let mut at_end = 0;
            // SAFETY: a link is the heap's own or that of a free span.
            while let Some(span) = NonNull::new(unsafe { *link }) {
                let span = span.as_ptr();
                // SAFETY: what is in the list is a free span.
                let there = unsafe { (*span).bytes };
                if there >= bytes {
                    // SAFETY: it has so many bytes.
                    unsafe { shorten(link, bytes) };
                    return span.cast();
                }
                if span.cast::<u8>().wrapping_add(there) == self.end {
                    at_end = there;
                }
                // SAFETY: as above.
                link = unsafe { &raw mut (*span).next };
            }
            if !self.grow(bytes.wrapping_sub(at_end)) {
                return ptr::null_mut();
            }
        }
    }

    /// Takes a span at this place, if that is free.
    #[inline(never)]
    fn take_at(&mut self, place: *mut u8, bytes: usize) -> bool {
        loop {
            let mut link = &raw mut self.spans;
            let mut there = 0;
            // SAFETY: a link is the heap's own or that of a free span.
            while let Some(span) = NonNull::new(unsafe { *link }) {
                let span = span.as_ptr();
                if span.cast() == place {
                    // SAFETY: what is in the list is a free span.
                    there = unsafe { (*span).bytes };
                    break;
                }
                // SAFETY: as above.
                link = unsafe { &raw mut (*span).next };
            }
            if there >= bytes {
                // SAFETY: the span at this link has so many bytes.
                unsafe { shorten(link, bytes) };
                return true;
            }
            // Only where the memory itself ends can more follow; if it does
            // not, then this is not the end any more.
            if place.wrapping_add(there) != self.end || !self.grow(bytes.wrapping_sub(there)) {
                return false;
            }
        }
    }

    /// Adds at least so many bytes to the free spans.
    fn grow(&mut self, bytes: usize) -> bool {
        let least = bytes.next_multiple_of(PAGE);
        let asked = least.max(GROWTH);
        let (start, bytes) = match self.memory.grow(asked) {
            Some(start) => (start, asked),
            None => match self.memory.grow(least) {
                Some(start) => (start, least),
                None => return false,
            },
        };
        self.end = start.as_ptr().wrapping_add(bytes);
        // SAFETY: nobody else uses it.
        unsafe { self.release(start.as_ptr(), bytes) };
        true
    }

    /// Puts a span into the list, as one with its free neighbours.
    ///
    /// # Safety
    /// The span is of whole grains, aligned to them, and nobody uses it.
    #[inline(never)]
    unsafe fn release(&mut self, start: *mut u8, mut bytes: usize) {
        let mut link = &raw mut self.spans;
        let mut before = ptr::null_mut::<Span>();
        // SAFETY: a link is the heap's own or that of a free span, and what is
        // in the list is a free span.
        unsafe {
            while !(*link).is_null() && (*link).cast() < start {
                before = *link;
                link = &raw mut (*before).next;
            }
            let mut next = *link;
            if !next.is_null() && start.wrapping_add(bytes) == next.cast() {
                bytes = bytes.wrapping_add((*next).bytes);
                next = (*next).next;
            }
            if !before.is_null() && before.cast::<u8>().wrapping_add((*before).bytes) == start {
                (*before).bytes = (*before).bytes.wrapping_add(bytes);
                (*before).next = next;
            } else {
                let span = start.cast::<Span>();
                span.write(Span { next, bytes });
                *link = span;
            }
        }
    }
}

/// Takes the first bytes off the free span at a link.
///
/// # Safety
/// The link is one of the heap's, and its span has so many bytes.
unsafe fn shorten(link: *mut *mut Span, bytes: usize) {
    // SAFETY: the caller says so; what is left is a multiple of a grain, which
    // has room for a `Span`.
    unsafe {
        let Span { next, bytes: there } = (*link).read();
        *link = if there == bytes {
            next
        } else {
            let rest = (*link).cast::<u8>().add(bytes).cast::<Span>();
            rest.write(Span {
                next,
                bytes: there.wrapping_sub(bytes),
            });
            rest
        };
    }
}

#[cfg(target_family = "wasm")]
mod global;
#[cfg(target_family = "wasm")]
pub(crate) use global::{alloc, realloc};

#[cfg(test)]
mod tests;

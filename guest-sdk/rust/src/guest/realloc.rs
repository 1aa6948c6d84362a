//! What the host allocates with, five times for each event.
//!
//! That of `wit-bindgen` is three calls deep; this one has the allocator in it.
//! A host that calls the core module itself has the texts of a whole batch
//! allocated in one call.

#![expect(unsafe_code, reason = "an export that hands out raw memory")]

use std::alloc::Layout;
#[cfg(not(feature = "allocator"))]
use std::alloc::{alloc, realloc};

#[cfg(feature = "allocator")]
use crate::allocator::{alloc, realloc};

/// A block of `new_size` bytes, with what the old one has if there is one.
///
/// # Safety
/// As the canonical ABI has it: a block of `old_size` bytes, if that is not 0,
/// came from here with the same alignment, which is a power of two.
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    if new_size == 0 {
        return std::ptr::without_provenance_mut(align);
    }
    // SAFETY: the host keeps the canonical ABI.
    let block = unsafe {
        if old_size == 0 {
            alloc(Layout::from_size_align_unchecked(new_size, align))
        } else {
            let layout = Layout::from_size_align_unchecked(old_size, align);
            realloc(old, layout, new_size)
        }
    };
    if block.is_null() {
        std::arch::wasm32::unreachable();
    }
    block
}

/// `event` of the contract, in words of 32 bits.
type EventWords = [usize; 18];

/// Where the texts of an event stand in its words: each a pointer, and a length.
const TEXTS: [usize; 5] = [2, 4, 6, 12, 14];

/// Allocates the texts of events whose lengths are there, and writes the
/// pointers before them.
///
/// # Safety
/// There are so many events, and nobody else refers to them.
#[unsafe(export_name = "gnomon_allocate_texts")]
unsafe extern "C" fn allocate_texts(events: *mut EventWords, count: usize) {
    // SAFETY: the caller says so.
    let events = unsafe { std::slice::from_raw_parts_mut(events, count) };
    for event in events {
        for text in TEXTS {
            // SAFETY: nothing is given that would have to be from here.
            event[text] = unsafe {
                cabi_realloc(std::ptr::null_mut(), 0, 1, event[text + 1]).expose_provenance()
            };
        }
    }
}

//! The calls that a projection makes for nearly every event, lowered by hand.
//!
//! The generated bindings put each list of arguments on the heap, and give the
//! memory back after the call. Here a list of usual length lies on the stack;
//! longer ones go through the bindings.

#![expect(
    unsafe_code,
    reason = "imports of the host, called with pointers as the canonical ABI has them"
)]

use std::mem::MaybeUninit;

use super::read_model::Table;
use crate::value::{RawChange, Value};

/// How many cells a key or a row, and how many changes, have at most here.
const CELLS: usize = 16;
const CHANGES: usize = 8;

/// `value` of the contract: the case, and what it has.
#[derive(Clone, Copy)]
#[repr(C)]
struct Cell {
    case: u8,
    payload: u64,
}

/// `change` of the contract.
#[derive(Clone, Copy)]
#[repr(C)]
struct Change {
    case: u8,
    column: u64,
    value: Cell,
}

const _: () = assert!(size_of::<Cell>() == 16 && align_of::<Cell>() == 8);
const _: () = assert!(size_of::<Change>() == 32 && align_of::<Change>() == 8);

#[link(wasm_import_module = "gnomon:projection/read-model@0.1.0")]
unsafe extern "C" {
    #[link_name = "[method]table.put"]
    fn put_row(table: u32, row: *const Cell, cells: usize);
    #[link_name = "[method]table.patch"]
    fn patch_row(table: u32, key: *const Cell, cells: usize, changes: *const Change, count: usize);
    #[link_name = "[method]table.merge"]
    fn merge_row(table: u32, key: *const Cell, cells: usize, changes: *const Change, count: usize);
}

pub(super) fn put(table: &Table, row: &[Value]) {
    let mut cells = Lowered::<Cell, CELLS>::new();
    let Some(cells) = cells.fill(row, cell) else {
        return table.put(row);
    };
    // SAFETY: the cells, and the texts that they point to, outlive the call.
    unsafe { put_row(table.handle(), cells, row.len()) }
}

pub(super) fn patch(table: &Table, key: &[Value], changes: &[RawChange]) {
    let (mut cells, mut lowered) = (
        Lowered::<Cell, CELLS>::new(),
        Lowered::<Change, CHANGES>::new(),
    );
    let (Some(cells), Some(lowered)) = (cells.fill(key, cell), lowered.fill(changes, change))
    else {
        return table.patch(key, changes);
    };
    // SAFETY: as in `put`.
    unsafe { patch_row(table.handle(), cells, key.len(), lowered, changes.len()) }
}

pub(super) fn merge(table: &Table, key: &[Value], changes: &[RawChange]) {
    let (mut cells, mut lowered) = (
        Lowered::<Cell, CELLS>::new(),
        Lowered::<Change, CHANGES>::new(),
    );
    let (Some(cells), Some(lowered)) = (cells.fill(key, cell), lowered.fill(changes, change))
    else {
        return table.merge(key, changes);
    };
    // SAFETY: as in `put`.
    unsafe { merge_row(table.handle(), cells, key.len(), lowered, changes.len()) }
}

/// A list as the host reads it.
struct Lowered<T, const N: usize>([MaybeUninit<T>; N]);

impl<T, const N: usize> Lowered<T, N> {
    const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; N])
    }

    /// Where the list lies, if there is room for it.
    #[inline(always)]
    fn fill<F>(&mut self, list: &[F], lower: impl Fn(&F) -> T) -> Option<*const T> {
        for (place, item) in self.0.get_mut(..list.len())?.iter_mut().zip(list) {
            place.write(lower(item));
        }
        Some(self.0.as_ptr().cast())
    }
}

/// A pointer and a length, which are two words of 32 bits.
#[inline(always)]
fn slice(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64 | (bytes.len() as u64) << 32
}

#[inline(always)]
fn cell(value: &Value) -> Cell {
    let (case, payload) = match value {
        Value::Null => (0, 0),
        Value::Boolean(value) => (1, u64::from(*value)),
        Value::Integer(value) => (2, value.cast_unsigned()),
        Value::Float(value) => (3, value.to_bits()),
        Value::Decimal(text) => (4, slice(text.as_bytes())),
        Value::Text(text) => (5, slice(text.as_bytes())),
        Value::Bytes(bytes) => (6, slice(bytes)),
        Value::Timestamp(value) => (7, value.cast_unsigned()),
        Value::Date(value) => (8, u64::from(value.cast_unsigned())),
        Value::Uuid(text) => (9, slice(text.as_bytes())),
        Value::Json(text) => (10, slice(text.as_bytes())),
    };
    Cell { case, payload }
}

#[inline(always)]
fn change(change: &RawChange) -> Change {
    let (case, (column, value)) = match change {
        RawChange::Set(change) => (0, change),
        RawChange::Add(change) => (1, change),
        RawChange::Min(change) => (2, change),
        RawChange::Max(change) => (3, change),
    };
    Change {
        case,
        column: slice(column.as_bytes()),
        value: cell(value),
    }
}

use std::alloc;
use std::collections::BTreeMap;

use super::*;

/// Pages of one reservation, one after the other.
struct Reservation {
    start: NonNull<u8>,
    layout: Layout,
    used: usize,
    limit: usize,
    /// Pages that somebody else takes before each growth.
    gap: usize,
}

impl Reservation {
    fn of(limit: usize) -> Self {
        let layout = Layout::from_size_align(limit, PAGE).unwrap();
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc(layout) }).unwrap();
        Self {
            start,
            layout,
            used: 0,
            limit,
            gap: 0,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Memory for Reservation {
    fn grow(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        assert_eq!(bytes % PAGE, 0);
        let start = self.used + self.gap * PAGE;
        if start + bytes > self.limit {
            return None;
        }
        self.used = start + bytes;
        // SAFETY: it is within the reservation.
        Some(unsafe { self.start.add(start) })
    }
}

const MIB: usize = 1024 * 1024;

fn heap(limit: usize) -> Heap<Reservation> {
    Heap::new(Reservation::of(limit))
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 1).unwrap()
}

/// A generator of numbers, so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// Short mostly, long at times.
    fn size(&mut self) -> usize {
        let bound = 1 << (1 + self.below(18));
        1 + self.below(bound)
    }
}

/// A block in use, and the byte that fills it.
struct Block {
    layout: Layout,
    mark: u8,
}

fn check(start: usize, block: &Block) {
    assert_eq!(start % block.layout.align(), 0, "aligned");
    let start = std::ptr::with_exposed_provenance::<u8>(start);
    // SAFETY: the block is in use, and filled.
    let bytes = unsafe { std::slice::from_raw_parts(start, block.layout.size()) };
    assert!(bytes.iter().all(|&byte| byte == block.mark), "contents");
}

fn insert(blocks: &mut BTreeMap<usize, Block>, start: *mut u8, block: Block) {
    assert!(!start.is_null());
    // SAFETY: the block is ours, and so long.
    unsafe { start.write_bytes(block.mark, block.layout.size()) };
    let start = start.expose_provenance();
    let end = start + block.layout.size();
    let before = blocks.range(..end).next_back();
    let free = before.is_none_or(|(&other, there)| other + there.layout.size() <= start);
    assert!(free, "two blocks in one place");
    blocks.insert(start, block);
}

fn churn(seed: u64, gap: usize) {
    let mut chance = Chance(seed);
    let mut heap = heap(64 * MIB);
    heap.memory.gap = gap;
    let mut blocks = BTreeMap::new();
    for round in 0..5_000_u32 {
        let [mark, ..] = round.to_le_bytes();
        // It fills and empties by turns.
        let keep = if round / 500 % 2 == 0 { 6 } else { 3 };
        let chosen = blocks
            .keys()
            .nth(chance.below(blocks.len().max(1)))
            .copied();
        match (chance.below(10), chosen) {
            (turn, Some(start)) if turn >= keep => {
                let block: Block = blocks.remove(&start).unwrap();
                check(start, &block);
                let pointer = std::ptr::with_exposed_provenance_mut(start);
                if turn < 8 {
                    // SAFETY: the block is of this heap and layout.
                    unsafe { heap.free(pointer, block.layout) };
                    continue;
                }
                let size = chance.size();
                // SAFETY: as above, and the size is not 0.
                let moved = unsafe { heap.resize(pointer, block.layout, size) };
                let kept = Block {
                    layout: layout(size.min(block.layout.size())),
                    mark: block.mark,
                };
                check(moved.expose_provenance(), &kept);
                let layout = Layout::from_size_align(size, block.layout.align()).unwrap();
                insert(&mut blocks, moved, Block { layout, mark });
            }
            _ => {
                let align = 1 << [0, 0, 3, 3, 3, 4, 5, 12][chance.below(8)];
                let layout = Layout::from_size_align(chance.size(), align).unwrap();
                // SAFETY: the layout is not empty.
                let start = unsafe { heap.allocate(layout) };
                insert(&mut blocks, start, Block { layout, mark });
            }
        }
    }
    for (start, block) in blocks {
        check(start, &block);
    }
}

#[test]
fn blocks_keep_their_contents_and_their_place() {
    for seed in 1..=8 {
        churn(seed, 0);
    }
}

#[test]
fn memory_need_not_continue() {
    for seed in 1..=4 {
        churn(seed, 1);
    }
}

#[test]
fn a_class_has_room_and_is_as_its_neighbours() {
    let mut last = (0, 0);
    for size in 1..=COARSE {
        let Place::Class { index, bytes } = Place::of(layout(size)) else {
            panic!("{size} bytes have no class");
        };
        assert!(bytes >= size && bytes % STEP == 0, "{size}");
        assert!(bytes - size < STEP.max(size / 4), "{size} takes {bytes}");
        assert!(index < CLASSES, "{size}");
        if (index, bytes) != last {
            assert_eq!((index, size), (last.0 + 1, last.1 + 1));
            last = (index, bytes);
        }
    }
    assert_eq!(last, (CLASSES - 1, COARSE));
}

#[test]
fn what_is_freed_is_used_again() {
    let mut heap = heap(2 * MIB);
    for round in 0..10_000 {
        let sizes = [36, 17, round % 3_000 + 1, 24_000, 40_000, 300_000];
        // SAFETY: blocks are freed once, with the layout of their last size.
        unsafe {
            let blocks = sizes.map(|size| (heap.allocate(layout(size)), size));
            for (block, size) in blocks {
                assert!(!block.is_null());
                let block = heap.resize(block, layout(size), size * 2);
                assert!(!block.is_null());
                heap.free(block, layout(size * 2));
            }
        }
    }
}

#[test]
fn the_last_block_grows_where_it_is() {
    let mut heap = heap(64 * MIB);
    // SAFETY: blocks are freed once, with the layout of their last size.
    unsafe {
        let small = heap.allocate(layout(100));
        assert_eq!(heap.resize(small, layout(100), 30_000), small);
        let large = heap.allocate(layout(MIB));
        // No two copies of it would fit.
        assert_eq!(heap.resize(large, layout(MIB), 62 * MIB), large);
        assert_eq!(heap.resize(large, layout(62 * MIB), MIB), large);
        let again = heap.allocate(layout(60 * MIB));
        assert!(!again.is_null());
        heap.free(again, layout(60 * MIB));
        heap.free(large, layout(MIB));
        let whole = heap.allocate(layout(62 * MIB));
        assert_eq!(whole, large, "neighbours are one span again");
    }
}

#[test]
fn without_memory_there_is_null_and_nothing_is_lost() {
    let mut heap = heap(MIB);
    // SAFETY: blocks are freed once, with the layout of their last size.
    unsafe {
        assert!(heap.allocate(layout(2 * MIB)).is_null());
        let block = heap.allocate(layout(800 * 1024));
        assert!(!block.is_null());
        assert!(heap.resize(block, layout(800 * 1024), 2 * MIB).is_null());
        heap.free(block, layout(800 * 1024));
        let mut blocks = Vec::new();
        loop {
            let block = heap.allocate(layout(1_000));
            if block.is_null() {
                break;
            }
            blocks.push(block);
        }
        assert!(blocks.len() * 1_024 > 900 * 1_024, "{}", blocks.len());
        for block in blocks {
            heap.free(block, layout(1_000));
        }
        let unheard = Layout::from_size_align(1, 2 * GRAIN).unwrap();
        assert!(heap.allocate(unheard).is_null());
    }
}

/// 64 MiB are a guest's: the largest batches have to fit, with the copy that
/// the bindings make of the list, and what an event is decoded to.
#[test]
fn the_largest_batches_need_little_more_than_their_bytes() {
    for (events, bytes) in [
        (1, 8 * MIB),
        (2, 4 * MIB),
        (1_000, 8 * 1024),
        (1_000, 8_300),
        (200, 40_000),
    ] {
        let mut heap = heap(64 * MIB);
        // SAFETY: blocks are freed once, with the layout of their last size.
        unsafe {
            let given: Vec<_> = (0..events)
                .map(|_| {
                    let id = heap.allocate(layout(36));
                    (id, heap.allocate(layout(bytes)))
                })
                .collect();
            let mut decoded = (heap.allocate(layout(8)), 8);
            for (id, data) in given {
                assert!(!id.is_null() && !data.is_null());
                while decoded.1 < bytes {
                    decoded.0 = heap.resize(decoded.0, layout(decoded.1), decoded.1 * 2);
                    decoded.1 *= 2;
                    assert!(!decoded.0.is_null());
                }
                heap.free(data, layout(bytes));
                heap.free(id, layout(36));
            }
        }
        let asked = events * bytes;
        assert!(
            heap.memory.used < asked * 5 / 4 + 2 * bytes + MIB,
            "{events}: {}",
            heap.memory.used
        );
    }
}

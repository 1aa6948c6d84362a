package gnomon

import (
	"math"
	"unsafe"
)

// The layouts of the component model's canonical ABI. Pointers have 8 bytes in
// Go's memory and 4 there, so addresses are numbers here, and all that they
// point to is in chunks, which the garbage collector finds by other ways.

type span struct{ address, length uint32 }

type list = span

type value struct{ tag, payload uint64 }

type optional struct {
	tag  uint32
	list list
}

type change struct {
	tag    uint64
	column span
	value  value
}

type rawEvent struct {
	position      uint64
	id            span
	streamID      span
	eventType     span
	version       uint64
	schemaVersion uint32
	isBinary      uint32
	data          span
	metadata      span
	recordedAt    int64
}

// chunks hold what crosses the boundary in a batch. They are never used again:
// strings may point into them, and keep them alive.
var (
	chunks    [][]uint64
	used, all uint32
)

const chunkBytes = 1 << 16

func reserve(bytes uint32) unsafe.Pointer {
	bytes = (bytes + 7) &^ 7
	if len(chunks) == 0 || bytes > all-used {
		all, used = max(chunkBytes, bytes), 0
		chunks = append(chunks, make([]uint64, all/8))
	}
	begin := unsafe.Add(unsafe.Pointer(&chunks[len(chunks)-1][0]), used)
	used += bytes
	return begin
}

func release() { chunks, used, all = nil, 0, 0 }

func allocate[T any](count int) []T {
	var item T
	if count == 0 {
		return nil
	}
	return unsafe.Slice((*T)(reserve(uint32(count)*uint32(unsafe.Sizeof(item)))), count)
}

func addressOf[T any](item *T) uint32 { return uint32(uintptr(unsafe.Pointer(item))) }

func at[T any](address uint32) *T { return (*T)(unsafe.Pointer(uintptr(address))) }

func listOf[T any](all []T) list {
	if len(all) == 0 {
		return list{8, 0}
	}
	return list{addressOf(&all[0]), uint32(len(all))}
}

func items[T any](l list) []T {
	if l.length == 0 {
		return nil
	}
	return unsafe.Slice(at[T](l.address), l.length)
}

func lowerString(text string) span {
	copied := allocate[byte](len(text))
	copy(copied, text)
	return listOf(copied)
}

func lowerBytes(bytes []byte) span {
	copied := allocate[byte](len(bytes))
	copy(copied, bytes)
	return listOf(copied)
}

func (s span) string() string {
	if s.length == 0 {
		return ""
	}
	return unsafe.String(at[byte](s.address), s.length)
}

func (s span) bytes() []byte {
	if s.length == 0 {
		return []byte{}
	}
	return unsafe.Slice(at[byte](s.address), s.length)
}

func (s span) packed() uint64 { return uint64(s.address) | uint64(s.length)<<32 }

func unpacked(payload uint64) span { return span{uint32(payload), uint32(payload >> 32)} }

func floatBits(number float64) uint64 { return math.Float64bits(number) }

func floatOf(bits uint64) float64 { return math.Float64frombits(bits) }

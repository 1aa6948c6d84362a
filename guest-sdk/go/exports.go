//go:build wasip1

package gnomon

import "time"

type rawColumn struct {
	name       span
	columnType uint8
	nullable   bool
	_          uint16
}

type rawSchema struct {
	name       span
	columns    list
	primaryKey list
	indexes    list
}

type rawDescription struct {
	name       span
	version    uint32
	types      list
	categories list
	metadata   uint32
	tables     list
}

type rawOutcome struct {
	tag      uint64
	position uint64
	message  span
}

func lowerStrings(texts []string) list {
	lowered := allocate[span](len(texts))
	for i, text := range texts {
		lowered[i] = lowerString(text)
	}
	return listOf(lowered)
}

func (s *schema) lower() rawSchema {
	columns := allocate[rawColumn](len(s.columns))
	for i, c := range s.columns {
		columns[i] = rawColumn{name: lowerString(c.name), columnType: uint8(c.columnType), nullable: c.nullable}
	}
	key := allocate[span](len(s.key))
	for i, c := range s.key {
		key[i] = lowerString(c.name)
	}
	indexes := allocate[list](len(s.indexes))
	for i, index := range s.indexes {
		indexes[i] = lowerStrings(index)
	}
	return rawSchema{lowerString(s.name), listOf(columns), listOf(key), listOf(indexes)}
}

//go:wasmexport describe
func describe() uint32 {
	printLines()
	if declared.name == "" {
		panic("gnomon: nothing calls gnomon.Projection; it belongs into an init function")
	}
	tables := allocate[rawSchema](len(declared.tables))
	for i, s := range declared.tables {
		tables[i] = s.lower()
	}
	description := &allocate[rawDescription](1)[0]
	*description = rawDescription{
		name:       lowerString(declared.name),
		version:    declared.version,
		types:      lowerStrings(declared.types),
		categories: lowerStrings(declared.categories),
		tables:     listOf(tables),
	}
	if declared.metadata {
		description.metadata = 1
	}
	return addressOf(description)
}

//go:wasmexport apply
func apply(address, count uint32) uint32 {
	printLines()
	outcome := &allocate[rawOutcome](1)[0]
	for i := range items[rawEvent](list{address, count}) {
		raw := &items[rawEvent](list{address, count})[i]
		if err := applyOne(raw); err != nil {
			message := raw.eventType.string() + ": " + err.Error()
			if known, ok := err.(*rejection); ok && known.place != "" {
				message += " (at " + known.place + ")"
			}
			*outcome = rawOutcome{tag: 1, position: raw.position, message: lowerString(message)}
			break
		}
	}
	for _, s := range declared.tables {
		if s.handle != 0 {
			hostDrop(s.handle)
			s.handle = 0
		}
	}
	flushLines()
	return addressOf(outcome)
}

func applyOne(raw *rawEvent) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = panicked(cause)
		}
	}()
	event := &Event{
		Position:      raw.position,
		ID:            raw.id.string(),
		StreamID:      raw.streamID.string(),
		Type:          raw.eventType.string(),
		Version:       raw.version,
		SchemaVersion: raw.schemaVersion,
		Data:          raw.data.bytes(),
		IsBinary:      raw.isBinary&0xff != 0,
		Metadata:      raw.metadata.bytes(),
		RecordedAt:    time.UnixMicro(raw.recordedAt).UTC(),
	}
	apply := declared.handlers[event.Type]
	if apply == nil {
		return &rejection{message: "no handler for events of this type"}
	}
	return apply(event)
}

//go:wasmexport cabi_post_describe
func afterDescribe(uint32) { release() }

//go:wasmexport cabi_post_apply
func afterApply(uint32) { release() }

//go:wasmexport cabi_realloc
func reallocate(old, oldLength, alignment, length uint32) uint32 {
	begin := uint32(uintptr(reserve(length)))
	if old != 0 {
		copy(items[byte](list{begin, length}), items[byte](list{old, oldLength}))
	}
	return begin
}

// lines is where the adapter collects what is printed, until a line is whole.
var lines [4096]byte

func printLines() { setLineBuffer(addressOf(&lines[0]), uint32(len(lines))) }

func init() { printLines() }

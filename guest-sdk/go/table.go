package gnomon

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Table is a table with a row type. Each exported field of the row is a column:
//
//	CustomerID  string     `gnomon:"customer_id,key"`
//	LastOrderAt *time.Time `gnomon:"last_order_at"`
//
// A pointer may be null. bool, the integers, float64, string and []byte hold
// what they say, time.Time a timestamp, json.RawMessage a JSON document; [Date],
// [Decimal] and [UUID] the rest.
type Table[Row any] struct {
	*schema
}

// Key is the values of a primary key, in the order of its columns.
type Key []any

// Where selects rows by all columns of an index.
type Where map[string]any

// Option is what [NewTable] takes beside the name.
type Option func(*schema)

// Index declares an index over columns; Find, PatchWhere and RemoveWhere need
// one.
func Index(columns ...string) Option {
	return func(s *schema) { s.indexes = append(s.indexes, columns) }
}

type column struct {
	table      string
	name       string
	columnType columnType
	nullable   bool
}

type schema struct {
	name    string
	columns []column
	key     []*column
	indexes [][]string
	handle  uint32
}

// NewTable declares a table of the projection. Call it from a variable of the
// package.
func NewTable[Row any](name string, options ...Option) Table[Row] {
	s := &schema{name: name}
	row := reflect.TypeFor[Row]()
	for i := range row.NumField() {
		field := row.Field(i)
		tag, ok := field.Tag.Lookup("gnomon")
		if !ok {
			mistake("%s.%s has no tag `gnomon:\"its_column\"`", row, field.Name)
		}
		columnName, rest, _ := strings.Cut(tag, ",")
		column := column{table: name, name: columnName}
		fieldType := field.Type
		if fieldType.Kind() == reflect.Pointer {
			fieldType, column.nullable = fieldType.Elem(), true
		}
		column.columnType, ok = typeOf(fieldType)
		if !ok || !field.IsExported() {
			mistake("%s.%s cannot be a column", row, field.Name)
		}
		s.columns = append(s.columns, column)
		switch rest {
		case "":
		case "key":
			s.key = append(s.key, &column)
		default:
			mistake("%s.%s: there is no option %q, only \"key\"", row, field.Name, rest)
		}
	}
	for _, option := range options {
		option(s)
	}
	declared.tables = append(declared.tables, s)
	return Table[Row]{s}
}

func (s *schema) column(name string) *column {
	for i := range s.columns {
		if s.columns[i].name == name {
			return &s.columns[i]
		}
	}
	panic(misfit(fmt.Sprintf("the table %s has no column %s", s.name, name)))
}

func (s *schema) open() uint32 {
	if s.handle == 0 {
		name := lowerString(s.name)
		s.handle = hostTable(name.address, name.length)
	}
	return s.handle
}

func (s *schema) lowerKey(key Key) list {
	if len(key) != len(s.key) {
		panic(misfit(fmt.Sprintf("the table %s has a key of %d columns, not %d", s.name, len(s.key), len(key))))
	}
	cells := allocate[value](len(key))
	for i, given := range key {
		cells[i] = s.key[i].lower(reflect.ValueOf(given))
	}
	return listOf(cells)
}

// lowerWhere finds the index that has the columns of a selection.
func (s *schema) lowerWhere(where Where) (columns, values list) {
	for _, index := range s.indexes {
		if len(index) != len(where) || slices.ContainsFunc(index, func(name string) bool {
			_, there := where[name]
			return !there
		}) {
			continue
		}
		names, cells := allocate[span](len(index)), allocate[value](len(index))
		for i, name := range index {
			names[i] = lowerString(name)
			cells[i] = s.column(name).lower(reflect.ValueOf(where[name]))
		}
		return listOf(names), listOf(cells)
	}
	panic(misfit(fmt.Sprintf("the table %s has no index over exactly the columns of %v", s.name, where)))
}

func (s *schema) lowerChanges(changes []Change) list {
	lowered := allocate[change](len(changes))
	for i, given := range changes {
		lowered[i] = change{
			tag:    uint64(given.kind),
			column: lowerString(given.column),
			value:  s.column(given.column).lower(reflect.ValueOf(given.value)),
		}
	}
	return listOf(lowered)
}

func (t Table[Row]) lift(cells list) Row {
	var row Row
	fields := reflect.ValueOf(&row).Elem()
	for i := range items[value](cells) {
		t.columns[i].lift(&items[value](cells)[i], fields.Field(i))
	}
	return row
}

// Get gives the row under a primary key, and whether there is one.
func (t Table[Row]) Get(key ...any) (row Row, found bool) {
	cells := t.lowerKey(key)
	result := &allocate[optional](1)[0]
	hostGet(t.open(), cells.address, cells.length, addressOf(result))
	if result.tag&0xff == 0 {
		return row, false
	}
	return t.lift(result.list), true
}

// GetMany gives the rows under many keys, in their order, in one round trip;
// nil where there is none.
func (t Table[Row]) GetMany(keys ...Key) []*Row {
	lowered := allocate[list](len(keys))
	for i, key := range keys {
		lowered[i] = t.lowerKey(key)
	}
	result := &allocate[list](1)[0]
	all := listOf(lowered)
	hostGetMany(t.open(), all.address, all.length, addressOf(result))
	rows := make([]*Row, len(keys))
	for i, found := range items[optional](*result) {
		if found.tag&0xff != 0 {
			row := t.lift(found.list)
			rows[i] = &row
		}
	}
	return rows
}

// Find gives rows by all columns of an index, in the order of their keys, at
// most limit.
func (t Table[Row]) Find(where Where, limit uint32) []Row {
	columns, values := t.lowerWhere(where)
	result := &allocate[list](1)[0]
	hostFind(t.open(), columns.address, columns.length, values.address, values.length, limit, addressOf(result))
	rows := make([]Row, 0, result.length)
	for _, found := range items[list](*result) {
		rows = append(rows, t.lift(found))
	}
	return rows
}

// Put inserts a row, or replaces the one under its key.
func (t Table[Row]) Put(row Row) {
	fields := reflect.ValueOf(&row).Elem()
	cells := allocate[value](len(t.columns))
	for i := range t.columns {
		cells[i] = t.columns[i].lower(fields.Field(i))
	}
	all := listOf(cells)
	hostPut(t.open(), all.address, all.length)
}

// Patch changes the row under a key; without such a row, it does nothing.
func (t Table[Row]) Patch(key Key, changes ...Change) {
	cells, lowered := t.lowerKey(key), t.lowerChanges(changes)
	hostPatch(t.open(), cells.address, cells.length, lowered.address, lowered.length)
}

// Merge changes the row under a key; without such a row, it makes one of zeros
// and nulls first.
func (t Table[Row]) Merge(key Key, changes ...Change) {
	cells, lowered := t.lowerKey(key), t.lowerChanges(changes)
	hostMerge(t.open(), cells.address, cells.length, lowered.address, lowered.length)
}

// Remove removes the row under a key, if there is one.
func (t Table[Row]) Remove(key ...any) {
	cells := t.lowerKey(key)
	hostRemove(t.open(), cells.address, cells.length)
}

// PatchWhere patches every row that Find would give without a limit.
func (t Table[Row]) PatchWhere(where Where, changes ...Change) {
	columns, values := t.lowerWhere(where)
	lowered := t.lowerChanges(changes)
	hostPatchWhere(t.open(), columns.address, columns.length, values.address, values.length,
		lowered.address, lowered.length)
}

// RemoveWhere removes every row that Find would give without a limit.
func (t Table[Row]) RemoveWhere(where Where) {
	columns, values := t.lowerWhere(where)
	hostRemoveWhere(t.open(), columns.address, columns.length, values.address, values.length)
}

// Change is a change to one column of a row.
type Change struct {
	kind   uint8
	column string
	value  any
}

// Set replaces the value of a column; nil is null.
func Set(column string, value any) Change { return Change{0, column, value} }

// Add adds to an integer, float or decimal column; null counts as zero.
func Add(column string, value any) Change { return Change{1, column, value} }

// Min keeps the smaller of the column and the value; null is replaced.
func Min(column string, value any) Change { return Change{2, column, value} }

// Max keeps the larger of the column and the value; null is replaced.
func Max(column string, value any) Change { return Change{3, column, value} }

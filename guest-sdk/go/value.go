package gnomon

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"
)

// Decimal is an exact decimal number in plain notation, such as "-12.50". Its
// zero value is 0. In JSON it is a string or a whole number of any size; a number
// with a fraction has been through binary floating point in most producers and
// is refused.
type Decimal string

// UUID is a UUID in its 36-character form. Its zero value is the UUID of zeros.
type UUID string

// Date is a day, counted from 1970-01-01; in JSON a string such as "2025-01-15".
type Date int32

const secondsPerDay = 24 * 60 * 60

// DateOf is the day of a time, in UTC.
func DateOf(t time.Time) Date {
	seconds := t.Unix()
	days := seconds / secondsPerDay
	if seconds%secondsPerDay < 0 {
		days--
	}
	// No column holds what is beyond.
	return Date(max(math.MinInt32, min(math.MaxInt32, days)))
}

func (d Date) time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// String is the day as text, such as "2025-01-15".
func (d Date) String() string { return d.time().Format(time.DateOnly) }

// MarshalJSON gives the day as text.
func (d Date) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string such as "2025-01-15".
func (d *Date) UnmarshalJSON(source []byte) error {
	if string(source) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(source, &text); err != nil {
		return fmt.Errorf("not a day such as \"2025-01-15\"")
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1 {
		return fmt.Errorf("not a day such as \"2025-01-15\"")
	}
	*d = DateOf(day)
	return nil
}

// UnmarshalJSON reads a string in plain notation, or a whole number.
func (d *Decimal) UnmarshalJSON(source []byte) error {
	text := string(source)
	if text == "null" {
		return nil
	}
	if source[0] == '"' {
		if err := json.Unmarshal(source, &text); err != nil {
			return err
		}
		if !isDecimal(text) {
			return fmt.Errorf("not a decimal number in plain notation")
		}
	} else if !isWhole(text) {
		return fmt.Errorf("neither a decimal number as a string nor a whole number")
	}
	*d = Decimal(text)
	return nil
}

// UnmarshalJSON reads a string of 36 characters.
func (u *UUID) UnmarshalJSON(source []byte) error {
	if string(source) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(source, &text); err != nil || !isUUID(text) {
		return fmt.Errorf("not a UUID in its 36-character form")
	}
	*u = UUID(text)
	return nil
}

func areDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

func isWhole(text string) bool {
	if text != "" && text[0] == '-' {
		text = text[1:]
	}
	return areDigits(text)
}

func isDecimal(text string) bool {
	for i := range len(text) {
		if text[i] == '.' {
			return isWhole(text[:i]) && areDigits(text[i+1:])
		}
	}
	return isWhole(text)
}

func isUUID(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c < '0' || c > '9' && c < 'A' || c > 'F' && c < 'a' || c > 'f':
			return false
		}
	}
	return len(text) == 36
}

// columnType is one of the contract's, in its order.
type columnType uint8

const (
	typeBoolean columnType = iota
	typeInteger
	typeFloat
	typeDecimal
	typeText
	typeBytes
	typeTimestamp
	typeDate
	typeUUID
	typeJSON
)

// wanted says what a column holds, as a message does.
func (c columnType) wanted() string {
	return [...]string{
		"a boolean", "an integer of 64 bits", "a float", "a decimal in plain notation", "a text", "bytes",
		"a timestamp in the years 1 to 9999", "a date in the years 1 to 9999",
		"a UUID in its 36-character form", "a JSON document",
	}[c]
}

var (
	timeType = reflect.TypeFor[time.Time]()
	dateType = reflect.TypeFor[Date]()
	jsonType = reflect.TypeFor[json.RawMessage]()
	decimal  = reflect.TypeFor[Decimal]()
	uuid     = reflect.TypeFor[UUID]()
	bytes    = reflect.TypeFor[[]byte]()
)

// typeOf is the column type that a Go type stands for.
func typeOf(t reflect.Type) (columnType, bool) {
	switch t {
	case timeType:
		return typeTimestamp, true
	case dateType:
		return typeDate, true
	case jsonType:
		return typeJSON, true
	case decimal:
		return typeDecimal, true
	case uuid:
		return typeUUID, true
	case bytes:
		return typeBytes, true
	}
	switch t.Kind() {
	case reflect.Bool:
		return typeBoolean, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return typeInteger, true
	case reflect.Float32, reflect.Float64:
		return typeFloat, true
	case reflect.String:
		return typeText, true
	}
	return 0, false
}

// misfit is a value that a column does not hold; panicked says so as it is.
type misfit string

const shownMax = 80

// shortened is a value as a message shows it.
func shortened(text string) string {
	if len(text) <= shownMax {
		return text
	}
	end := shownMax
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

func (c *column) refuse(given reflect.Value) {
	text := ""
	switch value := given.Interface().(type) {
	case string, Decimal, UUID:
		text = shortened(fmt.Sprintf("%q", value))
	case json.RawMessage:
		text = shortened(string(value))
	default:
		text = shortened(fmt.Sprint(value))
	}
	panic(misfit(fmt.Sprintf("%s.%s: %s (%s) is not %s", c.table, c.name, text, given.Type(), c.columnType.wanted())))
}

// lower writes a Go value as a cell of a column.
func (c *column) lower(given reflect.Value) value {
	if given.IsValid() && given.Kind() == reflect.Pointer {
		given = given.Elem()
	}
	if !given.IsValid() {
		if !c.nullable {
			panic(misfit(fmt.Sprintf("%s.%s: null, but the column is not nullable", c.table, c.name)))
		}
		return value{}
	}
	of, known := typeOf(given.Type())
	if known && of == typeInteger {
		// An untyped constant is an int, whatever the column holds.
		switch c.columnType {
		case typeFloat:
			given, of = given.Convert(reflect.TypeFor[float64]()), typeFloat
		case typeDecimal:
			given, of = reflect.ValueOf(Decimal(fmt.Sprint(integerOf(given)))), typeDecimal
		}
	}
	if known && of == typeText && given.Type().PkgPath() == "" && (c.columnType == typeDecimal || c.columnType == typeUUID) {
		of = c.columnType
	}
	if !known || of != c.columnType {
		c.refuse(given)
	}
	cell := value{tag: uint64(of) + 1}
	switch of {
	case typeBoolean:
		if given.Bool() {
			cell.payload = 1
		}
	case typeInteger:
		cell.payload = uint64(integerOf(given))
	case typeDate:
		if year := Date(given.Int()).time().Year(); year < 1 || year > 9999 {
			c.refuse(given)
		}
		cell.payload = uint64(uint32(given.Int()))
	case typeFloat:
		cell.payload = floatBits(given.Float())
	case typeTimestamp:
		at := given.Interface().(time.Time).UTC()
		if at.Year() < 1 || at.Year() > 9999 {
			c.refuse(given)
		}
		cell.payload = uint64(at.UnixMicro())
	case typeBytes:
		cell.payload = lowerBytes(given.Bytes()).packed()
	case typeJSON:
		document := given.Bytes()
		if len(document) == 0 {
			document = []byte("null")
		} else if !json.Valid(document) {
			c.refuse(given)
		}
		cell.payload = lowerBytes(document).packed()
	default:
		text := given.String()
		switch {
		case of == typeDecimal && given.Type() == decimal && text == "":
			text = "0"
		case of == typeUUID && given.Type() == uuid && text == "":
			text = "00000000-0000-0000-0000-000000000000"
		}
		if of == typeDecimal && !isDecimal(text) || of == typeUUID && !isUUID(text) || !utf8.ValidString(text) {
			c.refuse(given)
		}
		cell.payload = lowerString(text).packed()
	}
	return cell
}

// integerOf is what an integer of any size up to 64 bits holds.
func integerOf(given reflect.Value) int64 {
	if given.CanInt() {
		return given.Int()
	}
	return int64(given.Uint())
}

// lift writes a cell into a field of its column's type.
func (c *column) lift(cell *value, field reflect.Value) {
	if cell.tag&0xff == 0 {
		field.SetZero()
		return
	}
	if c.nullable {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch c.columnType {
	case typeBoolean:
		field.SetBool(cell.payload&0xff != 0)
	case typeInteger:
		c.liftInteger(int64(cell.payload), field)
	case typeDate:
		field.SetInt(int64(int32(cell.payload)))
	case typeFloat:
		field.SetFloat(floatOf(cell.payload))
	case typeTimestamp:
		field.Set(reflect.ValueOf(time.UnixMicro(int64(cell.payload)).UTC()))
	case typeBytes, typeJSON:
		field.SetBytes(unpacked(cell.payload).bytes())
	default:
		field.SetString(unpacked(cell.payload).string())
	}
}

func (c *column) liftInteger(number int64, field reflect.Value) {
	if field.CanInt() && !field.OverflowInt(number) {
		field.SetInt(number)
	} else if field.CanUint() && number >= 0 && !field.OverflowUint(uint64(number)) {
		field.SetUint(uint64(number))
	} else {
		panic(misfit(fmt.Sprintf("%s.%s: %d does not fit the field, which is %s", c.table, c.name, number, field.Type())))
	}
}

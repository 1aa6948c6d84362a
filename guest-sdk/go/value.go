package gnomon

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Decimal is an exact decimal number in plain notation, such as "-12.50".
type Decimal string

// UUID is a UUID in its 36-character form.
type UUID string

// Date is a day, counted from 1970-01-01.
type Date int32

// DateOf is the day of a time, in UTC.
func DateOf(t time.Time) Date {
	return Date((t.Unix() - int64(((t.Unix()%86400)+86400)%86400)) / 86400)
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

// lower writes a Go value as a cell of a column.
func (c *column) lower(given reflect.Value) value {
	if !given.IsValid() {
		return value{}
	}
	if given.Kind() == reflect.Pointer {
		if given.IsNil() {
			return value{}
		}
		given = given.Elem()
	}
	of, known := typeOf(given.Type())
	// An untyped constant is an int, whatever the column holds.
	if known && of == typeInteger && c.columnType == typeFloat {
		given, of = given.Convert(reflect.TypeFor[float64]()), typeFloat
	}
	if known && of == typeText && (c.columnType == typeDecimal || c.columnType == typeUUID) {
		of = c.columnType
	}
	if !known || of != c.columnType {
		panic(fmt.Sprintf("column %s does not hold a %s", c.name, given.Type()))
	}
	cell := value{tag: uint64(of) + 1}
	switch of {
	case typeBoolean:
		if given.Bool() {
			cell.payload = 1
		}
	case typeInteger:
		if given.CanInt() {
			cell.payload = uint64(given.Int())
		} else {
			cell.payload = given.Uint()
		}
	case typeDate:
		cell.payload = uint64(uint32(given.Int()))
	case typeFloat:
		cell.payload = floatBits(given.Float())
	case typeTimestamp:
		cell.payload = uint64(given.Interface().(time.Time).UnixMicro())
	case typeBytes, typeJSON:
		cell.payload = lowerBytes(given.Bytes()).packed()
	default:
		cell.payload = lowerString(given.String()).packed()
	}
	return cell
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
		panic(fmt.Sprintf("column %s: %d does not fit %s", c.name, number, field.Type()))
	}
}

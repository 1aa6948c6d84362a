// Copies values of every column type from events to rows and from row to row.
// tests/tests/end_to_end/languages.rs defines it, for all languages.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gnomon"
)

type valueCopy struct {
	Name     string           `gnomon:"name,key"`
	Truth    *bool            `gnomon:"truth"`
	Whole    *int64           `gnomon:"whole"`
	Fraction *float64         `gnomon:"fraction"`
	Exact    *gnomon.Decimal  `gnomon:"exact"`
	Words    *string          `gnomon:"words"`
	Octets   *[]byte          `gnomon:"octets"`
	Moment   *time.Time       `gnomon:"moment"`
	Day      *gnomon.Date     `gnomon:"day"`
	Identity *gnomon.UUID     `gnomon:"identity"`
	Document *json.RawMessage `gnomon:"document"`
}

// valueCell has a value of every type, of which none is null.
type valueCell struct {
	Name     string          `gnomon:"name,key"`
	Truth    bool            `gnomon:"truth"`
	Whole    int64           `gnomon:"whole"`
	Fraction float64         `gnomon:"fraction"`
	Exact    gnomon.Decimal  `gnomon:"exact"`
	Words    string          `gnomon:"words"`
	Octets   []byte          `gnomon:"octets"`
	Moment   time.Time       `gnomon:"moment"`
	Day      gnomon.Date     `gnomon:"day"`
	Identity gnomon.UUID     `gnomon:"identity"`
	Document json.RawMessage `gnomon:"document"`
}

var cells = gnomon.NewTable[valueCell]("value_cells")

// given is a value as an event has it.
type given[T any] struct {
	Name string `json:"name"`
	Cell T      `json:"cell"`
}

func fill[T any](merge func(gnomon.Key, ...gnomon.Change), column string) func(*gnomon.Event, given[T]) error {
	return func(_ *gnomon.Event, given given[T]) error {
		merge(gnomon.Key{given.Name}, gnomon.Set(column, given.Cell))
		return nil
	}
}

type valueMade struct {
	Name string `json:"name"`
	How  string `json:"how"`
}

type cents int64

// made are values that the code makes, and no event has.
var made = map[string]gnomon.Change{
	"nan":                         gnomon.Set("fraction", math.NaN()),
	"infinity":                    gnomon.Set("fraction", math.Inf(1)),
	"negative infinity":           gnomon.Set("fraction", math.Inf(-1)),
	"negative zero":               gnomon.Set("fraction", math.Copysign(0, -1)),
	"a whole number as a float":   gnomon.Set("fraction", 5),
	"80 digits":                   gnomon.Set("exact", gnomon.Decimal(strings.Repeat("1234567890", 8))),
	"100 places":                  gnomon.Set("exact", gnomon.Decimal("-0."+strings.Repeat("1234567890", 10))),
	"a whole number as a decimal": gnomon.Set("exact", -5),
	"a fraction as a decimal":     gnomon.Set("exact", 1.5),
	"no decimal":                  gnomon.Set("exact", ""),
	"a decimal that is not set":   gnomon.Set("exact", gnomon.Decimal("")),
	"a UUID that is not set":      gnomon.Set("identity", gnomon.UUID("")),
	"a document that is not set":  gnomon.Set("document", json.RawMessage(nil)),
	"a text of its own type":      gnomon.Set("identity", named("f47ac10b-58cc-4372-a567-0e02b2c3d479")),
	"a number of its own type":    gnomon.Set("whole", cents(5)),
	"a whole float":               gnomon.Set("whole", 5.0),
	"a number beyond 64 bits":     gnomon.Set("whole", uint64(math.MaxUint64)),
	"another type":                gnomon.Set("whole", "5"),
	"a boolean":                   gnomon.Set("whole", true),
	"nothing":                     gnomon.Set("whole", nil),
	"no pointer":                  gnomon.Set("whole", (*int64)(nil)),
	"no bytes":                    gnomon.Set("octets", []byte(nil)),
	"empty":                       gnomon.Set("words", ""),
	"nul":                         gnomon.Set("words", "a\x00b"),
	"no UTF-8":                    gnomon.Set("words", "a\xffb"),
	"no JSON":                     gnomon.Set("document", json.RawMessage("{")),
	"the day of a moment":         gnomon.Set("day", gnomon.DateOf(time.Date(2025, 1, 15, 23, 30, 0, 0, time.FixedZone("", -3600)))),
	"a day too far":               gnomon.Set("day", gnomon.DateOf(time.Date(10_000_000, 1, 1, 0, 0, 0, 0, time.UTC))),
	"a moment too far":            gnomon.Set("moment", time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)),
	"a moment in a zone":          gnomon.Set("moment", time.Date(2025, 1, 15, 10, 30, 0, 123456789, time.FixedZone("", 7200))),
	"a moment as a day":           gnomon.Set("day", time.Date(2025, 1, 15, 10, 30, 0, 0, time.UTC)),
	"a day as a moment":           gnomon.Set("moment", gnomon.Date(20103)),
}

type named string

var copies = gnomon.NewTable[valueCopy]("value_copies")

type valueSeen struct {
	Name                          string
	Truth, Whole, Fraction, Exact *string
	Words, Octets, Moment, Day    *string
	Identity, Document            *string
}

type valueCopied struct{ From, To string }

type lineSaid struct{ Line string }

type eventRefused struct{ Why string }

// read parses a text that may be missing; the first error counts.
func read[T any](text *string, parse func(string) (T, error), failure *error) *T {
	if text == nil {
		return nil
	}
	value, err := parse(*text)
	if err != nil && *failure == nil {
		*failure = err
	}
	return &value
}

func whole(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

func row(texts valueSeen) (row valueCopy, err error) {
	return valueCopy{
		Name:     texts.Name,
		Truth:    read(texts.Truth, strconv.ParseBool, &err),
		Whole:    read(texts.Whole, whole, &err),
		Fraction: read(texts.Fraction, func(text string) (float64, error) { return strconv.ParseFloat(text, 64) }, &err),
		Exact:    (*gnomon.Decimal)(texts.Exact),
		Words:    texts.Words,
		Octets:   read(texts.Octets, hex.DecodeString, &err),
		Moment: read(texts.Moment, func(text string) (time.Time, error) {
			microseconds, err := whole(text)
			return time.UnixMicro(microseconds), err
		}, &err),
		Day: read(texts.Day, func(text string) (gnomon.Date, error) {
			days, err := strconv.ParseInt(text, 10, 32)
			return gnomon.Date(days), err
		}, &err),
		Identity: (*gnomon.UUID)(texts.Identity),
		Document: read(texts.Document, func(text string) (json.RawMessage, error) {
			return json.RawMessage(text), nil
		}, &err),
	}, err
}

func init() {
	gnomon.Projection("value_copies", 1)

	gnomon.On("TruthGiven", fill[bool](cells.Merge, "truth"))
	gnomon.On("MaybeTruthGiven", fill[*bool](copies.Merge, "truth"))
	gnomon.On("WholeGiven", fill[int64](cells.Merge, "whole"))
	gnomon.On("MaybeWholeGiven", fill[*int64](copies.Merge, "whole"))
	gnomon.On("FractionGiven", fill[float64](cells.Merge, "fraction"))
	gnomon.On("MaybeFractionGiven", fill[*float64](copies.Merge, "fraction"))
	gnomon.On("ExactGiven", fill[gnomon.Decimal](cells.Merge, "exact"))
	gnomon.On("MaybeExactGiven", fill[*gnomon.Decimal](copies.Merge, "exact"))
	gnomon.On("WordsGiven", fill[string](cells.Merge, "words"))
	gnomon.On("MaybeWordsGiven", fill[*string](copies.Merge, "words"))
	gnomon.On("MomentGiven", fill[time.Time](cells.Merge, "moment"))
	gnomon.On("MaybeMomentGiven", fill[*time.Time](copies.Merge, "moment"))
	gnomon.On("DayGiven", fill[gnomon.Date](cells.Merge, "day"))
	gnomon.On("MaybeDayGiven", fill[*gnomon.Date](copies.Merge, "day"))
	gnomon.On("IdentityGiven", fill[gnomon.UUID](cells.Merge, "identity"))
	gnomon.On("MaybeIdentityGiven", fill[*gnomon.UUID](copies.Merge, "identity"))
	gnomon.On("DocumentGiven", fill[json.RawMessage](cells.Merge, "document"))
	gnomon.On("MaybeDocumentGiven", fill[*json.RawMessage](copies.Merge, "document"))

	gnomon.On("ValueMade", func(_ *gnomon.Event, wanted valueMade) error {
		change, known := made[wanted.How]
		if !known {
			return gnomon.Reject("there is no %q", wanted.How)
		}
		cells.Merge(gnomon.Key{wanted.Name}, change)
		return nil
	})

	gnomon.On("ValueSeen", func(_ *gnomon.Event, seen valueSeen) error {
		row, err := row(seen)
		if err != nil {
			return err
		}
		copies.Put(row)
		return nil
	})

	gnomon.On("ValueCopied", func(_ *gnomon.Event, copied valueCopied) error {
		row, found := copies.Get(copied.From)
		if !found {
			return gnomon.Reject("there is no value %q", copied.From)
		}
		row.Name = copied.To
		copies.Put(row)
		return nil
	})

	gnomon.On("LineSaid", func(_ *gnomon.Event, said lineSaid) error {
		fmt.Println(said.Line)
		return nil
	})

	gnomon.On("EventRefused", func(_ *gnomon.Event, refused eventRefused) error {
		return gnomon.Reject("%s", refused.Why)
	})

	gnomon.On("FaultMet", func(*gnomon.Event, struct{}) error {
		nothing, _ := copies.Get("no such value")
		*nothing.Whole++
		copies.Put(nothing)
		return nil
	})
}

func main() {}

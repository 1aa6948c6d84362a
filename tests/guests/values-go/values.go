// Copies values of every column type from events to rows and from row to row.
// tests/tests/end_to_end/languages.rs defines it, for all languages.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
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

var copies = gnomon.NewTable[valueCopy]("value_copies")

type valueSeen struct {
	Name                            string
	Truth, Whole, Fraction, Exact   *string
	Words, Octets, Moment, Day      *string
	Identity, Document              *string
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

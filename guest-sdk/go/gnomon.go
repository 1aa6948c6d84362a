// Package gnomon writes Gnomon projections in Go: events in, rows of SQL
// tables out.
//
//	package main
//
//	import "gnomon"
//
//	type Spending struct {
//		CustomerID string `gnomon:"customer_id,key"`
//		SpentCents int64  `gnomon:"spent_cents"`
//	}
//
//	var spending = gnomon.NewTable[Spending]("spending")
//
//	type PaymentReceived struct {
//		CustomerID  string `json:"customer_id"`
//		AmountCents int64  `json:"amount_cents"`
//	}
//
//	func init() {
//		gnomon.Projection("spending", 1)
//		gnomon.On("PaymentReceived", func(event *gnomon.Event, payment PaymentReceived) error {
//			spending.Merge(gnomon.Key{payment.CustomerID}, gnomon.Add("spent_cents", payment.AmountCents))
//			return nil
//		})
//	}
//
//	func main() {}
//
// A projection is a pure function. It has no files and no network, time.Now is
// always 1970-01-01, and what it keeps in variables is gone after the batch. The
// order in which a map is ranged over is not the same for every batch, so
// nothing may depend on it.
//
// An error that a handler returns rejects the event, and so does a panic; the
// host is told the message and the place. What is printed, by fmt or log or
// println, goes to the host's log, a line at a time.
package gnomon

import (
	"encoding/json"
	"fmt"
	"log"
	"reflect"
	"time"
)

// Event is an event with its data not yet decoded.
type Event struct {
	// Position is its place in the global order; strictly increasing, with holes.
	Position uint64
	// ID is unique.
	ID string
	// StreamID is its stream, such as "Order-abc123".
	StreamID string
	// Type is its type, such as "OrderPlaced".
	Type string
	// Version is its place in its own stream, from 1.
	Version uint64
	// SchemaVersion is the version of the data's schema, from 1.
	SchemaVersion uint32
	// Data is one JSON document, unless IsBinary.
	Data []byte
	// IsBinary says that Data is no JSON.
	IsBinary bool
	// Metadata is one JSON object; empty unless [Metadata] was called.
	Metadata []byte
	// RecordedAt is when it was recorded, in UTC, to the microsecond.
	RecordedAt time.Time
}

type handler func(*Event) error

var declared struct {
	name       string
	version    uint32
	metadata   bool
	categories []string
	types      []string
	handlers   map[string]handler
	tables     []*schema
	// What is wrong with the declarations; a panic while packages are
	// initialised would say it in two hundred lines.
	mistakes []string
}

func mistake(format string, arguments ...any) {
	declared.mistakes = append(declared.mistakes, fmt.Sprintf(format, arguments...))
}

// Projection says what the projection is called, and its version. Raise the
// version whenever history would project differently: the host then builds the
// new one beside the old one and switches over.
func Projection(name string, version uint32) {
	declared.name, declared.version = name, version
}

// Categories restricts the projection to streams of these categories: "Order"
// for "Order-abc123".
func Categories(categories ...string) {
	declared.categories = append(declared.categories, categories...)
}

// Metadata asks the host for the events' metadata.
func Metadata() { declared.metadata = true }

// On has apply called for each event of a type, with its data decoded by
// encoding/json. An error that it returns rejects the event.
//
// Nothing is filled in silently: data in which a field is missing or null
// rejects the event, unless the field is a pointer; one with the option omitempty
// or omitzero may be missing. So do arrays of another length, halves of surrogate
// pairs, and names in another case than that of a field's tag, which encoding/json
// takes as well.
func On[T any](eventType string, apply func(event *Event, data T) error) {
	if declared.handlers[eventType] != nil {
		mistake("two handlers for events of type %q", eventType)
	}
	if declared.handlers == nil {
		declared.handlers = make(map[string]handler)
	}
	declared.types = append(declared.types, eventType)
	place := placeOf(apply)
	wanted := shapeOf(reflect.TypeFor[T]())
	declared.handlers[eventType] = func(event *Event) error {
		var data T
		if event.IsBinary {
			return &rejection{"its data is not JSON", place}
		}
		if err := json.Unmarshal(event.Data, &data); err != nil {
			return &rejection{"its data cannot be read: " + explained(event.Data, reflect.TypeFor[T](), err), place}
		}
		if err := wanted.check(event.Data); err != nil {
			return &rejection{"its data cannot be read: " + err.Error(), place}
		}
		if err := apply(event, data); err != nil {
			return placed(err, place)
		}
		return nil
	}
}

func init() {
	// The host's log has a time of its own.
	log.SetFlags(0)
}

package main

import "gnomon"

// Entry is a row of the table: a field for each column.
type Entry struct {
	ID string `gnomon:"id,key"`
}

var entries = gnomon.NewTable[Entry]("{{projection}}")

// SomethingHappened has what is wanted of such an event's data.
type SomethingHappened struct {
	ID string `json:"id"`
}

func init() {
	// Increase the version whenever the same events should produce different rows.
	gnomon.Projection("{{projection}}", 1)

	// A handler for each type of event that is wanted.
	gnomon.On("SomethingHappened", func(_ *gnomon.Event, happened SomethingHappened) error {
		entries.Put(Entry{ID: happened.ID})
		return nil
	})
}

func main() {}

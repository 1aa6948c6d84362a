// Does the operations on tables that most projections can do without.
// tests/tests/end_to_end/languages/operations.rs defines it, for all languages.
package main

import (
	"fmt"
	"strings"

	"gnomon"
)

type person struct {
	Name string  `gnomon:"name,key"`
	City string  `gnomon:"city"`
	Age  int64   `gnomon:"age"`
	Note *string `gnomon:"note"`
}

type answer struct {
	Position int64  `gnomon:"position,key"`
	Answer   string `gnomon:"answer"`
}

var (
	people  = gnomon.NewTable[person]("people", gnomon.Index("city"))
	answers = gnomon.NewTable[answer]("answers")
)

type put struct {
	Name, City string
	Age        int64
}

type patched struct {
	Name string
	Add  int64
}

type clamped struct {
	Name     string
	Min, Max int64
}

type cityPatched struct {
	City string
	Add  int64
}

type removed struct{ Name string }

type cityRemoved struct{ City string }

type asked struct {
	City  string
	Limit uint32
}

type askedFor struct{ Names []string }

func write(event *gnomon.Event, found []string) {
	answers.Put(answer{Position: int64(event.Position), Answer: strings.Join(found, ",")})
}

func init() {
	gnomon.Projection("operations", 1)

	gnomon.On("Put", func(_ *gnomon.Event, put put) error {
		people.Put(person{Name: put.Name, City: put.City, Age: put.Age})
		return nil
	})

	gnomon.On("Patched", func(_ *gnomon.Event, patched patched) error {
		people.Patch(gnomon.Key{patched.Name}, gnomon.Add("age", patched.Add), gnomon.Set("note", "patched"))
		return nil
	})

	gnomon.On("Clamped", func(_ *gnomon.Event, clamped clamped) error {
		people.Patch(gnomon.Key{clamped.Name}, gnomon.Max("age", clamped.Min))
		people.Patch(gnomon.Key{clamped.Name}, gnomon.Min("age", clamped.Max))
		return nil
	})

	gnomon.On("CityPatched", func(_ *gnomon.Event, patched cityPatched) error {
		people.PatchWhere(gnomon.Where{"city": patched.City},
			gnomon.Add("age", patched.Add), gnomon.Set("note", nil))
		return nil
	})

	gnomon.On("Removed", func(_ *gnomon.Event, removed removed) error {
		people.Remove(removed.Name)
		return nil
	})

	gnomon.On("CityRemoved", func(_ *gnomon.Event, removed cityRemoved) error {
		people.RemoveWhere(gnomon.Where{"city": removed.City})
		return nil
	})

	gnomon.On("Asked", func(event *gnomon.Event, asked asked) error {
		var names []string
		for _, person := range people.Find(gnomon.Where{"city": asked.City}, asked.Limit) {
			names = append(names, person.Name)
		}
		write(event, names)
		return nil
	})

	gnomon.On("AskedFor", func(event *gnomon.Event, asked askedFor) error {
		var keys []gnomon.Key
		for _, name := range asked.Names {
			keys = append(keys, gnomon.Key{name})
		}
		var found []string
		for _, person := range people.GetMany(keys...) {
			if person == nil {
				found = append(found, "-")
			} else {
				found = append(found, fmt.Sprintf("%s:%d", person.Name, person.Age))
			}
		}
		write(event, found)
		return nil
	})
}

func main() {}

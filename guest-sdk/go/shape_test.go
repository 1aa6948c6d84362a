package gnomon

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

type node struct {
	Name string `json:"name"`
	Next *node  `json:"next"`
}

type base struct {
	ID string `json:"id"`
}

type wanted struct {
	base
	Cell    int64           `json:"cell"`
	Note    *string         `json:"note"`
	Default string          `json:"default,omitempty"`
	Any     any             `json:"any"`
	Raw     json.RawMessage `json:"raw"`
	Lines   []node          `json:"lines"`
	Pair    [2]int          `json:"pair"`
	Counts  map[string]int  `json:"counts"`
	Price   Decimal         `json:"price"`
	Day     Date            `json:"day"`
	At      time.Time       `json:"at"`
	Owner   UUID            `json:"owner"`
	Loose   int
	private int
}

const whole = `{"id":"é","cell":-0,"any":null,"raw":null,"lines":[{"name":"a","next":{"name":"b"}}],
	"pair":[1,2],"counts":{"x":1},"price":12345678901234567890,"day":"2025-01-15","at":"2025-01-15T10:30:00Z",
	"owner":"F47AC10B-58CC-4372-A567-0E02B2C3D479","loose":1,"other":{"name":null,"x":["\ud800"]}}`

func read(document string) string {
	var data wanted
	if err := json.Unmarshal([]byte(document), &data); err != nil {
		return explained([]byte(document), reflect.TypeFor[wanted](), err)
	}
	if err := shapeOf(reflect.TypeFor[wanted]()).check([]byte(document)); err != nil {
		return err.Error()
	}
	return ""
}

func TestNothingIsFilledInSilently(t *testing.T) {
	if problem := read(whole); problem != "" {
		t.Fatal(problem)
	}
	for _, change := range []struct{ from, to, said string }{
		{`"cell":-0,`, ``, "`cell` is missing"},
		{`"cell":-0`, `"cell":null`, "`cell` is null"},
		{`"cell":-0`, `"CELL":1`, "`CELL`, which encoding/json takes for `cell`"},
		{`"cell":-0`, `"cell":1.5`, "`cell` is 1.5: cannot unmarshal number 1.5"},
		{`"id":"é",`, ``, "`id` is missing"},
		{`"id":"é"`, `"id":"\ud800"`, "`id` is \"\\ud800\", which has half of a surrogate pair"},
		{`"id":"é"`, `"id":"\ud800\u0041"`, "half of a surrogate pair"},
		{`"id":"é"`, `"id":"\udc00"`, "half of a surrogate pair"},
		{`"any":null`, `"any":[{"k":"\udfff"}]`, "`any[0].k` is"},
		{`"any":null`, `"any":{"\ud800":1}`, "half of a surrogate pair"},
		{`,"any":null`, ``, "`any` is missing"},
		{`"raw":null,`, ``, "`raw` is missing"},
		{`{"name":"b"}`, `{}`, "`lines[0].next.name` is missing"},
		{`"lines":[`, `"lines":[null,`, "`lines[0]` is null"},
		{`"name":"a"`, `"name":7`, "`lines[0].name` is 7: "},
		{`"lines":[`, `"lines":[["a"],`, "`lines[0]` is [\"a\"]: "},
		{`[1,2]`, `[1]`, "`pair` has 1 elements, not 2"},
		{`[1,2]`, `[1,2,3]`, "`pair` has 3 elements, not 2"},
		{`{"x":1}`, `{"x":null}`, "`counts.x` is null"},
		{`12345678901234567890`, `1.5`, "`price` is 1.5: neither a decimal"},
		{`12345678901234567890`, `"1e3"`, "`price` is \"1e3\": not a decimal"},
		{`12345678901234567890`, `""`, "`price` is \"\": not a decimal"},
		{`"2025-01-15"`, `"2025-02-30"`, "`day` is \"2025-02-30\": not a day"},
		{`"2025-01-15"`, `20103`, "`day` is 20103: not a day"},
		{`"2025-01-15T10:30:00Z"`, `"2025-01-15"`, "`at` is \"2025-01-15\": "},
		{`"2025-01-15T10:30:00Z"`, `null`, "`at` is null"},
		{`"F47AC10B-`, `"F47AC10B`, "`owner` is"},
		{`"loose":1,`, ``, "`Loose` is missing"},
	} {
		document := strings.Replace(whole, change.from, change.to, 1)
		if document == whole {
			t.Fatalf("%s is not there", change.from)
		}
		if problem := read(document); !strings.Contains(problem, change.said) {
			t.Errorf("%s: %q", change.to, problem)
		}
	}
	for _, change := range [][2]string{
		{`"id":"é"`, `"id":"\ud83d\udc5f \\ud800 \""`},
		{`"cell":-0`, `"\u0063ell":1`},
		{`"any":null`, `"any":{"a":[null]},"note":null,"default":"x"`},
	} {
		if problem := read(strings.Replace(whole, change[0], change[1], 1)); problem != "" {
			t.Errorf("%s: %s", change[1], problem)
		}
	}
}

package gnomon

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// shape is what data must be beyond what encoding/json asks for, which leaves a
// field as it is where its value is missing or null.
type shape struct {
	// Whether null is a value of it.
	nullable bool
	// Whether a string in it is read as text.
	isText bool
	// Of a struct; shared, for a type may be made of itself.
	object *objectShape
	// Of what has elements; keys of a map are text.
	element *shape
	isMap   bool
	// Of an array; -1 of a slice.
	length int
}

type objectShape struct {
	fields   map[string]*fieldShape
	inOrder  []*fieldShape
	required int
}

type fieldShape struct {
	*shape
	name       string
	number     int
	isOptional bool
	// The name is the author's own, and not one that is found in any case.
	isTagged bool
}

var (
	shapes     sync.Map
	customJSON = reflect.TypeFor[json.Unmarshaler]()
	customText = reflect.TypeFor[encoding.TextUnmarshaler]()
	anyShape   = &shape{nullable: true, isText: true, isMap: true, length: -1}
)

func init() { anyShape.element = anyShape }

func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	s := &shape{length: -1}
	shapes.Store(t, s)
	pointer := reflect.PointerTo(t)
	switch {
	case t == jsonType:
		s.nullable = true
	case t.Kind() == reflect.Pointer:
		*s = *shapeOf(t.Elem())
		s.nullable = true
	case t.Implements(customJSON) || pointer.Implements(customJSON):
	case t.Implements(customText) || pointer.Implements(customText):
		s.isText = true
	case t.Kind() == reflect.Interface:
		*s = *anyShape
	case t.Kind() == reflect.Struct:
		s.object = &objectShape{fields: make(map[string]*fieldShape)}
		s.object.add(t, false)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		// Base64.
	case t.Kind() == reflect.Slice:
		s.element = shapeOf(t.Elem())
	case t.Kind() == reflect.Array:
		s.element, s.length = shapeOf(t.Elem()), t.Len()
	case t.Kind() == reflect.Map:
		s.element, s.isMap = shapeOf(t.Elem()), true
	case t.Kind() == reflect.String:
		s.isText = true
	}
	return s
}

func (o *objectShape) add(t reflect.Type, isOptional bool) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if field.Anonymous && name == "" && inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(customJSON) {
			o.add(inner, isOptional || inner != field.Type)
			continue
		}
		if !field.IsExported() {
			continue
		}
		isTagged := name != ""
		if !isTagged {
			name = field.Name
		}
		known := &fieldShape{shape: shapeOf(field.Type), name: name, isOptional: isOptional, isTagged: isTagged}
		for option := range strings.SplitSeq(options, ",") {
			known.isOptional = known.isOptional || option == "omitempty" || option == "omitzero"
		}
		known.isOptional = known.isOptional || field.Type.Kind() == reflect.Pointer
		if !known.isOptional {
			known.number = o.required
			o.required++
		}
		o.fields[name] = known
		o.inOrder = append(o.inOrder, known)
	}
}

// check looks at a document that encoding/json has decoded into what has this
// shape, so it is valid.
func (s *shape) check(document []byte) error {
	w := walk{document: document}
	w.value(s)
	if w.problem == "" {
		return nil
	}
	return fmt.Errorf("%s", w.problem)
}

// walk goes through a valid document.
type walk struct {
	document []byte
	at       int
	path     []byte
	problem  string
}

func (w *walk) refuse(format string, arguments ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, arguments...)
	}
}

// here is the path as a message shows it.
func (w *walk) here() string {
	if len(w.path) == 0 {
		return "it"
	}
	return "`" + shortened(string(w.path)) + "`"
}

func (w *walk) next() byte {
	for {
		switch c := w.document[w.at]; c {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return c
		}
	}
}

// text passes a string and gives what is between the quotation marks.
func (w *walk) text() []byte {
	w.at++
	begin := w.at
	for w.document[w.at] != '"' {
		if w.document[w.at] == '\\' {
			w.at++
		}
		w.at++
	}
	w.at++
	return w.document[begin : w.at-1]
}

func (w *walk) value(s *shape) {
	switch w.next() {
	case '{':
		w.object(s)
	case '[':
		w.list(s)
	case '"':
		source := w.text()
		if s != nil && s.isText && hasHalf(source) {
			w.refuse("%s is \"%s\", which has half of a surrogate pair", w.here(), shortened(string(source)))
		}
	case 'n':
		w.at += len("null")
		if s != nil && !s.nullable {
			w.refuse("%s is null", w.here())
		}
	default:
		for w.at < len(w.document) && strings.IndexByte(" \t\n\r,]}", w.document[w.at]) < 0 {
			w.at++
		}
	}
}

// field is the one that encoding/json fills from a member of this name, if any.
func (w *walk) field(object *objectShape, name []byte) *fieldShape {
	if field := object.fields[string(name)]; field != nil {
		return field
	}
	for _, field := range object.inOrder {
		if strings.EqualFold(field.name, string(name)) {
			if field.isTagged {
				w.refuse("%s has the member `%s`, which encoding/json takes for `%s`",
					w.here(), shortened(string(name)), field.name)
			}
			return field
		}
	}
	return nil
}

func (w *walk) object(s *shape) {
	w.at++
	var object *objectShape
	if s != nil {
		object = s.object
	}
	var few [4]uint64
	seen := few[:]
	if object != nil && object.required > 64*len(few) {
		seen = make([]uint64, object.required/64+1)
	}
	count := 0
	for w.next() != '}' {
		if w.document[w.at] == ',' {
			w.at++
			w.next()
		}
		source := w.text()
		w.next()
		w.at++
		var inner *shape
		name := source
		if s != nil && (object != nil || s.isMap) {
			if slices.Contains(source, '\\') {
				var plain string
				_ = json.Unmarshal(append(append([]byte{'"'}, source...), '"'), &plain)
				name = []byte(plain)
			}
			if s.isMap && hasHalf(source) {
				w.refuse("%s has the member \"%s\", which has half of a surrogate pair", w.here(), shortened(string(source)))
			}
			if s.isMap {
				inner = s.element
			} else if field := w.field(object, name); field != nil {
				inner = field.shape
				if mask := uint64(1) << (field.number % 64); !field.isOptional && seen[field.number/64]&mask == 0 {
					seen[field.number/64] |= mask
					count++
				}
			}
		}
		if inner == nil {
			w.value(nil)
			continue
		}
		length := len(w.path)
		if length > 0 {
			w.path = append(w.path, '.')
		}
		w.path = append(w.path, name...)
		w.value(inner)
		w.path = w.path[:length]
	}
	w.at++
	if object == nil || count == object.required {
		return
	}
	for _, field := range object.inOrder {
		if !field.isOptional && seen[field.number/64]&(1<<(field.number%64)) == 0 {
			length := len(w.path)
			if length > 0 {
				w.path = append(w.path, '.')
			}
			w.path = append(w.path, field.name...)
			w.refuse("%s is missing", w.here())
			w.path = w.path[:length]
		}
	}
}

func (w *walk) list(s *shape) {
	w.at++
	var inner *shape
	if s != nil {
		inner = s.element
	}
	count := 0
	for w.next() != ']' {
		if w.document[w.at] == ',' {
			w.at++
		}
		if inner == nil {
			w.value(nil)
		} else {
			length := len(w.path)
			w.path = fmt.Appendf(w.path, "[%d]", count)
			w.value(inner)
			w.path = w.path[:length]
		}
		count++
	}
	w.at++
	if s != nil && s.length >= 0 && count != s.length {
		w.refuse("%s has %d elements, not %d", w.here(), count, s.length)
	}
}

// hasHalf says whether an escaped surrogate stands without its other half, for
// which encoding/json writes U+FFFD.
func hasHalf(source []byte) bool {
	text := string(source)
	for i := strings.IndexByte(text, '\\'); i >= 0 && i < len(text); {
		if text[i] != '\\' {
			i++
			continue
		}
		code := escaped(text[i:])
		switch {
		case code < 0:
			i += 2
		case code < 0xd800 || code > 0xdfff:
			i += 6
		case code > 0xdbff:
			return true
		default:
			if low := escaped(text[i+6:]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 12
		}
	}
	return false
}

// escaped is the code of a \u at the beginning of a text, or -1.
func escaped(text string) int {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	var code int
	if _, err := fmt.Sscanf(text[2:6], "%04x", &code); err != nil {
		return -1
	}
	return code
}

// explained is why data cannot be decoded, with the member at fault and what
// stands there.
func explained(document []byte, t reflect.Type, err error) string {
	path, source, inner := located(document, t, err)
	message := strings.TrimPrefix(inner.Error(), "json: ")
	if path == "" {
		return message
	}
	return fmt.Sprintf("`%s` is %s: %s", shortened(path), shortened(string(source)), message)
}

// located finds the innermost value that cannot be decoded.
func located(document []byte, t reflect.Type, err error) (string, []byte, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	fails := func(source []byte, t reflect.Type) error { return json.Unmarshal(source, reflect.New(t).Interface()) }
	if reflect.PointerTo(t).Implements(customJSON) {
		return "", document, err
	}
	switch t.Kind() {
	case reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(document, &members) != nil {
			return "", document, err
		}
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				name = field.Name
			}
			source, there := members[name]
			for given, other := range members {
				if !there && strings.EqualFold(given, name) {
					name, source, there = given, other, true
				}
			}
			if !there || !field.IsExported() {
				continue
			}
			if inner := fails(source, field.Type); inner != nil {
				path, source, inner := located(source, field.Type, inner)
				return joined(name, path), source, inner
			}
		}
	case reflect.Slice, reflect.Array:
		var elements []json.RawMessage
		if json.Unmarshal(document, &elements) != nil {
			return "", document, err
		}
		for i, source := range elements {
			if inner := fails(source, t.Elem()); inner != nil {
				path, source, inner := located(source, t.Elem(), inner)
				return joined(fmt.Sprintf("[%d]", i), path), source, inner
			}
		}
	}
	return "", document, err
}

func joined(outer, inner string) string {
	if inner == "" || inner[0] == '[' {
		return outer + inner
	}
	return outer + "." + inner
}

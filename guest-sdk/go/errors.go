package gnomon

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"runtime"
	"strings"
)

type rejection struct {
	message string
	place   string
}

func (r *rejection) Error() string { return r.message }

// Reject is an error that knows its place. Any error does; this one says in
// which line it was made, others only which handler returned them.
//
//	return gnomon.Reject("there is no order %q", id)
func Reject(format string, arguments ...any) error {
	place := "an unknown place"
	if _, file, line, ok := runtime.Caller(1); ok {
		place = shown(file, line)
	}
	return &rejection{fmt.Sprintf(format, arguments...), place}
}

// placed gives an error the place of its handler, if it has none.
func placed(err error, place string) error {
	var known *rejection
	if errors.As(err, &known) {
		place = known.place
	}
	return &rejection{err.Error(), place}
}

func placeOf(function any) string {
	code := runtime.FuncForPC(reflect.ValueOf(function).Pointer())
	if code == nil {
		return "an unknown place"
	}
	file, line := code.FileLine(code.Entry())
	return "the handler, " + shown(file, line)
}

// shown leaves the folders out, which are the module's name.
func shown(file string, line int) string {
	return fmt.Sprintf("%s:%d", path.Base(file), line)
}

// panicked makes a rejection of what a handler panicked with. The deferred
// function that calls it still has the stack of the panic.
func panicked(cause any) error {
	message := fmt.Sprint("panic: ", cause)
	if said, ok := cause.(misfit); ok {
		message = string(said)
	}
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	place, panics := "", false
	for {
		frame, more := frames.Next()
		inside := strings.HasPrefix(frame.Function, "runtime.")
		panics = panics || inside
		// The SDK's own frames are on the way to the author's line.
		if panics && !inside && !strings.HasPrefix(frame.Function, "gnomon.") && frame.Line > 0 {
			place = shown(frame.File, frame.Line)
			break
		}
		if !more {
			break
		}
	}
	return &rejection{message, place}
}

package vnet

import (
	"errors"
	"fmt"
	"strings"
)

// ErrKind sorts errors by what the caller can do about them. Each front door
// maps it to its own fault in one table.
type ErrKind string

// The kinds of error.
const (
	ErrInvalid     ErrKind = "invalid"     // the request itself is wrong
	ErrNotFound    ErrKind = "not-found"   // what it names is not there
	ErrExists      ErrKind = "exists"      // what it would make is there already
	ErrInUse       ErrKind = "in-use"      // something else depends on it
	ErrOverlap     ErrKind = "overlap"     // a prefix covers another one
	ErrConflict    ErrKind = "conflict"    // it changed meanwhile (If-Match)
	ErrExhausted   ErrKind = "exhausted"   // no address, prefix or number is left
	ErrForbidden   ErrKind = "forbidden"   // the caller may not
	ErrUnsupported ErrKind = "unsupported" // this kernel, host or version cannot
	ErrUnavailable ErrKind = "unavailable" // a part is away: try again
	ErrHost        ErrKind = "host"        // the host could not do it
	ErrInternal    ErrKind = "internal"    // a fault of ours
)

// Error is the one error type that crosses package borders. It says what was
// wrong, in which field, and what to do.
type Error struct {
	Kind  ErrKind `json:"kind"`
	Op    string  `json:"op,omitempty"`    // the verb, for example "network create"
	Field string  `json:"field,omitempty"` // the key as users write it, for example "ipv6.address"
	Msg   string  `json:"message"`         // what was wrong
	Hint  string  `json:"hint,omitempty"`  // what to do
	Ref   *Ref    `json:"ref,omitempty"`   // the object that is in the way
	Err   error   `json:"-"`

	// wrapped is what Errorf's %w verbs named; its text is in Msg already.
	wrapped error
}

// Error returns one line: op: field: what was wrong; what to do.
func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Op, e.Field} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		if e.Msg != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return oneLine.Replace(b.String())
}

// oneLine flattens causes that errors.Join made of several lines.
var oneLine = strings.NewReplacer("\r\n", "; ", "\n", "; ", "\r", "; ")

// Unwrap returns the cause.
func (e *Error) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.wrapped
}

// Errorf makes an Error of the kind. A cause given with %w is found again by
// errors.Is and errors.As.
func Errorf(kind ErrKind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, Msg: err.Error()}
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		e.wrapped = err
	}
	return e
}

// Invalid makes an ErrInvalid about the field, which is written as a user of
// the command line would write the key.
func Invalid(field, format string, args ...any) *Error {
	e := Errorf(ErrInvalid, format, args...)
	e.Field = field
	return e
}

// WithHint returns e with the hint set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// InField returns err with the field set if it is an *Error that names none
// yet, so that the parsers of text need not know which key they parse. Any
// other error is returned as it is.
func InField(err error, field string) error {
	if e, ok := err.(*Error); ok && e != nil && e.Field == "" {
		c := *e
		c.Field = field
		return &c
	}
	return err
}

// KindOf returns the kind of the first *Error in err's tree, ErrInternal if
// there is none, and "" for nil.
func KindOf(err error) ErrKind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ErrInternal
}

// Is reports whether err is of the kind.
func Is(err error, kind ErrKind) bool { return err != nil && KindOf(err) == kind }

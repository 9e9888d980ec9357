package native

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sextant-net/sextant/internal/vnet"
)

// httpStatus is the one table from our kinds of error to HTTP's.
var httpStatus = map[vnet.ErrKind]int{
	vnet.ErrInvalid:     http.StatusBadRequest,
	vnet.ErrNotFound:    http.StatusNotFound,
	vnet.ErrExists:      http.StatusConflict,
	vnet.ErrInUse:       http.StatusConflict,
	vnet.ErrOverlap:     http.StatusConflict,
	vnet.ErrConflict:    http.StatusPreconditionFailed,
	vnet.ErrExhausted:   http.StatusInsufficientStorage,
	vnet.ErrForbidden:   http.StatusForbidden,
	vnet.ErrUnsupported: http.StatusNotImplemented,
	vnet.ErrUnavailable: http.StatusServiceUnavailable,
	vnet.ErrHost:        http.StatusBadGateway,
	vnet.ErrInternal:    http.StatusInternalServerError,
}

// Fault is the body of every answer that is not a success: a vnet.Error.
type Fault struct {
	Kind    vnet.ErrKind `json:"kind" doc:"what the caller can do about it: invalid, not-found, exists, in-use, overlap, conflict, exhausted, forbidden, unsupported, unavailable, host, internal"`
	Op      string       `json:"op,omitempty" doc:"the verb, for example network create"`
	Field   string       `json:"field,omitempty" doc:"the key that is wrong, for example ipv6.address"`
	Message string       `json:"message" doc:"what was wrong"`
	Hint    string       `json:"hint,omitempty" doc:"what to do"`
	Ref     *vnet.Ref    `json:"ref,omitempty" doc:"the object that is in the way"`

	status int // 0: as the kind has it
}

// faultOf turns any error into the body of an answer. What is not a
// vnet.Error is a fault of ours, and its text stays in the log.
func faultOf(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	var e *vnet.Error
	switch {
	case errors.As(err, &e):
		// The cause is part of the message: the wire has no causes.
		msg := e.Msg
		if e.Err != nil {
			msg = strings.TrimPrefix(msg+": "+e.Err.Error(), ": ")
		}
		return &Fault{Kind: e.Kind, Op: e.Op, Field: e.Field, Message: msg, Hint: e.Hint, Ref: e.Ref}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Fault{Kind: vnet.ErrUnavailable, Message: "no answer in time", Hint: "try again"}
	}
	return &Fault{Kind: vnet.ErrInternal, Message: "a fault of the daemon", Hint: "see its log: journalctl -u sextant"}
}

// Error returns the line of the vnet.Error.
func (f *Fault) Error() string {
	e := vnet.Error{Kind: f.Kind, Op: f.Op, Field: f.Field, Msg: f.Message, Hint: f.Hint}
	return e.Error()
}

// GetStatus returns the HTTP status; huma asks for it.
func (f *Fault) GetStatus() int {
	if f.status != 0 {
		return f.status
	}
	if s, ok := httpStatus[f.Kind]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// humaErrors makes huma speak in Faults. Its hook is a variable of its package;
// this dialect is the only user of that package.
var humaErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		f := &Fault{Kind: vnet.ErrInvalid, Message: msg, status: status}
		if status >= http.StatusInternalServerError {
			f.Kind = vnet.ErrInternal
		}
		for _, err := range errs {
			var d huma.ErrorDetailer
			if errors.As(err, &d) {
				detail := d.ErrorDetail()
				_, f.Field, _ = strings.Cut(detail.Location, ".")
				f.Message, f.status = detail.Message, http.StatusBadRequest
				if strings.HasPrefix(detail.Location, "query.") {
					f.Hint = "see the call's parameters in /openapi.json"
				}
				break
			}
		}
		return f
	}
})

// Package ask carries questions from control to a host's agent and the answers
// back: read-only, never stored, bounded in time and size.
//
// On one host the way is a unix socket whose peers are told by their kernel
// credentials. A connection carries one question and one answer, each a line
// of JSON; a client that goes away ends the question. (Between hosts the same
// lines will go over mutual TLS.)
package ask

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// MaxQuestion bounds the line of a question, in bytes.
	MaxQuestion = 1 << 20
	// MaxAnswer bounds the line of an answer, in bytes.
	MaxAnswer = 16 << 20
	// Timeout is how long a question may take where the asker set no earlier
	// deadline, and how long the agent works on one at most.
	Timeout = 30 * time.Second
	// readTimeout is how long the agent waits for the question itself.
	readTimeout = 5 * time.Second
	// maxUnderWay bounds the questions that an agent works on at once.
	maxUnderWay = 32
)

// question is the line that is asked.
type question struct {
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
	// Millis is how long the asker waits; 0 means Timeout.
	Millis int64 `json:"millis,omitempty"`
}

// answer is the line that comes back: a result or an error.
type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *vnet.Error     `json:"error,omitempty"`
}

// wireError makes err fit to travel: what it wraps is folded into its message.
func wireError(err error) *vnet.Error {
	var e *vnet.Error
	if !errors.As(err, &e) {
		return vnet.Errorf(vnet.ErrInternal, "%w", err)
	}
	flat := *e
	if e.Err != nil {
		if flat.Msg != "" {
			flat.Msg += ": "
		}
		flat.Msg += e.Err.Error()
		flat.Err = nil
	}
	return &flat
}

// errTooLong says that a line is longer than it may be.
var errTooLong = errors.New("line too long")

// readLine reads a line of at most limit bytes and decodes it.
func readLine(r io.Reader, limit int64, into any) error {
	limited := &io.LimitedReader{R: r, N: limit + 1}
	line, err := bufio.NewReader(limited).ReadBytes('\n')
	switch {
	case err == io.EOF && limited.N <= 0:
		return errTooLong
	case err == io.EOF && len(line) > 0:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	return json.Unmarshal(line, into)
}

// encode returns v as a line of at most limit bytes.
func encode(limit int, v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(line) >= limit {
		return nil, errTooLong
	}
	return append(line, '\n'), nil
}

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sextant-net/sextant/internal/vnet"
)

// maxEvent is how long one line of a stream of events may be, in bytes.
const maxEvent = 1 << 20

// Events calls f for every event after the revision (0: all that are kept, -1:
// none of those that were) and
// for every one that follows, until ctx ends, f returns an error or the stream
// breaks. It returns that error; events carry the revision to go on after.
func (c *Client) Events(ctx context.Context, after int64, f func(vnet.Event) error) error {
	r := Request{Method: http.MethodGet, Path: "/v1/events", Accept: "text/event-stream", LastEventID: after}
	if after < 0 {
		r.Query = url.Values{"after": {"-1"}}
	}
	resp, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	err = readEvents(resp.Body, f)
	return streamError(ctx, err)
}

// readEvents reads events of ours.
func readEvents(r io.Reader, f func(vnet.Event) error) error {
	return readSent(r, func(s sent) error {
		var e vnet.Event
		if err := json.Unmarshal(s.data, &e); err != nil {
			return vnet.Errorf(vnet.ErrInternal, "an event is no JSON: %w", err)
		}
		if s.id > 0 {
			e.Revision = s.id
		}
		return f(e)
	})
}

// sent is one server-sent event.
type sent struct {
	id   int64
	name string
	data json.RawMessage // f's to keep
}

// readSent parses server-sent events: fields in lines, an event per empty line,
// comments after a colon.
func readSent(r io.Reader, f func(sent) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var s sent
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if s.data != nil {
				if err := f(s); err != nil {
					return err
				}
			}
			s.name, s.data = "", nil
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(key) {
		case "data":
			s.data = append(s.data, value...)
		case "event":
			s.name = string(value)
		case "id":
			if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				s.id = n
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

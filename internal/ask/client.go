package ask

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Client asks the agent of its own host.
type Client struct {
	// Socket is the path of the agent's unix socket.
	Socket string
	// Host is the name of the host whose agent that is; "" takes any name.
	Host string
}

// Ask asks the host's agent. host "" is the client's own. args may be nil. The
// error is a *vnet.Error: the agent's own, or ErrUnavailable if it cannot be
// reached or does not answer in time.
func (c *Client) Ask(ctx context.Context, host, verb string, args json.RawMessage) (json.RawMessage, error) {
	if host != "" && c.Host != "" && host != c.Host {
		return nil, vnet.Errorf(vnet.ErrUnsupported, "host %s cannot be asked from %s", host, c.Host).
			WithHint("run the command on %s", host)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	q := question{Verb: verb, Args: args}
	if deadline, ok := ctx.Deadline(); ok {
		q.Millis = max(1, time.Until(deadline).Milliseconds())
	}
	a, err := c.exchange(ctx, q)
	if err != nil {
		return nil, failure(ctx, verb, err)
	}
	if a.Error != nil {
		return nil, a.Error
	}
	return a.Result, nil
}

func (c *Client) exchange(ctx context.Context, q question) (answer, error) {
	var a answer
	line, err := encode(MaxQuestion, q)
	if errors.Is(err, errTooLong) {
		return a, vnet.Errorf(vnet.ErrInvalid, "the question is longer than %d bytes", MaxQuestion)
	}
	if err != nil {
		return a, vnet.Errorf(vnet.ErrInvalid, "%s: the arguments are no JSON: %w", q.Verb, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// An agent that refuses answers before it has read: so read even if
	// writing failed.
	_, writeErr := conn.Write(line)
	if err := readLine(conn, MaxAnswer, &a); err != nil {
		return a, errors.Join(writeErr, err)
	}
	return a, nil
}

// failure says in our own error that there is no answer.
func failure(ctx context.Context, verb string, err error) error {
	var e *vnet.Error
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &syntax), errors.As(err, &mismatch), errors.Is(err, errTooLong):
		return vnet.Errorf(vnet.ErrInternal, "%s: the agent's answer cannot be read: %w", verb, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return vnet.Errorf(vnet.ErrUnavailable, "%s: the agent did not answer in time", verb)
	case ctx.Err() != nil:
		return vnet.Errorf(vnet.ErrUnavailable, "%s: given up: %w", verb, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return vnet.Errorf(vnet.ErrUnavailable, "%s: the agent went away", verb)
	}
	return vnet.Errorf(vnet.ErrUnavailable, "%s: the agent cannot be reached: %w", verb, err).
		WithHint("see that `sextant serve` runs")
}

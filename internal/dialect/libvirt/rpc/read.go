package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The errors of what a client sends that end its connection.
var (
	errLength      = errors.New("it sent a message of impossible length")
	errMemory      = errors.New("too many long messages are being received")
	errDescriptors = errors.New("it sends too many descriptors")
)

// read reads messages until the connection ends.
func (c *conn) read() error {
	open := time.Now().Add(c.server.opts.OpenTimeout)
	for !c.closing {
		var deadline time.Time
		if !c.isOpen() {
			deadline = open
		}
		h, payload, err := c.readMessage(deadline)
		if err != nil {
			return err
		}
		c.heard()
		if err := c.take(h, payload); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads one message. An open connection may be silent as long as
// it likes; a message that has begun must end in time.
func (c *conn) readMessage(deadline time.Time) (header, []byte, error) {
	var head [lengthSize + headerSize]byte
	c.readUntil(deadline)
	got, err := io.ReadAtLeast(c.net, head[:], 1)
	if err != nil {
		return header{}, nil, err
	}
	if deadline.IsZero() {
		c.readUntil(time.Now().Add(c.server.opts.MessageTimeout))
	}
	if got < lengthSize {
		more, err := io.ReadAtLeast(c.net, head[got:], lengthSize-got)
		if got += more; err != nil {
			return header{}, nil, err
		}
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < uint32(len(head)) || n > c.longest() {
		return header{}, nil, fmt.Errorf("%w: %d", errLength, n)
	}
	if _, err := io.ReadFull(c.net, head[got:]); err != nil {
		return header{}, nil, err
	}
	payload, err := c.readPayload(int(n) - len(head))
	return parseHeader(head[lengthSize:]), payload, err
}

// longest is how long a message of this client may be.
func (c *conn) longest() uint32 {
	if !c.isOpen() || c.caller().ReadOnly {
		return maxStranger
	}
	return maxMessage
}

// readPayload takes memory as the bytes come, so that a length by itself costs
// nothing, and for long messages only while all of them together are few.
func (c *conn) readPayload(n int) (payload []byte, err error) {
	const first, long = 4 << 10, maxStranger
	if n > long {
		defer func() { c.server.taken.Add(-int64(cap(payload))) }()
	}
	for len(payload) < n {
		size := min(n, max(first, 2*len(payload)))
		if n > long {
			if c.server.taken.Add(int64(size-cap(payload))) > c.server.opts.MaxMemory {
				c.server.taken.Add(-int64(size - cap(payload)))
				return payload, errMemory
			}
		}
		grown := make([]byte, size)
		from := copy(grown, payload)
		payload = grown
		if _, err := io.ReadFull(c.net, payload[from:]); err != nil {
			return payload, err
		}
	}
	return payload, nil
}

// dropDescriptors reads the byte that comes with each descriptor, behind the
// message (virSocketSendFD). The kernel closes descriptors that nobody takes.
func (c *conn) dropDescriptors(n uint32) error {
	if n > maxDescriptors {
		return fmt.Errorf("%w: %d", errDescriptors, n)
	}
	_, err := io.ReadFull(c.net, make([]byte, n))
	return err
}

package rpc

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// client speaks the protocol by hand.
type client struct {
	net.Conn
	t      testing.TB
	serial uint32
}

// pipe connects a client to a server without sockets, as the user.
func pipe(t testing.TB, s *Server, readOnly bool) *client {
	t.Helper()
	near, far := net.Pipe()
	s.admit(far, readOnly)
	t.Cleanup(func() { near.Close() })
	return &client{Conn: near, t: t}
}

// newPipeServer makes a server whose clients are all of one user.
func newPipeServer(t testing.TB, o Options, uid uint32) (*Server, *memory) {
	m, ok := o.Handler.(*memory)
	if !ok {
		m = &memory{}
		o.Handler = m
	}
	if o.Peer == nil {
		o.Peer = func(net.Conn) (Peer, error) { return Peer{UID: uid, PID: 1}, nil }
	}
	m.server = NewServer(o)
	return m.server, m
}

// frame makes a message of raw bytes.
func frame(h header, body []byte) []byte {
	b := make([]byte, lengthSize, lengthSize+headerSize+len(body))
	for _, u := range [...]uint32{h.program, h.version, h.proc, uint32(h.kind), h.serial, uint32(h.status)} {
		b = binary.BigEndian.AppendUint32(b, u)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// send sends a call and returns its serial.
func (c *client) send(proc uint32, args xdr.Value) uint32 {
	c.t.Helper()
	c.serial++
	m, err := header{program: programRemote, version: programVersion, proc: proc, serial: c.serial}.encode(args)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Write(m); err != nil {
		c.t.Fatal(err)
	}
	return c.serial
}

// receive reads one message.
func (c *client) receive() (header, []byte, error) {
	var n [lengthSize]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return header{}, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:])-lengthSize)
	if _, err := io.ReadFull(c, b); err != nil {
		return header{}, nil, err
	}
	return parseHeader(b), b[headerSize:], nil
}

// call sends a call, reads its answer into ret and returns the error that it
// is instead, with its message.
func (c *client) call(proc uint32, args, ret xdr.Value) *errorBody {
	c.t.Helper()
	serial := c.send(proc, args)
	h, body, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	if h.kind != kindReply || h.proc != proc || h.serial != serial {
		c.t.Fatalf("the answer to %d, %d is %+v", proc, serial, h)
	}
	if h.status == statusOK {
		if err := xdr.Decode(body, ret); err != nil {
			c.t.Fatal(err)
		}
		return nil
	}
	var e errorBody
	if err := xdr.Decode(body, &e); err != nil {
		c.t.Fatal(err)
	}
	return &e
}

// must calls what must succeed.
func (c *client) must(proc uint32, args, ret xdr.Value) {
	c.t.Helper()
	if e := c.call(proc, args, ret); e != nil {
		c.t.Fatalf("procedure %d: %s", proc, *e.message)
	}
}

// open does what every client does first.
func (c *client) open() *client {
	c.t.Helper()
	uri := URI
	c.must(66, &void{}, &authTypes{})
	c.must(1, &openArgs{uri: &uri}, &void{})
	return c
}

// ended fails unless the server closes the connection.
func (c *client) ended() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Hour))
	if _, err := io.Copy(io.Discard, c); err != nil {
		c.t.Errorf("the connection was not closed: %v", err)
	}
}

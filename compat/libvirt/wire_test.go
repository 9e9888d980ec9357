package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Numbers of the remote protocol (remote_protocol.x).
const (
	procOpen         = 1
	procStart        = 39
	procDefine       = 41
	procDestroy      = 42
	procXML          = 43
	procUndefine     = 49
	procUpdate       = 291
	procPortCreate   = 406
	procPortXML      = 409
	procPortDelete   = 410
	remoteProgram    = 0x20008086
	mostMessage      = 33554432
	inactive         = 1
	reclaim          = 1
	headerLen        = 24
	typeReply        = 1
	statusOK         = 0
	offsetType       = 12
	offsetStatus     = 20
	answerTime       = 30 * time.Second
	uuidLen          = 16
	nullPointer, one = uint32(0), uint32(1)
)

// fault is an error of libvirt's, with its number and the part it is from,
// which virsh does not show.
type fault struct {
	code, domain uint32
	text         string
}

func (f *fault) Error() string { return fmt.Sprintf("error %d %d\n%s", f.code, f.domain, f.text) }

// client speaks to libvirtd.
type client struct {
	conn   net.Conn
	serial uint32
}

// args are what a call has, in XDR (RFC 4506).
type args []byte

func (a args) num(n uint32) args { return binary.BigEndian.AppendUint32(a, n) }

func (a args) text(s string) args {
	a = append(a.num(uint32(len(s))), s...)
	return append(a, make([]byte, (4-len(s)%4)%4)...)
}

// call sends one call and returns the body of its reply.
func (c *client) call(proc uint32, a args) ([]byte, error) {
	c.serial++
	h := args(nil).num(uint32(4 + headerLen + len(a))).num(remoteProgram).num(1).num(proc).num(0).num(c.serial).num(0)
	if err := c.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(append(h, a...)); err != nil {
		return nil, err
	}
	for {
		var size [4]byte
		if _, err := io.ReadFull(c.conn, size[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n < 4+headerLen || n > mostMessage {
			return nil, fmt.Errorf("a message of %d bytes", n)
		}
		m := make([]byte, n-4)
		if _, err := io.ReadFull(c.conn, m); err != nil {
			return nil, err
		}
		if binary.BigEndian.Uint32(m[offsetType:]) != typeReply {
			continue
		}
		if binary.BigEndian.Uint32(m[offsetStatus:]) != statusOK {
			return nil, readFault(m[headerLen:])
		}
		return m[headerLen:], nil
	}
}

func readFault(b []byte) error {
	f := &fault{code: binary.BigEndian.Uint32(b), domain: binary.BigEndian.Uint32(b[4:])}
	if binary.BigEndian.Uint32(b[8:]) != nullPointer {
		f.text, _ = readText(b[12:])
	}
	return f
}

func readText(b []byte) (string, []byte) {
	n := int(binary.BigEndian.Uint32(b))
	return string(b[4 : 4+n]), b[4+(n+3)/4*4:]
}

// network is one of libvirtd's, in the form in which calls name it.
type network []byte

func (c *client) define(xml string) (network, error) {
	b, err := c.call(procDefine, args(nil).text(xml))
	return network(b), err
}

func (c *client) xml(n network, flags uint32) (string, error) {
	b, err := c.call(procXML, args(n).num(flags))
	if err != nil {
		return "", err
	}
	s, _ := readText(b)
	return s, nil
}

// undefine stops and forgets a network.
func (c *client) undefine(n network) error {
	_, err := c.call(procDestroy, args(n))
	if f := (*fault)(nil); errors.As(err, &f) {
		err = nil // it was not running
	}
	if err != nil {
		return err
	}
	_, err = c.call(procUndefine, args(n))
	return err
}

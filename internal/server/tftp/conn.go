package tftp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// read takes requests until the socket is closed.
func (s *Server) read(p *port, sock *os.File) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, maxRequest+1)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return
		}
		if failed == nil && from != nil { // else an ICMP error of an earlier answer
			s.request(p, sock, from, buf[:n])
		}
	}
}

// visit is what a transfer must know of its network, as it was when it began.
type visit struct {
	ns    string
	root  string
	mtu   int
	local netip.Addr
	index uint32
	sock  *os.File // that was asked
	from  unix.Sockaddr
}

// request takes one packet; b is the reader's.
func (s *Server) request(p *port, sock *os.File, from unix.Sockaddr, b []byte) {
	client, zone := addrOf(from)
	req, no := parseRequest(b)
	if req == nil && no == nil || client.Port() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := p.network
	if s.closed || p.sock != sock || !n.serves(client.Addr(), zone, sock) {
		return
	}
	v := visit{n.ns, n.root, n.mtu, p.addr, p.index, sock, from}
	if no != nil {
		v.say(no)
		return
	}
	t := s.talks.begin(talkKey{n.id, p.addr, client}, string(b), s.conf.Boot())
	if t == nil {
		return
	}
	s.work.Go(func() {
		err := s.serve(t, v, req)
		s.conf.Log.Debug("tftp: transfer", "network", n.id, "client", client, "file", req.file, "err", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.talks.remove(t)
	})
}

// serves reports whether somebody is a guest of the network. A link-local
// address is one on the network's own link, whichever address was asked.
func (n *network) serves(a netip.Addr, zone uint32, sock *os.File) bool {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return zone != 0 && zone == indexOf(sock, n.link)
	}
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// say sends a refusal from where the request was heard: that needs no socket.
func (v visit) say(no *refusal) {
	if raw, err := v.sock.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), no.packet(), unix.MSG_DONTWAIT, v.from) })
	}
}

// serve is one transfer, from the first look at the file to its end.
func (s *Server) serve(t *talk, v visit, req *request) error {
	f, size, no := open(v.root, req.file)
	if no != nil {
		v.say(no)
		return no
	}
	defer f.Close()
	var sock *os.File
	err := s.conf.InNS(v.ns, func() (err error) {
		sock, err = dial(v.local, v.index, v.from)
		return err
	})
	if err != nil {
		v.say(&refusal{codeOther, "the server has no port for the transfer"})
		return err
	}
	defer sock.Close()
	if !t.attach(sock) {
		return os.ErrClosed
	}
	agreed := req.negotiate(size, maxBlock(v.mtu, v.local.Is6()))
	c := &conversation{
		sock: sock, talk: t, boot: s.conf.Boot, transfer: transfer{terms: agreed},
		content: contentOf(f, size, req.ascii, agreed.block), data: make([]byte, 4, 4+agreed.block),
	}
	return c.run()
}

// conversation carries a transfer's messages.
type conversation struct {
	sock     *os.File // connected to the client
	talk     *talk
	boot     func() time.Duration
	transfer transfer
	content  content
	data     []byte // a DATA packet: its head, and room for a block
}

// errGone means that the client does not answer any more.
var errGone = errors.New("the client is gone")

func (c *conversation) run() error {
	a := c.transfer.start(c.boot())
	buf := make([]byte, 512)
	for {
		// A write waits for room in the socket.
		if err := c.sock.SetWriteDeadline(time.Now().Add(mostWait)); err != nil {
			return err
		}
		if over, err := c.act(a); over || err != nil {
			return err
		}
		if err := c.sock.SetReadDeadline(time.Now().Add(c.transfer.due - c.boot())); err != nil {
			return err
		}
		n, err := c.sock.Read(buf)
		now := c.boot()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			a = c.transfer.tick(now)
		case errors.Is(err, os.ErrClosed), errors.Is(err, unix.ECONNREFUSED):
			return err
		default: // an empty packet reads as io.EOF
			a = c.heard(buf[:n], now)
		}
	}
}

// heard takes a packet.
func (c *conversation) heard(b []byte, now time.Duration) action {
	r, ok := parseReply(b)
	if !ok {
		return c.transfer.tick(now)
	}
	if r.ended {
		return action{do: doGiveUp}
	}
	a := c.transfer.heard(r.ack, now)
	if a.do == doNothing {
		return c.transfer.tick(now)
	}
	c.talk.heard.Store(true)
	c.talk.moved.Store(int64(now))
	return a
}

// act does what the engine wants, and reports whether that was the last thing.
// A packet that could not be sent is one that was lost.
func (c *conversation) act(a action) (over bool, err error) {
	switch a.do {
	case doFinish:
		return true, nil
	case doGiveUp:
		return true, errGone
	case doOptions:
		_, err = c.sock.Write(c.transfer.oack())
	case doBlocks:
		err = c.blocks(a.first, a.last)
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		_, _ = c.sock.Write(no.packet())
		return true, no
	case errors.Is(err, os.ErrClosed), errors.Is(err, unix.ECONNREFUSED):
		return true, err
	}
	return false, nil
}

// blocks sends the blocks from first to last, or to the end of the file.
func (c *conversation) blocks(first, last uint64) error {
	for n := first; n <= last; n++ {
		data, ends, err := c.content.block(n)
		if err != nil {
			return unreadable(err)
		}
		c.data = append(c.data[:0], 0, opData, 0, 0)
		binary.BigEndian.PutUint16(c.data[2:], uint16(n))
		c.data = append(c.data, data...)
		_, err = c.sock.Write(c.data)
		if ends {
			c.transfer.ended(n)
			return err
		}
		if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	return nil
}

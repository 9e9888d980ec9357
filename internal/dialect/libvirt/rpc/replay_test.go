package rpc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// A recording is of the real libvirtd 9.0 with no networks. Its files are what
// the client did ("connect", or a message with a name of its own), each message
// followed by what came back ("answer" or "no answer").
//
// The first line of a message is its procedure, and what is unusual of its
// header as key=value; of an answer "ok" or "error". The lines below are the
// body: ints, strings in double quotes (with length and padding), and other
// bytes as x'00ff'. The serials count the messages of a connection.

// To record again, give the sockets of a libvirtd that has no networks and was
// just started, without their "-ro": go test -run TestReplay -record SOCKET
var record = flag.String("record", "", "the socket of a libvirtd whose answers are to be recorded")

// TestReplay compares our answers, byte by byte, with the recorded ones.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { replay(t, name) })
	}
}

func replay(t *testing.T, name string) {
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newPipeServer(t, Options{LibVersion: 9_000_000, KeepAliveInterval: -1}, 0)
	connect := func(readOnly bool) *client { return pipe(t, s, readOnly) }
	if *record != "" {
		connect = func(readOnly bool) *client { return dialLibvirtd(t, readOnly) }
		defer func() {
			if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
				t.Error(err)
			}
		}()
	}
	var c *client
	var sent header
	for i, f := range a.Files {
		switch {
		case strings.HasPrefix(f.Name, "connect"):
			c = connect(f.Name == "connect read-only")
			c.SetDeadline(time.Now().Add(time.Minute))
		case f.Name == "no answer":
			// The answer to the next message would come too late.
		case f.Name == "answer":
			h, body, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			if *record != "" {
				a.Files[i].Data = []byte(renderAnswer(h, body))
			}
			want, wantBody := parseMessage(t, a.Files[i].Data, sent)
			if h != want {
				t.Errorf("%+v is answered by %+v, recorded %+v", sent, h, want)
			}
			if !bytes.Equal(body, wantBody) {
				t.Errorf("%+v is answered by\n%q, recorded\n%q", sent, body, wantBody)
			}
		default:
			c.serial++
			h, body := parseMessage(t, f.Data, header{program: programRemote, version: programVersion, serial: c.serial})
			if h.kind == kindMessage {
				h.serial = 0
			}
			if _, err := c.Write(frame(h, body)); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			sent = h
		}
	}
}

// parseMessage reads a message; what it does not say is as in h, but that an
// answer is a reply.
func parseMessage(t *testing.T, text []byte, h header) (header, []byte) {
	t.Helper()
	first, rest, _ := strings.Cut(string(text), "\n")
	for _, word := range strings.Fields(first) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "ok", "error":
			if h.status = statusOK; key == "error" {
				h.status = statusError
			}
			if h.kind = kindReply; h.program == programKeepAlive && key == "ok" {
				h.proc = procPong
			}
		case "program", "version", "type", "status":
			n, err := strconv.ParseUint(value, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			switch key {
			case "program":
				h.program = uint32(n)
			case "version":
				h.version = uint32(n)
			case "type":
				h.kind = kind(n)
			case "status":
				h.status = status(n)
			}
		default:
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			h.proc = uint32(n)
		}
	}
	body, err := parseBody(rest)
	if err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	return h, body
}

// parseBody turns the words of a body into bytes.
func parseBody(text string) (b []byte, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		var word string
		switch {
		case text[0] == '"':
			var ok bool
			if word, text, ok = strings.Cut(text[1:], `"`); !ok {
				return nil, fmt.Errorf("a string without end")
			}
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(word))), word...)
			b = append(b, make([]byte, -len(word)&3)...)
		case strings.HasPrefix(text, "x'"):
			var raw []byte
			word, text, _ = strings.Cut(text[2:], "'")
			if raw, err = hex.DecodeString(word); err != nil {
				return nil, err
			}
			b = append(b, raw...)
		default:
			end := strings.IndexAny(text+" ", " \n")
			n, err := strconv.ParseInt(text[:end], 10, 64)
			if err != nil {
				return nil, err
			}
			text = text[end:]
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
	}
	return b, nil
}

// dialLibvirtd connects to the libvirtd that is to be recorded.
func dialLibvirtd(t *testing.T, readOnly bool) *client {
	t.Helper()
	path := *record
	if readOnly {
		path += "-ro"
	}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{Conn: nc, t: t}
}

// renderAnswer writes an answer the way it is recorded. What looks like a
// string is written as one.
func renderAnswer(h header, body []byte) string {
	first := "ok"
	if h.status == statusError {
		first = "error"
	}
	if h.kind != kindReply {
		first += fmt.Sprintf(" type=%d", h.kind)
	}
	const width = 100
	lines := []string{first}
	var line string
	for len(body) > 0 {
		var word string
		word, body = renderWord(body)
		if line != "" && len(line)+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}

// renderWord writes what a body begins with, and returns the rest.
func renderWord(b []byte) (string, []byte) {
	if len(b) < 4 {
		return fmt.Sprintf("x'%x'", b), nil
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	if end := 4 + n + (-n & 3); n > 0 && end <= int64(len(b)) {
		text, padding := b[4:4+n], b[4+n:end]
		odd := func(r rune) bool { return r < ' ' || r > '~' || r == '"' }
		if bytes.IndexFunc(text, odd) < 0 && len(bytes.Trim(padding, "\x00")) == 0 {
			return `"` + string(text) + `"`, b[end:]
		}
	}
	if n < -1000 || n > 100_000 {
		return fmt.Sprintf("x'%x'", b[:4]), b[4:]
	}
	return strconv.FormatInt(n, 10), b[4:]
}

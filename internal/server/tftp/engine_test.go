package tftp

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestTransfer replays what a client says, and looks at what the engine wants.
// A number is an ACK, a "t" lets the time come that something is due.
func TestTransfer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		window uint64
		oack   bool
		blocks uint64
		said   string
		want   string
	}{
		{"one after the other", 1, false, 3, "1 2 3", "1-1 2-2 3-3 finish"},
		{"options first", 1, true, 1, "0 1", "oack 1-1 finish"},
		{"an ACK that is none of the options", 1, true, 1, "1 0 1", "oack - 1-1 finish"},
		{"options lost", 1, true, 1, "t 0 1", "oack oack 1-1 finish"},
		{"a doubled ACK sends nothing (Sorcerer's Apprentice)", 1, false, 3, "1 1 1 2 1 2 3", "1-1 2-2 - - 3-3 - - finish"},
		{"ACK 0 is none of a block", 1, false, 2, "0 1 2", "1-1 - 2-2 finish"},
		{"an ACK of the future", 1, false, 3, "2 9 1", "1-1 - - 2-2"},
		{"lost", 1, false, 2, "t t 1 2", "1-1 1-1 1-1 2-2 finish"},
		{"gone", 1, false, 2, "t t t t t t", "1-1 1-1 1-1 1-1 1-1 1-1 give-up"},
		{"progress gives new patience", 1, false, 2, "t t t t t 1 t t t t t 2", "1-1 1-1 1-1 1-1 1-1 1-1 2-2 2-2 2-2 2-2 2-2 2-2 finish"},
		{"windows", 4, true, 10, "0 4 8 10", "oack 1-4 5-8 9-10 finish"},
		{"the first one is the last one", 4, false, 2, "2", "1-2 finish"},
		{"a gap", 4, false, 10, "2 6 10", "1-4 3-6 7-10 finish"},
		{"the first of a window is lost", 4, false, 8, "4 4 8", "1-4 5-8 5-8 finish"},
		{"one echo for each repetition", 4, false, 20, "4 4 4 8 8 8 12 12", "1-4 5-8 5-8 - 9-12 - - 13-16 13-16"},
		{"echoes of a gap", 4, false, 20, "2 2 2 6 6 10", "1-4 3-6 - - 7-10 - 11-14"},
		{"echoes of a repetition", 4, false, 20, "t 4 4 8 8", "1-4 1-4 5-8 - 9-12 9-12"},
		{"a window lost", 4, false, 8, "t 4 t 8", "1-4 1-4 5-8 5-8 finish"},
		{"an old ACK", 4, false, 12, "4 8 4 3", "1-4 5-8 9-12 - -"},
	} {
		tr := transfer{terms: terms{window: tc.window, wait: time.Second, block: 512}}
		if tc.oack {
			tr.accepted = []option{{"tsize", "1"}}
		}
		now := time.Hour
		got := []string{show(perform(&tr, tr.start(now), tc.blocks))}
		for said := range strings.FieldsSeq(tc.said) {
			a := action{}
			if said == "t" {
				if a = tr.tick(tr.due - 1); a.do != doNothing {
					t.Errorf("%s: too early", tc.name)
				}
				now = tr.due
				a = tr.tick(now)
			} else {
				var n uint16
				for _, c := range said {
					n = n*10 + uint16(c-'0')
				}
				a = tr.heard(n, now)
			}
			got = append(got, show(perform(&tr, a, tc.blocks)))
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, s, tc.want)
		}
	}
}

// perform does what conn.go does with an action: it finds the end of the file.
func perform(tr *transfer, a action, blocks uint64) action {
	if a.do == doBlocks && a.last >= blocks {
		a.last = blocks
		tr.ended(blocks)
	}
	return a
}

func show(a action) string {
	switch a.do {
	case doOptions:
		return "oack"
	case doBlocks:
		return number(a.first) + "-" + number(a.last)
	case doFinish:
		return "finish"
	case doGiveUp:
		return "give-up"
	}
	return "-"
}

func number(n uint64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return number(n/10) + number(n%10)
}

// TestPatience: each repetition waits twice as long, within bounds, and what a
// client asked for is not undercut.
func TestPatience(t *testing.T) {
	for _, tc := range []struct {
		wait time.Duration
		want []time.Duration
	}{
		{time.Second, []time.Duration{1, 2, 4, 8, 8, 8}},
		{3 * time.Second, []time.Duration{3, 6, 8, 8, 8, 8}},
		{255 * time.Second, []time.Duration{255, 255, 255, 255, 255, 255}},
	} {
		tr := transfer{terms: terms{window: 1, wait: tc.wait}}
		now := time.Duration(0)
		tr.start(now)
		for i, want := range tc.want {
			if got := tr.due - now; got != want*time.Second {
				t.Errorf("wait %v, try %d: %v, want %v", tc.wait, i, got, want*time.Second)
			}
			now = tr.due
			if a := tr.tick(now); (a.do == doGiveUp) != (i == mostTries) {
				t.Errorf("wait %v, try %d: %v", tc.wait, i, show(a))
			}
		}
	}
}

// TestRollover sends more blocks than 16 bits can count, to a client that
// loses packets and doubles some of its ACKs: RFC 7440 as its receiver.
func TestRollover(t *testing.T) {
	for _, window := range []uint64{1, 8, 64} {
		const blocks = 200_000
		r := rand.New(rand.NewPCG(1, window))
		tr := transfer{terms: terms{window: window, wait: time.Second, block: 512}}
		now := time.Duration(0)
		next, sent := uint64(1), 0 // what the client has next, and all that was sent to it
		a := tr.start(now)
		for step := 0; a.do != doFinish; step++ {
			if a.do == doGiveUp || step > 3*blocks {
				t.Fatalf("window %d: %s at block %d", window, show(a), next)
			}
			acks := []uint16{}
			if a.do == doBlocks {
				a = perform(&tr, a, blocks)
				gap := false
				for n := a.first; n <= a.last; n++ {
					sent++
					switch {
					case r.IntN(500) == 0: // lost
					case n == next:
						next++
					case n > next && !gap:
						gap = true
						acks = append(acks, uint16(next-1))
					}
				}
				if !gap {
					acks = append(acks, uint16(next-1))
				}
				if r.IntN(50) == 0 && len(acks) > 0 {
					acks = append(acks, acks[0])
				}
			}
			a = action{}
			for _, n := range acks {
				if r.IntN(500) == 0 {
					continue
				}
				if b := tr.heard(n, now); b.do != doNothing {
					a = b
				}
			}
			if a.do == doNothing {
				now = tr.due
				a = tr.tick(now)
			}
		}
		if next != blocks+1 {
			t.Errorf("window %d: finished at block %d of %d", window, next-1, blocks)
		}
		if sent > 2*blocks {
			t.Errorf("window %d: %d blocks sent for %d", window, sent, blocks)
		}
	}
}

func TestParseRequest(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", rrq("a", "octet"), "a octet"},
		{"netascii", rrq("a", "NetASCII"), "a netascii"},
		{"options", rrq("a b", "octet", "BLKSIZE", "1468", "tsize", "0"), "a b octet blksize=1468 tsize=0"},
		{"an option without value", rrq("a", "octet", "blksize"), "a octet"},
		{"padding", rrq("a", "octet") + "\x00\x00\x00", "a octet"},
		{"padding without zero", rrq("a", "octet") + "xx", "a octet"},
		{"an option bomb", rrq("a", "octet", strings.Split(strings.Repeat("x 1 ", 100), " ")[:200]...), "a octet" + strings.Repeat(" x=1", maxOptions)},
		{"too long", rrq(strings.Repeat("a", maxRequest), "octet"), "nothing"},
		{"mail", rrq("a", "mail"), "error 4"},
		{"write", "\x00\x02a\x00octet\x00", "error 2"},
		{"no mode", "\x00\x01a\x00", "error 4"},
		{"no end", "\x00\x01aaaa", "error 4"},
		{"short", "\x00\x01", "nothing"},
		{"unknown", "\x00\x09a\x00octet\x00", "nothing"},
		{"other byte order", "\x01\x00a\x00octet\x00", "nothing"},
	} {
		req, no := parseRequest([]byte(tc.in))
		got := "nothing"
		switch {
		case no != nil:
			got = describe(no.packet())
		case req != nil:
			got = req.file + map[bool]string{true: " netascii", false: " octet"}[req.ascii]
			for _, o := range req.options {
				got += " " + o.name + "=" + o.value
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	const mtu = 1500
	for _, tc := range []struct {
		name    string
		options []string
		ascii   bool
		is6     bool
		oack    string
		block   int
		window  uint64
		wait    time.Duration
	}{
		{"nothing", nil, false, false, "", 512, 1, firstWait},
		{"unknown", []string{"multicast", "", "rollover", "0"}, false, false, "", 512, 1, firstWait},
		{"all", []string{"tsize", "0", "blksize", "1024", "windowsize", "16", "timeout", "3"}, false, false,
			"tsize 77 blksize 1024 windowsize 16 timeout 3 ", 1024, 16, 3 * time.Second},
		{"a block as long as the link takes, IPv4", []string{"blksize", "65464"}, false, false, "blksize 1468 ", 1468, 1, firstWait},
		{"a block as long as the link takes, IPv6", []string{"blksize", "65464"}, false, true, "blksize 1448 ", 1448, 1, firstWait},
		{"the shortest block", []string{"blksize", "8"}, false, false, "blksize 8 ", 8, 1, firstWait},
		{"blocks that cannot be", []string{"blksize", "7"}, false, false, "", 512, 1, firstWait},
		{"blocks that cannot be", []string{"blksize", "65465"}, false, false, "", 512, 1, firstWait},
		{"no number", []string{"blksize", "-1", "timeout", "x", "windowsize", ""}, false, false, "", 512, 1, firstWait},
		{"a window that is too long for us", []string{"windowsize", "65535"}, false, false, "windowsize 64 ", 512, 64, firstWait},
		{"no window", []string{"windowsize", "0"}, false, false, "", 512, 1, firstWait},
		{"no time", []string{"timeout", "0", "timeout", "256"}, false, false, "", 512, 1, firstWait},
		{"twice", []string{"blksize", "600", "BLKSIZE", "700"}, false, false, "blksize 600 ", 600, 1, firstWait},
		{"netascii", []string{"tsize", "0", "windowsize", "8", "blksize", "600"}, true, false, "blksize 600 ", 600, 1, firstWait},
	} {
		mode := "octet"
		if tc.ascii {
			mode = "netascii"
		}
		req, no := parseRequest([]byte(rrq("a", mode, tc.options...)))
		if no != nil {
			t.Fatal(no)
		}
		got := req.negotiate(77, maxBlock(mtu, tc.is6))
		oack := strings.TrimPrefix(describe(got.oack()), "oack ")
		if oack != tc.oack && !(tc.oack == "" && len(got.accepted) == 0) || got.block != tc.block || got.window != tc.window || got.wait != tc.wait {
			t.Errorf("%s: %q block %d window %d wait %v", tc.name, oack, got.block, got.window, got.wait)
		}
	}
	for mtu, want := range map[int]int{0: 1228, 1280: 1228, 9000: 8948, 65536: mostBlock, 60: leastBlock} {
		if got := maxBlock(mtu, true); got != want {
			t.Errorf("MTU %d: blocks of %d, want %d", mtu, got, want)
		}
	}
}

// blocks reads all blocks, each twice.
func blocks(t *testing.T, c content) []string {
	t.Helper()
	var out []string
	for n := uint64(1); ; n++ {
		first, _, err := c.block(n)
		if err != nil {
			t.Fatal(err)
		}
		one := string(first)
		again, last, err := c.block(n)
		if err != nil || string(again) != one {
			t.Fatalf("block %d again: %q, %v", n, again, err)
		}
		if out = append(out, one); last {
			return out
		}
	}
}

func TestContent(t *testing.T) {
	for _, tc := range []struct{ name, in, octet, ascii string }{
		{"short", "ab", "ab", "ab"},
		{"empty", "", "", ""},
		{"as long as a block", "abcd", "abcd|", "abcd|"},
		{"longer", "abcde", "abcd|e", "abcd|e"},
		{"two blocks", "abcdefgh", "abcd|efgh|", "abcd|efgh|"},
		{"line ends", "a\nb\rc", "a\nb\r|c", "a\r\nb|\r\x00c"},
		{"a pair across blocks", "abc\nd", "abc\n|d", "abc\r|\nd"},
		{"a pair at the end", "abc\n", "abc\n|", "abc\r|\n"},
		{"a pair that fills the block", "ab\n", "ab\n", "ab\r\n|"},
	} {
		octet := &octetFile{strings.NewReader(tc.in), int64(len(tc.in)), make([]byte, 4)}
		if got := strings.Join(blocks(t, octet), "|"); got != tc.octet {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.octet)
		}
		if got := strings.Join(blocks(t, ascii(tc.in, 4)), "|"); got != tc.ascii {
			t.Errorf("%s in netascii: %q, want %q", tc.name, got, tc.ascii)
		}
	}
	shrunk := &octetFile{strings.NewReader("abcdef"), 8, make([]byte, 4)}
	if _, _, err := shrunk.block(2); !errors.Is(err, errChanged) {
		t.Errorf("a file that shrank: %v", err)
	}
	if _, _, err := shrunk.block(9); err == nil {
		t.Error("a block behind the end")
	}
	if _, _, err := ascii("abcdefgh", 4).block(2); err == nil {
		t.Error("netascii: a block before its turn")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(rrq("boot/x", "octet", "blksize", "1468", "tsize", "0", "windowsize", "4", "timeout", "2")))
	f.Add([]byte(rrq(`..\x`, "netascii")))
	f.Add([]byte("\x00\x02a\x00octet\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, no := parseRequest(b)
		if no != nil && (req != nil || !bytes.HasSuffix(no.packet(), []byte{0})) {
			t.Errorf("%v, %v", req, no)
		}
		if r, ok := parseReply(b); ok && r.ended && b[1] != opError {
			t.Errorf("%+v", r)
		}
		if req == nil {
			return
		}
		for _, is6 := range []bool{false, true} {
			got := req.negotiate(1<<40, maxBlock(1500, is6))
			if got.block < leastBlock || got.block > 1468 || got.window < 1 || got.window > mostWindow || got.wait < time.Second || len(got.oack()) > 512 {
				t.Errorf("%+v", got)
			}
		}
		if path, no := pathOf(req.file); no == nil {
			for p := range strings.SplitSeq(path, "/") {
				if p == "" || p == "." || p == ".." {
					t.Errorf("%q becomes %q", req.file, path)
				}
			}
		}
	})
}

func ascii(s string, block int) *asciiFile {
	return &asciiFile{in: bufio.NewReader(strings.NewReader(s)), buf: make([]byte, block)}
}

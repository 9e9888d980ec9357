package listen

import (
	"net/netip"
	"testing"
)

func TestSocketLine(t *testing.T) {
	for _, tt := range []struct{ line, addr, state, inode string }{
		{"  39: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 21345 1 0000000000000000 100 0 0 10 0", "127.0.0.53:53", "0A", "21345"},
		{"   0: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 777 2 0000000000000000 0", "[2001:db8::1]:53", "07", "777"},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "", "", ""},
		{"", "", "", ""},
	} {
		b, state, ok := parseSocketLine(tt.line)
		if ok != (tt.addr != "") {
			t.Errorf("%q: %v", tt.line, ok)
			continue
		}
		if ok && littleEndian && (b.Addr != netip.MustParseAddrPort(tt.addr) || state != tt.state || b.inode != tt.inode) {
			t.Errorf("%q: %+v %s", tt.line, b, state)
		}
	}
}

func FuzzSocketLine(f *testing.F) {
	f.Add("  39: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 21345 1")
	f.Fuzz(func(t *testing.T, line string) {
		if b, _, ok := parseSocketLine(line); ok && !b.Addr.IsValid() {
			t.Errorf("%q: %v", line, b.Addr)
		}
	})
}

package watch

import (
	"fmt"
	"testing"
)

func TestParseResolv(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "[]"},
		{"# nameserver 1.1.1.1\nnameserver  9.9.9.9 \nsearch x\n\tnameserver ::ffff:8.8.8.8", "[9.9.9.9 8.8.8.8]"},
		{"nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 0.0.0.0\nnameserver", "[fe80::1%eth0]"},
	} {
		if got := fmt.Sprint(parseResolv([]byte(c.in))); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("nameserver ::1\n"))
	f.Add(make([]byte, 64))
	f.Add([]byte{32, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		parseLink(b)
		parseAddress(b)
		parseRoute(b)
		parseResolv(b)
		eachMessage(b, func(uint16, []byte) {})
		eachFile(b, func(int32, string) {})
	})
}

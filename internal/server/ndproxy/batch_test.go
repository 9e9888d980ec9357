package ndproxy

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBatch: frames go out and come in in their order, whole, also those that
// follow on one that cannot be sent; a long one is told as longer than any.
func TestBatch(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<16); err != nil {
		t.Fatal(err)
	}
	var out, in batch
	if n := in.receive(pair[1]); n != 0 {
		t.Errorf("%d frames where none is", n)
	}
	for round := range 3 {
		var want []string
		for i := 0; !out.full(); i++ {
			b := []byte(fmt.Sprint("round ", round, " frame ", i))
			switch i {
			case 3:
				b = make([]byte, 1<<20) // more than fits
			case 5:
				b = make([]byte, 2*maxFrame)
				want = append(want, string(b[:maxFrame+1]))
			default:
				want = append(want, string(b))
			}
			out.add(b)
		}
		if err := out.send(pair[0]); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("sent with %v", err)
		}
		var got []string
		for n := in.receive(pair[1]); n > 0; n = in.receive(pair[1]) {
			for i := range n {
				got = append(got, string(in.received(i)))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	}
}

package client

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// FuzzReadEvents: a stream ends in an error, never in a panic, and no event is
// made up.
func FuzzReadEvents(f *testing.F) {
	for _, s := range []string{
		": hello\n\nid: 7\nevent: lease\ndata: {\"what\":\"lease\"}\n\n", "data: {\n\n", "data\n\n", "id: x\ndata: {}\n\n", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		err := readEvents(strings.NewReader(s), func(vnet.Event) error { n++; return nil })
		if err == nil {
			t.Error("no end")
		}
		if n > strings.Count(s, "data") {
			t.Errorf("%d events in %q", n, s)
		}
	})
}

func TestReadEvents(t *testing.T) {
	var got []vnet.Event
	err := readEvents(strings.NewReader(": hi\n\nid: 7\nevent: lease\ndata: {\"what\":\"lease\"}\n\n:\n\n"),
		func(e vnet.Event) error { got = append(got, e); return nil })
	if !errors.Is(err, io.EOF) || len(got) != 1 || got[0].What != "lease" || got[0].Revision != 7 {
		t.Error(got, err)
	}
}

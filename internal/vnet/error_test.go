package vnet

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestErrorLine(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{Invalid("mtu", "%d is odd", 7), "mtu: 7 is odd"},
		{Invalid("mtu", "odd").WithHint("say %d", 8), "mtu: odd; say 8"},
		{&Error{Kind: ErrHost, Op: "network start", Err: io.EOF}, "network start: EOF"},
		{&Error{Kind: ErrHost, Op: "network start", Msg: "no luck", Err: io.EOF}, "network start: no luck: EOF"},
		{&Error{Kind: ErrHost, Msg: "both", Err: errors.Join(io.EOF, io.ErrClosedPipe)}, "both: EOF; io: read/write on closed pipe"},
		{Errorf(ErrHost, "read: %w", io.EOF), "read: EOF"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestErrorTree(t *testing.T) {
	err := fmt.Errorf("while: %w", Errorf(ErrHost, "read: %w, write: %w", io.EOF, io.ErrClosedPipe))
	if !errors.Is(err, io.EOF) || !errors.Is(err, io.ErrClosedPipe) {
		t.Error("the causes are lost")
	}
	if KindOf(err) != ErrHost || !Is(err, ErrHost) || Is(nil, ErrHost) || KindOf(nil) != "" || KindOf(io.EOF) != ErrInternal {
		t.Error("the kind is lost")
	}
	if got := InField(Invalid("", "x"), "mac").Error(); got != "mac: x" {
		t.Errorf("InField: %q", got)
	}
	if got := InField(Invalid("duid", "x"), "mac").Error(); got != "duid: x" {
		t.Errorf("InField over a field: %q", got)
	}
	if InField(nil, "mac") != nil || InField(io.EOF, "mac") != io.EOF {
		t.Error("InField changes what is no *Error")
	}
}

func TestDurationText(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"90s", 90 * time.Second, "1m30s"},
		{"12h", 12 * time.Hour, "12h"},
		{"720m", 12 * time.Hour, "12h"},
		{"2h30m", 150 * time.Minute, "2h30m"},
		{"10m", 10 * time.Minute, "10m"},
		{"43200", 12 * time.Hour, "12h"},
		{"7d", 7 * 24 * time.Hour, "168h"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"1d30", 24*time.Hour + 30*time.Second, "24h0m30s"},
		{"0", 0, "0s"},
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(tc.in)); err != nil || d.Std() != tc.want || d.String() != tc.out {
			t.Errorf("%s: %v (%s), %v", tc.in, d.Std(), d, err)
		}
	}
	for _, s := range []string{"", "soon", "-1s", "d", "1.5d", "99999999d", "12 h", "1h30d"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %v", s, d)
		}
	}
}

func TestMACText(t *testing.T) {
	want := MAC{0x52, 0x54, 0, 0xaa, 0, 1}
	for _, s := range []string{"52:54:00:aa:00:01", "52-54-00-AA-00-01", "5254.00AA.0001"} {
		if m, err := ParseMAC(s); err != nil || m != want {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "52:54:00:aa:00", "52:54:00:aa:00:01:02", "52:54-00:aa:00:01", "52:54:00:aa:00:0g", "525400aa0001", "52:54:00:aa:00:0é"} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q: got %v", s, m)
		}
	}
	if b, _ := (MAC{}).MarshalText(); len(b) != 0 {
		t.Errorf("the zero MAC prints as %q", b)
	}
	var m MAC
	if err := m.UnmarshalText([]byte(want.String())); err != nil || m != want || !m.IsUnicast() {
		t.Errorf("%v, %v", m, err)
	}
	if err := m.UnmarshalText(nil); err != nil || !m.IsZero() || m.IsUnicast() {
		t.Errorf("empty: %v, %v", m, err)
	}
}

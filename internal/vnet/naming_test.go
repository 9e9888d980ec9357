package vnet

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTXTStrings(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		value string
		want  []string
	}{
		{`v=spf1  -all, "two"`, []string{`v=spf1  -all, "two"`}},
		{`"one"  "two words" ""`, []string{"one", "two words", ""}},
		{`"a\"b\\c\065"`, []string{`a"b\cA`}},
		{`"open`, []string{`"open`}},
		{`"\999"`, []string{`"\999"`}},
		{long, []string{long[:255], long[:45]}},
		{`"` + long + `" "y"`, []string{long[:255], long[:45], "y"}},
		{"", []string{""}},
	} {
		if got := TXTStrings(tt.value); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func FuzzTXTStrings(f *testing.F) {
	f.Add(`"one" "t\"wo\065"`)
	f.Add(`"\`)
	f.Fuzz(func(t *testing.T, value string) {
		total := 0
		for _, s := range TXTStrings(value) {
			if len(s) > 255 {
				t.Fatalf("a string of %d bytes", len(s))
			}
			total += len(s)
		}
		if total > len(value) {
			t.Fatalf("%d bytes out of %d", total, len(value))
		}
	})
}

// TestTooManyRecords: what one name may have is bounded, what a network may
// have is so much more.
func TestTooManyRecords(t *testing.T) {
	var d DNSPolicy
	for i := range 400 {
		d.Records = append(d.Records, NameRecord{Name: "a" + strconv.Itoa(i), Type: "A", Value: "192.0.2.1"})
	}
	if err := d.validateNames(); err != nil {
		t.Error(err)
	}
	for i := range d.Records {
		d.Records[i].Name = "a"
	}
	if err := d.validateNames(); err == nil {
		t.Error("400 addresses of one name are taken")
	}
}

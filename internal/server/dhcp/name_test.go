package dhcp

import (
	"strings"
	"testing"
)

func TestHostnames(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "WEB": "web", "web.example.com": "web", "-x": "", "x-": "", "a b": "", "": "", "ünï": "",
		strings.Repeat("a", 64): "", "web\x00": "web", "../etc": "",
	} {
		if got := Label(in); got != want {
			t.Errorf("Label(%q) = %q, want %q", in, got, want)
		}
	}
}

package build

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	i := Read()
	if i.Version == "" || i.Go == "" || !strings.Contains(i.Platform, "/") {
		t.Errorf("incomplete: %+v", i)
	}
}

func TestString(t *testing.T) {
	i := Info{Version: "v1.2.3", Go: "go1.26", Platform: "linux/arm64"}
	i.settings([]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "abc"}})
	if got, want := i.String(), "sextant v1.2.3 (modified) go1.26 linux/arm64"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if i.Revision != "abc" {
		t.Errorf("revision %q", i.Revision)
	}
}

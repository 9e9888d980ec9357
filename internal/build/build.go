// Package build knows which build of the program this is.
package build

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the linker: -X …/internal/build.version=v1.2.3.
var version string

// Info says which build this is.
type Info struct {
	Version  string `json:"version"`            // of the release, or a commit's short hash, or "devel"
	Revision string `json:"revision,omitempty"` // the commit, 40 hexadecimal digits
	Modified bool   `json:"modified,omitempty"` // the working tree had changes
	Go       string `json:"go"`
	Platform string `json:"platform"` // for example "linux/arm64"
}

// Read returns the build of the running program.
func Read() Info {
	info := Info{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if b, ok := debug.ReadBuildInfo(); ok {
		info.settings(b.Settings)
	}
	if info.Version == "" {
		info.Version = "devel"
		if len(info.Revision) >= 12 {
			info.Version += "-" + info.Revision[:12]
		}
	}
	return info
}

func (i *Info) settings(settings []debug.BuildSetting) {
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			i.Revision = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
}

// String returns one line for `sextant version` and the log.
func (i Info) String() string {
	var b strings.Builder
	b.WriteString("sextant " + i.Version)
	if i.Modified && !strings.HasSuffix(i.Version, "-dirty") {
		b.WriteString(" (modified)")
	}
	b.WriteString(" " + i.Go + " " + i.Platform)
	return b.String()
}

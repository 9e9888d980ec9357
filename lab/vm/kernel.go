package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is an installed kernel of the distribution.
type Kernel struct {
	Image   string // the file to boot
	Release string // the name of its directory below /lib/modules
}

// ErrNoKernel says that the machine has no kernel of a distribution.
var ErrNoKernel = errors.New("no distribution kernel in /boot: run `make deps`")

// FindKernel returns the newest installed kernel, one made for clouds before
// a generic one: it boots faster.
func FindKernel() (Kernel, error) {
	images, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil {
		return Kernel{}, err
	}
	slices.Sort(images)
	slices.SortStableFunc(images, func(a, b string) int { return cloudiness(b) - cloudiness(a) })
	for _, image := range images {
		release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		if _, err := os.Stat(filepath.Join("/lib/modules", release)); err != nil {
			continue
		}
		if f, err := os.Open(image); err == nil { // Ubuntu's are for root only
			f.Close()
			return Kernel{Image: image, Release: release}, nil
		}
	}
	return Kernel{}, ErrNoKernel
}

func cloudiness(image string) int {
	if strings.Contains(image, "-cloud-") || strings.HasSuffix(image, "-virtual") {
		return 1
	}
	return 0
}

// module returns the files of a module and of what it needs, in load order.
// Modules built into the kernel need none.
func (k Kernel) module(name string) ([]string, error) {
	out, err := exec.Command("modprobe", "-S", k.Release, "--show-depends", name).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("module %s of %s: %w: %s", name, k.Release, err, out)
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "insmod" {
			files = append(files, f[1])
		}
	}
	return files, nil
}

// readModule returns a module's content, unpacked.
func readModule(file string) ([]byte, error) {
	unpack := map[string][]string{".xz": {"xz", "-dc"}, ".zst": {"zstd", "-dcq"}, ".gz": {"gzip", "-dc"}}
	if cmd, ok := unpack[filepath.Ext(file)]; ok {
		out, err := exec.Command(cmd[0], append(cmd[1:], file)...).Output()
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", file, err)
		}
		return out, nil
	}
	return os.ReadFile(file)
}

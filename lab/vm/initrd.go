package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// initrd is the first root file system of a machine, a cpio archive in the
// "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst).
type initrd struct {
	b    bytes.Buffer
	next int // inode number
}

func (i *initrd) entry(name string, mode uint32, content []byte) {
	i.next++
	fmt.Fprintf(&i.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		i.next, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	i.b.WriteString(name)
	i.b.WriteByte(0)
	i.pad()
	i.b.Write(content)
	i.pad()
}

func (i *initrd) pad() {
	for i.b.Len()%4 != 0 {
		i.b.WriteByte(0)
	}
}

func (i *initrd) dir(name string)                  { i.entry(name, 0o040755, nil) }
func (i *initrd) file(name string, content []byte) { i.entry(name, 0o100755, content) }
func (i *initrd) link(name, target string)         { i.entry(name, 0o120777, []byte(target)) }
func (i *initrd) bytes() []byte                    { i.entry("TRAILER!!!", 0, nil); return i.b.Bytes() }
func (i *initrd) script(name string, text string)  { i.file(name, []byte(text)) }

// newInitrd makes an archive with busybox, the modules, and a list of the
// modules' files in load order at /modules/order.
func newInitrd(k Kernel, modules []string) (*initrd, error) {
	i := &initrd{}
	for _, d := range []string{"bin", "dev", "proc", "sys", "etc", "tmp", "run", "modules", "ro", "rw", "new"} {
		i.dir(d)
	}
	busybox, err := findBusybox()
	if err != nil {
		return nil, err
	}
	i.file("bin/busybox", busybox)
	i.link("bin/sh", "busybox")
	var order []string
	for _, m := range modules {
		files, err := k.module(m)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			base := filepath.Base(f)
			if slices.Contains(order, base) {
				continue
			}
			content, err := readModule(f)
			if err != nil {
				return nil, err
			}
			order = append(order, base)
			i.file("modules/"+base, content)
		}
	}
	i.script("modules/order", strings.Join(order, "\n")+"\n")
	return i, nil
}

// findBusybox returns the static busybox: a machine has no libraries for
// another one.
func findBusybox() ([]byte, error) {
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if bytes.Contains(b[:min(len(b), 8192)], []byte("ld-linux")) {
			return nil, fmt.Errorf("%s is not static: run `make deps` (package busybox-static)", p)
		}
		return b, nil
	}
	return nil, fmt.Errorf("no busybox: run `make deps` (package busybox-static)")
}

// Package owner says who manages a link of the host: which program's files
// under /run name it. It is for people, and for advice: nothing is decided by it.
package owner

import (
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// Owner is a program that manages links.
type Owner string

// The owners. Nobody is also said where it cannot be told.
const (
	Nobody         Owner = ""
	Networkd       Owner = "systemd-networkd"
	NetworkManager Owner = "NetworkManager"
	DHCPCD         Owner = "dhcpcd"
	Ifupdown       Owner = "ifupdown"
)

// maxFile bounds what is read of one file.
const maxFile = 64 << 10

// Of returns who manages the link with that name and index. Root is the
// directory /run: os.DirFS("/run").
//
// The first that says so counts: systemd-networkd and NetworkManager also list
// links that they leave alone, and say that.
func Of(root fs.FS, name string, index int) Owner {
	number := strconv.Itoa(index)
	switch {
	case managed(read(root, "systemd/netif/links/"+number), "ADMIN_STATE", "configured", "configuring", "degraded", "pending", "initialized"):
		return Networkd
	case managed(read(root, "NetworkManager/devices/"+number), "managed", "true", "1", "yes"):
		return NetworkManager
	case exists(root, "dhcpcd/"+name+".pid", "dhcpcd/"+name+"-4.pid", "dhcpcd/"+name+"-6.pid", "dhcpcd-"+name+".pid"):
		return DHCPCD
	case ifstate(read(root, "network/ifstate"), name), ifstate(read(root, "network/ifstate."+name), name):
		return Ifupdown
	}
	return Nobody
}

// managed reports whether a file of KEY=VALUE lines gives the key one of the
// values.
func managed(text, key string, values ...string) bool {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.TrimSpace(k) != key {
			continue
		}
		for _, want := range values {
			if strings.TrimSpace(v) == want {
				return true
			}
		}
	}
	return false
}

// ifstate reports whether ifupdown's state has the link up: lines of
// LINK=LOGICAL, or the logical name alone in a file of the link's own.
func ifstate(text, name string) bool {
	for line := range strings.Lines(text) {
		link, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if link == name {
			return true
		}
	}
	return false
}

func read(root fs.FS, path string) string {
	f, err := root.Open(path)
	if err != nil { // also for a name that is no path: none of theirs
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxFile)) // what could be read of it
	return string(b)
}

func exists(root fs.FS, paths ...string) bool {
	for _, p := range paths {
		if _, err := fs.Stat(root, p); err == nil {
			return true
		}
	}
	return false
}

// String is the owner's name, for people.
func (o Owner) String() string {
	if o == Nobody {
		return "nobody"
	}
	return string(o)
}

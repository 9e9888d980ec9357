package attach

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// settingDirs are where a link's settings are, below /proc/sys/net.
var settingDirs = []string{"ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"}

// procNet is where settings of the thread's namespace are files.
const procNet = "/proc/sys/net"

// late are the settings of IPv6 that are not copied with the others: each has
// its moment, see prepare and settle.
var late = map[string]bool{"disable_ipv6": true, "addr_gen_mode": true, "autoconf": true, "stable_secret": true}

// readSettings reads the settings of a link, by directory and name. It runs in
// the link's namespace.
func readSettings(link string) map[string]string {
	out := map[string]string{}
	for _, dir := range settingDirs {
		files, err := os.ReadDir(filepath.Join(procNet, dir, link))
		if err != nil {
			continue // a kernel without that family
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(procNet, dir, link, f.Name()))
			if err == nil { // stable_secret cannot be read before it was set
				out[dir+"/"+f.Name()] = strings.TrimSpace(string(b))
			}
		}
	}
	return out
}

// writeSettings gives a link the settings, as far as they differ and can be
// written. Advertisements are accepted before anything forwards: a link that
// becomes a router's throws away what others were told where accept_ra is 1.
func writeSettings(link string, want map[string]string, only func(key string) bool) {
	keys := make([]string, 0, len(want))
	for k := range want {
		if only(k) {
			keys = append(keys, k)
		}
	}
	rank := func(k string) int {
		switch {
		case strings.HasSuffix(k, "/accept_ra"):
			return 0
		case strings.HasSuffix(k, "forwarding"):
			return 2
		}
		return 1
	}
	sort.Slice(keys, func(i, j int) bool {
		if a, b := rank(keys[i]), rank(keys[j]); a != b {
			return a < b
		}
		return keys[i] < keys[j]
	})
	for _, k := range keys {
		if k == keyForwarding && want[k] == "1" && purges(link) {
			continue
		}
		_ = writeSetting(link, k, want[k])
	}
}

// purges reports whether making the link a router's would cost another link
// what it was told by advertisements: every Linux then throws away such routes
// of all links on which accept_ra is 1.
func purges(link string) bool {
	links, err := os.ReadDir(filepath.Join(procNet, "ipv6/conf"))
	if err != nil {
		return false
	}
	if is(link, keyForwarding, "1") {
		return false // it is one already: nothing is written
	}
	for _, l := range links {
		if n := l.Name(); n != "all" && n != "default" && n != "lo" && n != link && is(n, "ipv6/conf/accept_ra", "1") && is(n, keyForwarding, "0") {
			return true
		}
	}
	return false
}

// is reports whether a setting of a link has the value.
func is(link, key, value string) bool {
	dir, name := filepath.Split(key)
	b, err := os.ReadFile(filepath.Join(procNet, dir, link, name))
	return err == nil && strings.TrimSpace(string(b)) == value
}

func isLate(key string) bool {
	dir, name := filepath.Split(key)
	return dir == "ipv6/conf/" && late[name]
}

// writeSetting sets one, if it is not so already.
func writeSetting(link, key, value string) error {
	dir, name := filepath.Split(key)
	if is(link, key, value) {
		return nil
	}
	return os.WriteFile(filepath.Join(procNet, dir, link, name), []byte(value), 0o644)
}

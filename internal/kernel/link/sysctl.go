package link

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// procSys is where sysctls are files. What is below net/ follows the
// namespace of the thread that opens it.
const procSys = "/proc/sys"

// rank orders sysctls that are written together. Links accept router
// advertisements (accept_ra=2) before anything forwards, since forwarding
// makes the kernel drop the host's own IPv6 routes; and what is set for all
// links at once comes before what is set for one, since it overwrites it.
func rank(path string) int {
	all := strings.Contains(path, "/conf/all/") || path == "net/ipv4/ip_forward"
	switch {
	case strings.HasSuffix(path, "/accept_ra"):
		return 0
	case strings.Contains(path, "/conf/default/"):
		return 1
	case all:
		return 2
	}
	return 3
}

// writeSysctls sets what does not hold yet, first recording the original
// values of what is not ours.
func (l *Links) writeSysctls(items []plan.Sysctl, fail func(plan.Key, error)) {
	sort.SliceStable(items, func(a, b int) bool { return rank(items[a].Path) < rank(items[b].Path) })
	for _, batch := range byNamespace(items) {
		ns := batch[0].NS
		err := l.spaces.Do(ns, func() error {
			unsafe, err := l.recordOriginals(ns, batch)
			for _, i := range batch {
				if unsafe[i.Path] {
					fail(i.Key(), err) // could not be given back: stays as it is
					continue
				}
				fail(i.Key(), writeSysctl(i))
			}
			return nil
		})
		if err != nil {
			for _, i := range batch {
				fail(i.Key(), err)
			}
		}
	}
}

// byNamespace groups items, keeping their order within each namespace.
func byNamespace(items []plan.Sysctl) [][]plan.Sysctl {
	at := map[string]int{}
	var out [][]plan.Sysctl
	for _, i := range items {
		n, ok := at[i.NS]
		if !ok {
			n = len(out)
			at[i.NS] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], i)
	}
	return out
}

// holds reports whether a setting that reads now is as the item wants it.
func holds(i plan.Sysctl, now string) bool {
	return now == clean(i.Value) || i.If != "" && now != clean(i.If)
}

func writeSysctl(i plan.Sysctl) error {
	now, err := readSysctl(i.Path)
	if err != nil {
		return sysctlError("read", i.NS, i.Path, err)
	}
	if holds(i, now) {
		return nil
	}
	if err := setSysctl(i.Path, i.Value); err != nil {
		return sysctlError("set", i.NS, i.Path, err)
	}
	return nil
}

// recordOriginals writes down, before anything changes, the values that are
// about to change of links that are not ours. If it cannot, the error says why
// and the paths are those that must not be changed. It runs in the namespace.
func (l *Links) recordOriginals(ns string, items []plan.Sysctl) (map[string]bool, error) {
	var add []original
	for _, i := range items {
		old, known := l.record.get(ns, i.Path)
		if known && old.Index == linkIndex(i.Path) {
			if old.Set != clean(i.Value) {
				old.Set = clean(i.Value)
				add = append(add, old)
			}
			continue
		}
		now, err := readSysctl(i.Path)
		if err != nil {
			continue
		}
		if holds(i, now) {
			if v, ok := l.inherited(ns, i, now); ok {
				add = append(add, original{NS: ns, Path: i.Path, Value: v, Set: now, Index: linkIndex(i.Path)})
			}
			continue
		}
		if i.Ours || l.isOurs(ns, i.Path) {
			continue
		}
		o := original{NS: ns, Path: i.Path, Value: now, Set: clean(i.Value), Index: linkIndex(i.Path), Links: spread(i.Path)}
		if strings.Contains(i.Path, "/conf/default/") {
			o.Last = lastLink()
		}
		add = append(add, o)
	}
	err := l.record.add(add)
	if err == nil {
		return nil, nil
	}
	unsafe := map[string]bool{}
	for _, o := range add {
		unsafe[o.Path] = true
	}
	return unsafe, err
}

// inherited returns the value that a link which came after us would have had:
// it took ours from conf/default. It runs in the namespace.
func (l *Links) inherited(ns string, i plan.Sysctl, now string) (string, bool) {
	name := linkName(i.Path)
	if name == "" || i.Ours {
		return "", false
	}
	d, ok := l.record.get(ns, strings.Replace(i.Path, "/"+name+"/", "/default/", 1))
	if !ok || d.Set != now || d.Last == 0 || linkIndex(i.Path) <= d.Last || l.isOurs(ns, i.Path) {
		return "", false
	}
	return d.Value, true
}

// lastLink is the highest index of a link of the namespace it runs in; indexes
// are not given twice.
func lastLink() int {
	all, err := net.Interfaces()
	if err != nil {
		return 0
	}
	last := 0
	for _, i := range all {
		last = max(last, i.Index)
	}
	return last
}

// isOurs reports whether the setting vanishes with a link or namespace of
// ours, so that nothing need be restored.
func (l *Links) isOurs(ns, path string) bool {
	if strings.HasPrefix(ns, plan.NetnsPrefix) {
		return true
	}
	name := linkName(path)
	if name == "" {
		return false
	}
	c, err := l.spaces.Conn(ns)
	if err != nil {
		return false
	}
	defer l.spaces.Release(ns, c)
	d, found, err := lookup(c, name)
	return err == nil && found && d.ours()
}

// linkName is the link that a setting belongs to, "" for none.
func linkName(path string) string {
	p := strings.Split(path, "/")
	if len(p) < 5 || p[0] != "net" || p[2] != "conf" && p[2] != "neigh" || p[3] == "all" || p[3] == "default" {
		return ""
	}
	return p[3]
}

// linkIndex tells a link from another one of that name that comes later. It
// runs in the namespace; 0 for settings of no link.
func linkIndex(path string) int {
	name := linkName(path)
	if name == "" {
		return 0
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0
	}
	return int(req.Uint32())
}

// spread reads the settings of single links that writing the one for all
// links overwrites, nil if it overwrites none.
func spread(path string) map[string]string {
	pattern := spreadPattern(path)
	if pattern == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(procSys, pattern))
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for _, f := range files {
		p := strings.TrimPrefix(f, procSys+"/")
		if v, err := readSysctl(p); err == nil && p != path {
			out[p] = v
		}
	}
	return out
}

func spreadPattern(path string) string {
	switch path {
	case "net/ipv6/conf/all/forwarding", "net/ipv6/conf/all/disable_ipv6", "net/ipv4/conf/all/forwarding":
		return strings.Replace(path, "/all/", "/*/", 1)
	case "net/ipv4/ip_forward":
		return "net/ipv4/conf/*/forwarding"
	}
	return ""
}

// restoreSysctls gives back what was there before. What somebody else has
// changed since, or what went with its link, is left alone.
func (l *Links) restoreSysctls(items []plan.Sysctl, fail func(plan.Key, error)) {
	for _, batch := range byNamespace(items) {
		ns := batch[0].NS
		var done []original
		err := l.spaces.Do(ns, func() error {
			for _, i := range batch {
				o, ok := l.record.get(ns, i.Path)
				if !ok {
					continue
				}
				err := restore(o)
				fail(i.Key(), err)
				if err == nil {
					done = append(done, o)
				}
			}
			return nil
		})
		if gone(err) {
			done, err = l.record.of(batch), nil
		}
		if err == nil {
			err = l.record.drop(done)
		}
		if err != nil {
			for _, i := range batch {
				fail(i.Key(), err)
			}
		}
	}
}

// restore runs in the namespace.
func restore(o original) error {
	now, err := readSysctl(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return sysctlError("restore", o.NS, o.Path, err)
	}
	if now != o.Set || o.Index != 0 && o.Index != linkIndex(o.Path) {
		return nil
	}
	before := spread(o.Path)
	if err := setSysctl(o.Path, o.Value); err != nil {
		return sysctlError("restore", o.NS, o.Path, err)
	}
	for path, v := range before {
		if old, ok := o.Links[path]; ok {
			v = old
		} else {
			// A link that came later: as the kernel makes them now.
			continue
		}
		if now, err := readSysctl(path); err == nil && now != v {
			if err := setSysctl(path, v); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return sysctlError("restore", o.NS, path, err)
			}
		}
	}
	return nil
}

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(sysctlFile(path))
	return clean(string(b)), err
}

func setSysctl(path, value string) error {
	f, err := os.OpenFile(sysctlFile(path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// sysctlFile never leaves procSys, whatever the path says.
func sysctlFile(path string) string { return filepath.Join(procSys, filepath.Clean("/"+path)) }

// clean brings a value into the form in which it is compared: the kernel
// prints tabs between several numbers.
func clean(v string) string { return strings.Join(strings.Fields(v), " ") }

func sysctlError(verb, ns, path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the path is said already
	}
	where := path
	if ns != "" {
		where += " in network namespace " + ns
	}
	if errors.Is(err, fs.ErrNotExist) {
		e := vnet.Errorf(vnet.ErrNotFound, "%s sysctl %s: it does not exist", verb, where)
		if strings.HasPrefix(path, "net/ipv6/") {
			return e.WithHint("the link is gone, or the kernel runs without IPv6 (ipv6.disable=1)")
		}
		return e
	}
	if errors.Is(err, unix.EROFS) {
		return vnet.Errorf(vnet.ErrHost, "%s sysctl %s: /proc/sys is read-only here", verb, where).
			WithHint("run with a writable /proc/sys (ProtectKernelTunables=no, or a privileged container)")
	}
	return vnet.Errorf(vnet.ErrHost, "%s sysctl %s: %w", verb, where, err)
}

package link

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// recordFile is the record's name in the state directory.
const recordFile = "originals.json"

// original is a setting as it was before we changed it.
type original struct {
	NS    string            `json:"ns,omitempty"`
	Path  string            `json:"path"`
	Value string            `json:"value"`
	Set   string            `json:"set"`             // what we set it to
	Index int               `json:"index,omitempty"` // of the link it belongs to
	Links map[string]string `json:"links,omitempty"` // what setting it for all links overwrote
	// Last is, of a setting for links to come, the index of the newest link
	// that was there already.
	Last int `json:"last,omitempty"`
}

// record is what must be known to undo what the kernel does not mark: written
// to disk before the kernel is changed, so that a kill at any moment loses
// nothing.
type record struct {
	path string

	mu   sync.Mutex
	body recordBody
}

type recordBody struct {
	// Boot is the kernel's boot_id: a reboot restores sysctls by itself.
	Boot    string     `json:"boot"`
	Sysctls []original `json:"sysctls,omitempty"`
	Netns   []string   `json:"netns,omitempty"`
}

// openRecord reads the record in the directory. One that cannot be understood
// is an error: what it would restore must not be forgotten silently.
func openRecord(dir string) (*record, error) {
	r := &record{path: filepath.Join(dir, recordFile)}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "read the boot id: %w", err)
	}
	b, err := os.ReadFile(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, vnet.Errorf(vnet.ErrHost, "read the original sysctl values: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &r.body); err != nil {
			return nil, vnet.Errorf(vnet.ErrHost, "read the original sysctl values in %s: %w", r.path, err).
				WithHint("move the file away; settings it names stay as they are")
		}
	}
	if id := strings.TrimSpace(string(boot)); r.body.Boot != id {
		r.body = recordBody{Boot: id}
	}
	return r, nil
}

// save writes the record; the caller holds mu.
func (r *record) save() error {
	err := func() error {
		b, err := json.MarshalIndent(r.body, "", "\t")
		if err != nil {
			return err
		}
		f, err := os.OpenFile(r.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(append(b, '\n'))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		return os.Rename(r.path+".new", r.path)
	}()
	if err != nil {
		return vnet.Errorf(vnet.ErrHost, "record original sysctl values: %w", err).
			WithHint("make room on, or write access to, the state directory")
	}
	return nil
}

// change edits the body and saves it, or leaves both as they were.
func (r *record) change(edit func(*recordBody)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.body
	r.body.Sysctls, r.body.Netns = slices.Clone(old.Sysctls), slices.Clone(old.Netns)
	edit(&r.body)
	if err := r.save(); err != nil {
		r.body = old
		return err
	}
	return nil
}

func (r *record) get(ns, path string) (original, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.body.Sysctls {
		if o.NS == ns && o.Path == path {
			return o, true
		}
	}
	return original{}, false
}

// of returns what is recorded of the items.
func (r *record) of(items []plan.Sysctl) []original {
	var out []original
	for _, i := range items {
		if o, ok := r.get(i.NS, i.Path); ok {
			out = append(out, o)
		}
	}
	return out
}

// sysctls returns all that is recorded.
func (r *record) sysctls() []original {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.body.Sysctls)
}

func (r *record) add(all []original) error {
	if len(all) == 0 {
		return nil
	}
	return r.change(func(b *recordBody) {
		b.without(all)
		b.Sysctls = append(b.Sysctls, all...)
	})
}

func (r *record) drop(all []original) error {
	if len(all) == 0 {
		return nil
	}
	return r.change(func(b *recordBody) { b.without(all) })
}

// without takes out what is recorded of the same settings.
func (b *recordBody) without(all []original) {
	b.Sysctls = slices.DeleteFunc(b.Sysctls, func(o original) bool {
		return slices.ContainsFunc(all, func(d original) bool { return d.NS == o.NS && d.Path == o.Path })
	})
}

// netns returns the namespaces that we made.
func (r *record) netns() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.body.Netns)
}

func (r *record) hasNetns(name string) bool { return slices.Contains(r.netns(), name) }

func (r *record) addNetns(name string) error {
	if r.hasNetns(name) {
		return nil
	}
	return r.change(func(b *recordBody) { b.Netns = append(b.Netns, name) })
}

func (r *record) dropNetns(name string) error {
	return r.change(func(b *recordBody) {
		b.Netns = slices.DeleteFunc(b.Netns, func(n string) bool { return n == name })
	})
}

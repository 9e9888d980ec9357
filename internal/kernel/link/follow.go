package link

import (
	"fmt"
	"strings"
)

// Follow tells that a link of the host has got the settings of another one, as
// the bridge does that shares a NIC, and the NIC when it leaves. What they were
// before us is then given back to that link in the end.
func (l *Links) Follow(from, to string) error {
	return l.spaces.Do("", func() error {
		var add []original
		for _, o := range l.record.sysctls() {
			if o.NS != "" || linkName(o.Path) != from {
				continue
			}
			old := o.Path
			o.Path = strings.Replace(o.Path, "/"+from+"/", "/"+to+"/", 1)
			o.Index = linkIndex(o.Path)
			if known, ok := l.record.get("", o.Path); ok && known.Index == o.Index {
				continue
			}
			if now, err := readSysctl(o.Path); err != nil || now != o.Set {
				continue // it did not get this one
			}
			if o.Index == 0 {
				return fmt.Errorf("settings of %s: %s is gone", old, to)
			}
			add = append(add, o)
		}
		return l.record.add(add)
	})
}

package vnet

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzValidate feeds whatever is JSON of a noun to its defaults and checks:
// nothing panics, an error is an *Error of one line, defaults are stable, and
// what is valid is valid again after a trip through JSON.
func FuzzValidate(f *testing.F) {
	for _, seed := range []struct {
		kind Kind
		json string
	}{
		{KindNetwork, `{"name":"web"}`},
		{KindNetwork, `{"name":"lab","ipv4":{"mode":"nat","address":"192.168.150.1/24","ranges":[{"first":"192.168.150.9","last":"192.168.150.12"}]},"ipv6":{"mode":"routed","address":"2001:db8:5::/64","guests":"stateful"}}`},
		{KindNetwork, `{"name":"lan","ipv4":{"mode":"bridged"},"link":"eth1","dns":{"servers":["fe80::1%eth0","::"],"search":[""]}}`},
		{KindSubnet, `{"network":"n","prefix":"::/0","gateway":"::%x"}`},
		{KindSubnet, `{"network":"n","family":"ipv6","source":"fixed","prefix":"2001:db8::/127","ranges":[{"first":"","last":"1.2.3.4"}]}`},
		{KindPool, `{"name":"p","prefix":"2001:db8::/48"}`},
		{KindPort, `{"name":"vm1","network":"n","addresses":["::ffff:1.2.3.4"],"binding":{"plug":"tap","device":"tap0","owner":"0"}}`},
		{KindReservation, `{"network":"n","duid":"00:03:00:01:52:54:00:aa:00:01","iaid":7,"address":"2001:db8::7"}`},
		{KindProject, `{"name":"a","tags":{"k":"v"}}`},
		{KindRouter, `{"name":"r","netns":"../x"}`},
		{KindActivation, `{}`},
		{KindNetwork, `{"name":"six","ipv4":{"mode":"none"},"ipv6":{"mode":"proxied","address":"2001:db8:1:2:f000::/80"},"nat64":"64:FF9B::/96"}`},
		{KindNetwork, `{"name":"in","ipv6":{"mode":"nptv6","address":"fd00:1::/64"},"nat64":"off"}`},
		{KindSubnet, `{"network":"n","source":"delegated"}`},
		{KindSubnet, `{"network":"n","source":"proxied","prefix":"2001:db8::1:0/112","gateway":"none"}`},
		{KindUplink, `{"name":"eth0","host":"h","shared":true,"pinned":"BOTH","ask":"off","hint":56,"prefixes":["2001:db8::/56"]}`},
		{KindUplink, `{"name":"any","host":"h","file":"/etc/../x","command":["/bin/true","\u0000"],"every":"10s","settle":"1h"}`},
	} {
		f.Add(string(seed.kind), []byte(seed.json))
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		o := NewObject(Kind(kind))
		if o == nil || json.Unmarshal(data, o) != nil {
			return
		}
		validate := func(o Object) error {
			if d, ok := o.(interface{ SetDefaults() }); ok {
				d.SetDefaults()
			}
			v, ok := o.(interface{ Validate() error })
			if !ok {
				return nil
			}
			return v.Validate()
		}
		err := validate(o)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
				t.Errorf("%s %s: %T %v", kind, data, err, err)
			} else if e.Field == "" || e.Kind != ErrInvalid && e.Kind != ErrUnsupported {
				t.Errorf("%s %s: kind %q, field %q: %v", kind, data, e.Kind, e.Field, err)
			}
			return
		}
		once, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again := NewObject(Kind(kind))
		if err := json.Unmarshal(once, again); err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		before, _ := json.Marshal(again) // an empty list is no list after the trip
		if err := validate(again); err != nil {
			t.Errorf("%s is valid, and then %s is not: %v", data, once, err)
		}
		if after, _ := json.Marshal(again); string(after) != string(before) {
			t.Errorf("%s becomes %s and then %s", data, before, after)
		}
	})
}

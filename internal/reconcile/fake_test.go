package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// thing is a value of a fake kernel: at a stage, with a name and a content,
// standing on another thing.
type thing struct {
	stage   int
	name    string
	content int
	on      string // name of a thing of a lower stage that must be there
}

func key(v thing) string { return v.name }
func stage(v thing) int  { return v.stage }

// kernel is a fake target that insists on order: nothing is made before, or
// removed after, what it stands on.
type kernel struct {
	things map[string]thing
	broken map[string]bool // what cannot be made or removed now
	deaf   bool            // Actual fails
	calls  int             // changes made
	log    []string
}

func newKernel() *kernel {
	return &kernel{things: map[string]thing{}, broken: map[string]bool{}}
}

var errBroken = errors.New("broken")

func (k *kernel) Apply(_ context.Context, put, del []thing) map[string]error {
	errs := map[string]error{}
	for _, v := range del {
		have, ok := k.things[v.name]
		if !ok {
			continue
		}
		if k.broken[v.name] {
			errs[v.name] = errBroken
			continue
		}
		delete(k.things, have.name)
		k.calls++
		k.log = append(k.log, "-"+v.name)
	}
	for _, v := range put {
		switch {
		case k.broken[v.name]:
			errs[v.name] = errBroken
		case v.on != "" && k.things[v.on] == thing{}:
			errs[v.name] = fmt.Errorf("%s stands on %s, which is not there", v.name, v.on)
		case k.things[v.name] != v:
			k.things[v.name] = v
			k.calls++
			k.log = append(k.log, "+"+v.name)
		}
	}
	return errs
}

func (k *kernel) Actual(context.Context, map[string]thing) (map[string]thing, error) {
	if k.deaf {
		return nil, errBroken
	}
	return maps.Clone(k.things), nil
}

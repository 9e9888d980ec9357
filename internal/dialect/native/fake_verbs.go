package native

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Start sets Started.
func (f *Fake) Start(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	return f.turn(ctx, who, sel, true)
}

// Stop unsets Started.
func (f *Fake) Stop(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	return f.turn(ctx, who, sel, false)
}

func (f *Fake) turn(ctx context.Context, who Identity, sel Selector, on bool) (vnet.Object, error) {
	return f.Update(ctx, who, sel, vnet.AnyRevision, func(o vnet.Object) error {
		o.(*vnet.Network).Started = &on
		return nil
	})
}

// Plug makes the port if there is none, and binds it on host1.
func (f *Fake) Plug(ctx context.Context, who Identity, sel Selector, port *vnet.Port, b vnet.Binding) (*vnet.Port, error) {
	b.Host = "host1"
	bind := func(o vnet.Object) error {
		o.(*vnet.Port).Binding = &b
		return nil
	}
	if _, err := f.Get(ctx, who, sel); vnet.Is(err, vnet.ErrNotFound) {
		if port.Network == "" {
			return nil, vnet.Invalid("network", "the port is not there, and making it needs a network")
		}
		port.Binding = &b
		o, err := f.Create(ctx, who, sel.Project, port)
		if err != nil {
			return nil, err
		}
		return o.(*vnet.Port), nil
	}
	o, err := f.Update(ctx, who, sel, vnet.AnyRevision, bind)
	if err != nil {
		return nil, err
	}
	return o.(*vnet.Port), nil
}

// Unplug forgets the binding.
func (f *Fake) Unplug(ctx context.Context, who Identity, sel Selector) (*vnet.Port, error) {
	o, err := f.Update(ctx, who, sel, vnet.AnyRevision, func(o vnet.Object) error {
		o.(*vnet.Port).Binding = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o.(*vnet.Port), nil
}

// Why looks at leases only.
func (f *Fake) Why(_ context.Context, _ Identity, a netip.Addr) ([]Reason, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Reason
	for _, o := range f.objects {
		if l, ok := o.(*vnet.Lease); ok && l.Address == a {
			out = append(out, Reason{
				Ref: vnet.RefOf(l), Name: l.Hostname, Address: a, MAC: l.MAC,
				Text: fmt.Sprintf("%s got it by %s", l.Hostname, l.How),
			})
		}
	}
	return out, nil
}

// Events sends what happened, and then waits for the end of ctx.
func (f *Fake) Events(ctx context.Context, _ Identity, after int64) (<-chan vnet.Event, error) {
	f.mu.Lock()
	past := slices.Clone(f.events)
	f.mu.Unlock()
	c := make(chan vnet.Event)
	go func() {
		defer close(c)
		for _, e := range past {
			if e.Revision <= after || after < 0 {
				continue
			}
			select {
			case c <- e:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return c, nil
}

// Backup writes one object per line.
func (f *Fake) Backup(_ context.Context, _ Identity, w io.Writer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := json.NewEncoder(w)
	for _, o := range f.objects {
		if err := e.Encode(o); err != nil {
			return err
		}
	}
	return nil
}

// Restore only looks whether it is a backup.
func (f *Fake) Restore(_ context.Context, _ Identity, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte("{")) {
		return vnet.Errorf(vnet.ErrInvalid, "the file is no backup")
	}
	return nil
}

// Ask counts cleanups.
func (f *Fake) Ask(_ context.Context, _ Identity, q Question) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Cleaned++
	return json.RawMessage(`{"removed":7}`), nil
}

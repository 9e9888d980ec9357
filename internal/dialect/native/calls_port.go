package native

import (
	"context"
	"net/http"
	"reflect"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// registerPorts adds plug and unplug.
func (a *api) registerPorts() {
	n := own[vnet.Port](vnet.KindPort, "ports")
	plug := a.op(http.MethodPost, "/v1/ports/{name}/plug", "plug", "port",
		"Plug a port into a device; makes the port if there is none of this name on the network")
	register(a, plug, func(ctx context.Context, in *switchIn) (*objectOut[vnet.Port], error) {
		return a.plug(ctx, n, in)
	})
	a.takes(plug, "application/json", reflect.TypeFor[PlugRequest]())

	unplug := a.op(http.MethodPost, "/v1/ports/{name}/unplug", "unplug", "port", "Unplug a port; the port stays")
	register(a, unplug, func(ctx context.Context, in *switchIn) (*objectOut[vnet.Port], error) {
		wait, err := parseWait(in.Wait)
		if err != nil {
			return nil, err
		}
		who, sel := whoFrom(ctx), n.selector(&in.Named)
		var before vnet.Object
		if wait > 0 {
			if before, err = a.Verbs.Get(ctx, who, sel); err != nil {
				return nil, err
			}
		}
		p, err := a.Verbs.Unplug(ctx, who, sel)
		if err != nil {
			return nil, err
		}
		if before != nil {
			if ref, host, ok := concern(before); ok {
				// The port stays, its device does not.
				if _, err := a.await(ctx, ref, p.Revision, host, control.Gone, wait, false); err != nil {
					return nil, err
				}
			}
		}
		return n.settled(ctx, newNames(a.Verbs, who), p, nil, http.StatusOK), nil
	})
}

func (a *api) plug(ctx context.Context, n noun[vnet.Port], in *switchIn) (*objectOut[vnet.Port], error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	var req PlugRequest
	if err := vnet.DecodeJSON(bodyFrom(ctx), &req); err != nil {
		return nil, err
	}
	who := whoFrom(ctx)
	port := req.Port
	if port == nil {
		port = new(vnet.Port)
	}
	keepReadOnly(port, new(vnet.Port))
	port.Name, port.Binding = in.Name, nil
	if port.Network == "" {
		port.Network = vnet.ID(in.Network)
	}
	ns := newNames(a.Verbs, who)
	said := references(port)
	sel := n.selector(&in.Named)
	if sel.Network == "" {
		sel.Network = string(port.Network)
	}
	plugged := wait > 0 && a.isPlugged(ctx, sel)
	made, err := a.Verbs.Plug(ctx, who, sel, port, req.Binding)
	if err != nil {
		return nil, err
	}
	ns.remember(said, made)
	// When its host cannot plug it, a port that this call made (it has one
	// generation) is withdrawn, and one that it plugged is unplugged; one that
	// was plugged before stays so.
	created := made.Generation <= 1
	if _, err := a.settle(ctx, made, control.Running, wait, created); err != nil {
		if !created && !plugged && ctx.Err() == nil {
			a.undoPlug(ctx, sel)
		}
		return nil, err
	}
	return n.settled(ctx, ns, made, nil, http.StatusOK), nil
}

func (a *api) isPlugged(ctx context.Context, sel Selector) bool {
	o, err := a.Verbs.Get(ctx, whoFrom(ctx), sel)
	p, ok := o.(*vnet.Port)
	return err == nil && ok && p.Binding != nil
}

// undoPlug unplugs a port that its host could not plug.
func (a *api) undoPlug(ctx context.Context, sel Selector) {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if _, err := a.Verbs.Unplug(undo, whoFrom(ctx), sel); err != nil {
		a.Log.Warn("native: a failed plug stays", "port", sel.Name, "error", err)
	}
}

package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// plugKeys are the keys of plug that are about the device, not the port.
var plugKeys = []string{"netns", "device", "tap", "owner", "host"}

// plug binds a port to a device: netns= and device= for a veth, tap= and
// owner= for a tap; the other keys are those of the port, if it is to be made.
func plug(ctx context.Context, c *call, args []string) error {
	keys := c.noun.keys()
	keys.aliases = map[string]string{"address": "addresses"}
	for _, k := range plugKeys {
		keys.aliases[k] = "binding." + k
	}
	device := map[string]string{}
	var rest []string
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if ok && slices.Contains(plugKeys, key) {
			device[key] = value
			continue
		}
		rest = append(rest, arg)
	}
	port := body{}
	edits, err := port.fill(keys, rest)
	if err != nil {
		return err
	}
	if len(edits) > 0 {
		return usagef("plug makes ports, it does not edit lists: say %s=", edits[0].path)
	}
	if n := c.query.Get("network"); n != "" {
		port["network"] = n
	}
	binding, err := bindingOf(device)
	if err != nil {
		return err
	}
	b := body{"binding": binding, "port": port}
	if len(port) == 0 {
		delete(b, "port")
	}
	var out json.RawMessage
	if err := c.send(ctx, client.Request{Method: http.MethodPost, Path: c.path() + "/plug", Body: b}, &out); err != nil {
		return err
	}
	return c.done("plugged", out)
}

// bindingOf reads the keys of a device.
func bindingOf(k map[string]string) (vnet.Binding, error) {
	b := vnet.Binding{Host: k["host"]}
	switch {
	case k["tap"] != "" && (k["netns"] != "" || k["device"] != ""):
		return b, usagef("plug: say either tap= or netns= and device=")
	case k["tap"] != "":
		b.Plug, b.Device, b.Owner = vnet.PlugTap, k["tap"], k["owner"]
	case k["netns"] == "" || k["device"] == "":
		return b, usagef("plug: where to? say netns=NS device=eth0, or tap=TAP owner=USER")
	case k["owner"] != "":
		return b, usagef("plug: owner= is for tap= only")
	default:
		b.Plug, b.Netns, b.Device = vnet.PlugVeth, k["netns"], k["device"]
	}
	return b, nil
}

func unplug(ctx context.Context, c *call, args []string) error {
	if err := noArgs(c, args); err != nil {
		return err
	}
	var out json.RawMessage
	if err := c.send(ctx, client.Request{Method: http.MethodPost, Path: c.path() + "/unplug"}, &out); err != nil {
		return err
	}
	return c.done("unplugged", out)
}

// sayPort says which addresses a port has.
func (c *call) sayPort(what string, object json.RawMessage) error {
	var p struct {
		Network string   `json:"network"`
		MAC     vnet.MAC `json:"mac"`
		Fixed   []struct {
			Address netip.Addr `json:"address"`
		} `json:"fixed"`
		Binding *vnet.Binding `json:"binding"`
	}
	if err := json.Unmarshal(object, &p); err != nil {
		return err
	}
	facts := []string{"network " + p.Network}
	if !p.MAC.IsZero() {
		facts = append(facts, p.MAC.String())
	}
	for _, f := range p.Fixed {
		if f.Address.IsValid() {
			facts = append(facts, f.Address.String())
		}
	}
	if b := p.Binding; b != nil {
		where := string(b.Plug) + " " + b.Device
		if b.Netns != "" {
			where += " in " + b.Netns
		}
		facts = append(facts, where)
	}
	return c.say("port %s %s: %s", c.name, what, strings.Join(facts, ", "))
}

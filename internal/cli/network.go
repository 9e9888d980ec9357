package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// networkView is what is said of a network after a write.
type networkView struct {
	Status *struct {
		Host     string         `json:"host"`
		State    vnet.State     `json:"state"`
		Mode4    vnet.Egress    `json:"mode4"`
		Why4     string         `json:"why4"`
		Mode6    vnet.Egress    `json:"mode6"`
		Why6     string         `json:"why6"`
		Gateways []netip.Prefix `json:"gateways"`
		Bridge   string         `json:"bridge"`
		Problems []vnet.Problem `json:"problems"`
	} `json:"status"`
}

// sayNetwork says what was chosen, family by family, and why; then what is
// wrong, if anything is.
func (c *call) sayNetwork(what string, object json.RawMessage) error {
	var n networkView
	if err := json.Unmarshal(object, &n); err != nil {
		return err
	}
	s := n.Status
	if s == nil {
		return c.say("network %s %s", c.name, what)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "network %s %s", c.name, what)
	if what != "stopped" {
		fmt.Fprintf(&b, ": %s on %s", s.State, s.Host)
		if s.Bridge != "" {
			fmt.Fprintf(&b, ", bridge %s", s.Bridge)
		}
		b.WriteString("\n")
		sayFamily(&b, "IPv4", s.Mode4, gateways(s.Gateways, false), s.Why4)
		sayFamily(&b, "IPv6", s.Mode6, gateways(s.Gateways, true), s.Why6)
	} else {
		b.WriteString("\n")
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  problem: %s\n", problemLine(p))
	}
	_, err := fmt.Fprint(c.Stdout, b.String())
	return err
}

func sayFamily(b *strings.Builder, family string, mode vnet.Egress, gateways, why string) {
	if mode == "" {
		return
	}
	fmt.Fprintf(b, "  %s  %s", family, mode)
	if gateways != "" {
		fmt.Fprintf(b, "  %s", gateways)
	}
	// The reason may begin with the mode that it is about.
	if why = strings.TrimPrefix(why, string(mode)+": "); why != "" {
		fmt.Fprintf(b, "  (%s)", why)
	}
	b.WriteString("\n")
}

func gateways(all []netip.Prefix, six bool) string {
	var out []string
	for _, p := range all {
		if p.Addr().Is6() == six {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, ", ")
}

// problemLine is a problem in the form of an error.
func problemLine(p vnet.Problem) string {
	e := vnet.Error{Field: p.Field, Msg: p.Msg, Hint: p.Hint}
	return strings.Join(strings.Fields(e.Error()), " ")
}

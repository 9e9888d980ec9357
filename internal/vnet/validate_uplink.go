package vnet

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// The values of UplinkPolicy.Pinned.
const (
	PinnedIPv4 = "ipv4"
	PinnedIPv6 = "ipv6"
	PinnedBoth = "both"
)

// Bounds of what is wished of uplinks.
const (
	minEvery       = 10 * time.Second
	maxEvery       = 24 * time.Hour
	maxSettle      = time.Hour
	uplinkPrefixes = 16
	commandWords   = 64
	commandBytes   = 4096 // of one word
)

// Pins returns the families whose guests leave by the uplink whatever the
// metrics say.
func (p *UplinkPolicy) Pins() []Family {
	switch p.Pinned {
	case PinnedIPv4:
		return []Family{IPv4}
	case PinnedIPv6:
		return []Family{IPv6}
	case PinnedBoth:
		return []Family{IPv4, IPv6}
	}
	return nil
}

// Fold takes a change of Shared back whose time to be confirmed is over, and
// reports whether it did.
func (p *UplinkPolicy) Fold(now time.Time) bool {
	if p.Until.IsZero() || now.Before(p.Until) {
		return false
	}
	p.Shared, p.Until, p.Before = p.Before, time.Time{}, false
	return true
}

// SetDefaults brings words into the form in which they are compared.
func (p *UplinkPolicy) SetDefaults() {
	p.Pinned = strings.ToLower(p.Pinned)
	p.Ask = Asking(strings.ToLower(string(p.Ask)))
	if p.File != "" {
		p.File = path.Clean(p.File)
	}
}

// Validate checks a policy after SetDefaults. What it means beside the policies
// of the host's other uplinks is control's to say.
func (p *UplinkPolicy) Validate() error {
	if p.Host == "" {
		return Invalid("host", "the host is missing").WithHint("say host=NAME")
	}
	if err := CheckLink("name", p.Name); err != nil {
		return err
	}
	if err := p.validateTags(); err != nil {
		return err
	}
	switch p.Pinned {
	case "", PinnedIPv4, PinnedIPv6, PinnedBoth:
	default:
		return Invalid("pinned", "%s is no family", quote(p.Pinned)).WithHint("say ipv4, ipv6 or both, or leave it out")
	}
	switch p.Ask {
	case "", AskAuto, AskOn, AskOff:
	default:
		return Invalid("ask", "%s is no way to ask for prefixes", quote(string(p.Ask))).WithHint("say auto, on or off")
	}
	if p.Hint != 0 && (p.Hint < 32 || p.Hint > 64) {
		return Invalid("hint", "no provider delegates a /%d", p.Hint).WithHint("say 32 to 64, for example 56, or leave it out")
	}
	if p.Name == AnyUplink {
		if err := p.checkAny(); err != nil {
			return err
		}
	}
	if err := checkRouted(p.Prefixes); err != nil {
		return err
	}
	if err := p.checkGivers(); err != nil {
		return err
	}
	if p.Settle < 0 || p.Settle.Std() > maxSettle {
		return Invalid("settle", "%s is not between 0 and %s", p.Settle, Duration(maxSettle))
	}
	return nil
}

// checkAny refuses what means nothing without a link.
func (p *UplinkPolicy) checkAny() error {
	for _, c := range []struct {
		field string
		set   bool
	}{{"shared", p.Shared || !p.Until.IsZero()}, {"pinned", p.Pinned != ""}, {"ask", p.Ask != ""}, {"hint", p.Hint != 0}} {
		if c.set {
			return Invalid(c.field, "%s is said of one link, and the uplink %q stands for every one", c.field, AnyUplink).WithHint("name the link")
		}
	}
	return nil
}

// checkRouted checks prefixes that are said to be routed to the host.
func checkRouted(prefixes []netip.Prefix) error {
	const field = "prefixes"
	if len(prefixes) > uplinkPrefixes {
		return Invalid(field, "%d prefixes, at most %d are used", len(prefixes), uplinkPrefixes)
	}
	for i, q := range prefixes {
		if err := checkPrefix(field, IPv6, q); err != nil {
			return err
		}
		if err := InField(checkMasked(q), field); err != nil {
			return err
		}
		switch {
		case q.Bits() > 64:
			return Invalid(field, "%s is longer than a /64, too long for a network", q).
				WithHint("if it is on the uplink's link, say sextant network set NAME ipv6=proxied ipv6.address=%s", q)
		case q.Bits() < 16:
			return Invalid(field, "%s is more than anybody is given", q)
		case within(ULARange, q):
			return Invalid(field, "%s is a unique local prefix, which nobody outside has a route to", q).
				WithHint("leave it out: each network has one of its own")
		}
		for _, o := range prefixes[:i] {
			if o.Overlaps(q) {
				return Invalid(field, "%s overlaps %s", q, o).WithHint("name the shorter one only")
			}
		}
	}
	return nil
}

// checkGivers checks the file and the command that give prefixes.
func (p *UplinkPolicy) checkGivers() error {
	if p.File != "" && (!path.IsAbs(p.File) || len(p.File) > commandBytes || !printable(p.File)) {
		return Invalid("file", "%s is no absolute path", quote(p.File)).WithHint("write it as /etc/sextant/prefixes")
	}
	if p.Every != 0 && (p.Every.Std() < minEvery || p.Every.Std() > maxEvery) {
		return Invalid("every", "%s is not between %s and %s", p.Every, Duration(minEvery), Duration(maxEvery))
	}
	if len(p.Command) == 0 {
		return nil
	}
	if len(p.Command) > commandWords {
		return Invalid("command", "%d words, at most %d are allowed", len(p.Command), commandWords)
	}
	if slices.ContainsFunc(p.Command, func(w string) bool { return len(w) > commandBytes || strings.ContainsRune(w, 0) }) {
		return Invalid("command", "a word of the command is longer than %d bytes or has a NUL in it", commandBytes)
	}
	if !path.IsAbs(p.Command[0]) || !printable(p.Command[0]) {
		return Invalid("command", "%s is no absolute path of a program", quote(p.Command[0])).WithHint("write it as /usr/local/bin/prefixes, and its arguments after it")
	}
	return nil
}

package ladder

import (
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestGrace: a prefix that had to go is told until the last promise ends: 2 h at
// most by default, more where more was configured.
func TestGrace(t *testing.T) {
	day := vnet.PrefixPolicy{Valid: vnet.Duration(24 * time.Hour)}
	for name, tc := range map[string]struct {
		family vnet.Family
		guests vnet.Guests
		adv    vnet.PrefixPolicy
		lease  time.Duration
		want   time.Duration
	}{
		"IPv4":                    {vnet.IPv4, vnet.GuestsDHCP, vnet.PrefixPolicy{}, time.Hour, MoveGrace},
		"IPv4, longer leases":     {vnet.IPv4, vnet.GuestsDHCP, vnet.PrefixPolicy{}, 48 * time.Hour, 48 * time.Hour},
		"SLAAC":                   {vnet.IPv6, vnet.GuestsSLAAC, vnet.PrefixPolicy{}, 12 * time.Hour, 2 * time.Hour},
		"SLAAC, more configured":  {vnet.IPv6, vnet.GuestsSLAAC, day, 12 * time.Hour, 24 * time.Hour},
		"SLAAC, less configured":  {vnet.IPv6, vnet.GuestsSLAAC, vnet.PrefixPolicy{Valid: vnet.Duration(time.Minute)}, 0, 2 * time.Hour},
		"DHCPv6":                  {vnet.IPv6, vnet.GuestsStateful, vnet.PrefixPolicy{}, 12 * time.Hour, 12 * time.Hour},
		"both, more advertised":   {vnet.IPv6, vnet.GuestsSLAACStateful, day, 12 * time.Hour, 24 * time.Hour},
		"DHCPv6, shorter than 2h": {vnet.IPv6, vnet.GuestsStateful, vnet.PrefixPolicy{}, time.Hour, 2 * time.Hour},
	} {
		if got := grace(&Wish{LeaseTime: tc.lease}, &vnet.Subnet{Family: tc.family, Guests: tc.guests, Advertise: tc.adv}); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestMoveLastsAsLeases: the deadline of a prefix that moved is that of the
// leases in it.
func TestMoveLastsAsLeases(t *testing.T) {
	d := &decider{in: Input{Now: start}, scopes: map[vnet.Scope]*scope{}}
	s := &slot{wish: &Wish{LeaseTime: 72 * time.Hour}, subnet: &vnet.Subnet{Family: vnet.IPv4}}
	d.deprecate(s, vnet.PrefixAssignment{}, "is in the way")
	if got := d.out.Claim[0]; !got.ValidUntil.Equal(start.Add(72*time.Hour)) || !got.PreferredUntil.Equal(start) {
		t.Errorf("%+v", got)
	}
}

package vnet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestLeaseRecords(t *testing.T) {
	mac := MAC{2, 0, 0, 0, 0, 1}
	four, six := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	for name, tc := range map[string]struct {
		r    LeaseRecord
		want string // "" is valid
	}{
		"by MAC":             {LeaseRecord{Address: four, MAC: mac}, ""},
		"by client":          {LeaseRecord{Address: four, Client: "ff:00:01"}, ""},
		"by DUID":            {LeaseRecord{Address: six, DUID: "00:03:00:01:02:00:00:00:00:01"}, ""},
		"a prefix":           {LeaseRecord{Address: netip.MustParseAddr("2001:db8:1::"), Length: 48, MAC: mac}, ""},
		"in quarantine":      {LeaseRecord{Address: four, Declined: true}, ""},
		"nobody's":           {LeaseRecord{Address: four}, "nothing says whose it is"},
		"nothing":            {LeaseRecord{MAC: mac}, "lacks its address"},
		"mapped":             {LeaseRecord{Address: netip.MustParseAddr("::ffff:192.0.2.9"), MAC: mac}, "lacks its address"},
		"multicast":          {LeaseRecord{Address: netip.MustParseAddr("ff02::1"), MAC: mac}, "no address of a guest"},
		"bits beyond":        {LeaseRecord{Address: six, Length: 64, MAC: mac}, "no prefix"},
		"an IPv4 prefix":     {LeaseRecord{Address: four, Length: 24, MAC: mac}, "no prefix"},
		"a DUID of IPv4":     {LeaseRecord{Address: four, DUID: "00:03:00:01:02"}, "no DUID"},
		"not hex":            {LeaseRecord{Address: four, Client: "zz"}, "no client identifier"},
		"a name with spaces": {LeaseRecord{Address: four, MAC: mac, Hostname: "a b"}, "no name of a guest"},
		"a loud name":        {LeaseRecord{Address: four, MAC: mac, Hostname: "WEB"}, "no name of a guest"},
	} {
		err := tc.r.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

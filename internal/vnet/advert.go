package vnet

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// RAPolicy shapes a network's router advertisements (RFC 4861 section 6.2.1
// unless said otherwise). What is left out has the default that is named.
type RAPolicy struct {
	Off         bool       `json:"off,omitempty" doc:"no router advertisements of ours on this network"`
	MinInterval Duration   `json:"minInterval,omitempty" doc:"least time between unsolicited advertisements; default a third of ra.maxInterval"`
	MaxInterval Duration   `json:"maxInterval,omitempty" doc:"most time between unsolicited advertisements, 4s to 30m; default 10m"`
	MinDelay    Duration   `json:"minDelay,omitempty" doc:"least time between multicast advertisements, also solicited ones; default 3s"`
	Lifetime    *Duration  `json:"lifetime,omitempty" doc:"how long guests keep this router as their default; 0: never; default three times ra.maxInterval"`
	Preference  Preference `json:"preference,omitempty" doc:"of this router as default: low, medium or high (RFC 4191); default medium"`
	HopLimit    *int       `json:"hopLimit,omitempty" doc:"hop limit of guests' packets, 0: not said; default 64"`
	Reachable   Duration   `json:"reachable,omitempty" doc:"how long a neighbour counts as reachable, at most 1h; default not said"`
	Retrans     Duration   `json:"retrans,omitempty" doc:"time between repeated neighbour solicitations; default not said"`
	Managed     *bool      `json:"managed,omitempty" doc:"M flag: addresses by DHCPv6; default as the subnets have it"`
	Other       *bool      `json:"other,omitempty" doc:"O flag: other configuration by DHCPv6; default as the subnets have it"`
	MTU         *int       `json:"mtu,omitempty" doc:"MTU told to guests, bytes; 0: not said; default the network's"`
	SourceLink  *bool      `json:"sourceLink,omitempty" doc:"tell the gateway's MAC (RFC 4861 section 4.6.1); default true"`
	UnicastOnly bool       `json:"unicastOnly,omitempty" doc:"never multicast: answer solicitations only"`
	DNSLifetime Duration   `json:"dnsLifetime,omitempty" doc:"lifetime of resolvers and search domains (RFC 8106); default three times ra.maxInterval"`
	// PREF64 is the NAT64 prefix: RFC 8781, one of /32, /40, /48, /56, /64, /96.
	PREF64         netip.Prefix `json:"pref64,omitzero" doc:"NAT64 prefix told to guests (RFC 8781)"`
	PREF64Lifetime Duration     `json:"pref64Lifetime,omitempty" doc:"lifetime of ra.pref64, at most 18h12m; default three times ra.maxInterval"`
}

// Preference is a router's or a route's (RFC 4191 section 2.1).
type Preference string

// The preferences. Empty means medium.
const (
	PreferenceLow    Preference = "low"
	PreferenceMedium Preference = "medium"
	PreferenceHigh   Preference = "high"
)

// PrefixPolicy shapes how an IPv6 prefix is advertised (RFC 4861 section
// 4.6.2). What is left out has the default that is named.
type PrefixPolicy struct {
	Off              bool     `json:"off,omitempty" doc:"do not advertise the prefix"`
	OnLink           *bool    `json:"onLink,omitempty" doc:"L flag; default true"`
	Autonomous       *bool    `json:"autonomous,omitempty" doc:"A flag: guests make addresses in it; default as the subnet's guests have it, and only in a /64"`
	PreferDelegation bool     `json:"preferDelegation,omitempty" doc:"P flag: guests had better ask for a prefix of their own (RFC 9762)"`
	RouterAddress    bool     `json:"routerAddress,omitempty" doc:"R flag: tell the gateway's whole address (RFC 6275)"`
	Preferred        Duration `json:"preferred,omitempty" doc:"preferred lifetime; default 45m (RFC 9096)"`
	Valid            Duration `json:"valid,omitempty" doc:"valid lifetime; default 90m (RFC 9096)"`
	Decrement        bool     `json:"decrement,omitempty" doc:"count the lifetimes down from when the subnet was last written"`
}

// IsZero reports whether everything is left out.
func (p PrefixPolicy) IsZero() bool { return p == PrefixPolicy{} }

// Route is a prefix that guests reach over a network's gateway: told in router
// advertisements (RFC 4191) and by DHCPv4 (RFC 3442). Its text is "PREFIX [via
// ADDRESS] [pref low|medium|high] [lifetime TIME]".
type Route struct {
	Prefix netip.Prefix
	// Via is the next hop; zero: the network's gateway. IPv4 only, for a
	// router can advertise itself alone.
	Via netip.Addr
	// Preference and Lifetime are for IPv6; zero: medium, and three times the
	// most time between advertisements.
	Preference Preference
	Lifetime   Duration
}

// String returns the form that UnmarshalText reads.
func (r Route) String() string {
	var b strings.Builder
	b.WriteString(FormatPrefix(r.Prefix))
	if r.Via.IsValid() {
		b.WriteString(" via " + FormatAddr(r.Via))
	}
	if r.Preference != "" {
		b.WriteString(" pref " + string(r.Preference))
	}
	if r.Lifetime != 0 {
		b.WriteString(" lifetime " + r.Lifetime.String())
	}
	return b.String()
}

// MarshalText returns String's form.
func (r Route) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "PREFIX [via ADDRESS] [pref PREFERENCE] [lifetime TIME]".
func (r *Route) UnmarshalText(b []byte) error {
	words := strings.Fields(string(b))
	if len(words) == 0 || len(words)%2 == 0 {
		return Invalid("", "%s is no route", quote(string(b))).WithHint("write it as 2001:db8:ff::/48, or 10.9.0.0/16 via 192.168.150.2")
	}
	p, err := ParsePrefix(words[0])
	if err != nil {
		return err
	}
	out := Route{Prefix: p}
	for i := 1; i < len(words); i += 2 {
		if err := out.word(words[i], words[i+1]); err != nil {
			return err
		}
	}
	*r = out
	return nil
}

// word takes one pair of words in.
func (r *Route) word(key, value string) (err error) {
	switch key {
	case "via":
		r.Via, err = ParseAddr(value)
	case "pref":
		r.Preference = Preference(value)
		err = r.Preference.check("")
	case "lifetime":
		err = r.Lifetime.UnmarshalText([]byte(value))
	default:
		err = Invalid("", "%s: a route has no %s", r.Prefix, quote(key)).WithHint("say via, pref or lifetime")
	}
	return err
}

func (p Preference) check(field string) error {
	switch p {
	case "", PreferenceLow, PreferenceMedium, PreferenceHigh:
		return nil
	}
	return Invalid(field, "%s is no preference", quote(string(p))).WithHint("say low, medium or high")
}

// Bounds of RFC 4861 section 6.2.1 and of the wire.
const (
	leastInterval  = 4 * time.Second
	mostInterval   = 1800 * time.Second
	mostLifetime   = 9000 * time.Second // AdvDefaultLifetime
	mostPREF64     = 65528 * time.Second
	mostReachable  = time.Hour
	mostRetransmit = time.Hour
)

// validate checks a network's router advertisements.
func (p *RAPolicy) validate() error {
	between := func(field string, d, least, most time.Duration) error {
		if d != 0 && (d < least || d > most) {
			return Invalid(field, "%s is not between %s and %s", Duration(d), Duration(least), Duration(most))
		}
		return nil
	}
	most := p.MaxInterval.Std()
	if most == 0 {
		most = 600 * time.Second
	}
	for _, c := range []struct {
		field       string
		d           Duration
		least, most time.Duration
	}{
		{"ra.maxInterval", p.MaxInterval, leastInterval, mostInterval},
		{"ra.minInterval", p.MinInterval, time.Second, most * 3 / 4},
		{"ra.minDelay", p.MinDelay, time.Second, mostInterval},
		{"ra.reachable", p.Reachable, time.Millisecond, mostReachable},
		{"ra.retrans", p.Retrans, time.Millisecond, mostRetransmit},
		{"ra.dnsLifetime", p.DNSLifetime, time.Second, maxLease},
		{"ra.pref64Lifetime", p.PREF64Lifetime, time.Second, mostPREF64},
	} {
		if err := between(c.field, c.d.Std(), c.least, c.most); err != nil {
			return err
		}
	}
	if l := p.Lifetime; l != nil && *l != 0 && (l.Std() < most || l.Std() > mostLifetime) {
		return Invalid("ra.lifetime", "%s is not between %s, the time between advertisements, and %s", *l, Duration(most), Duration(mostLifetime)).
			WithHint("say 0 if guests are not to take their default route here")
	}
	if h := p.HopLimit; h != nil && (*h < 0 || *h > 255) {
		return Invalid("ra.hopLimit", "%d is not between 0 and 255", *h)
	}
	if m := p.MTU; m != nil && *m != 0 && (*m < 1280 || *m > 65535) {
		return Invalid("ra.mtu", "%d bytes are not between 1280, the least IPv6 needs, and 65535", *m).WithHint("say 0 to tell none")
	}
	if err := p.Preference.check("ra.preference"); err != nil {
		return err
	}
	return CheckPREF64("ra.pref64", p.PREF64)
}

// CheckPREF64 checks a NAT64 prefix (RFC 6052 section 2.2); the zero one is
// none.
func CheckPREF64(field string, p netip.Prefix) error {
	if p == (netip.Prefix{}) {
		return nil
	}
	if !p.Addr().Is6() || !slices.Contains([]int{32, 40, 48, 56, 64, 96}, p.Bits()) {
		return Invalid(field, "%s is no NAT64 prefix", FormatPrefix(p)).WithHint("write it as 64:ff9b::/96, or with the length 32, 40, 48, 56 or 64")
	}
	return InField(checkMasked(p), field)
}

// validate checks how a prefix is advertised.
func (p *PrefixPolicy) validate(field string, f Family) error {
	if p.IsZero() {
		return nil
	}
	if f == IPv4 {
		return Invalid(field, "IPv4 prefixes are not advertised").WithHint("leave it out")
	}
	for _, d := range []struct {
		key string
		d   Duration
	}{{".preferred", p.Preferred}, {".valid", p.Valid}} {
		if d.d != 0 && (d.d.Std() < time.Minute || d.d.Std() > maxLease) {
			return Invalid(field+d.key, "%s is not between %s and %s", d.d, Duration(time.Minute), Duration(maxLease))
		}
	}
	valid := p.Valid
	if valid == 0 {
		valid = Duration(DefaultValid)
	}
	if p.Preferred > valid {
		return Invalid(field+".preferred", "%s is longer than the valid lifetime, %s", p.Preferred, valid).WithHint("say %s.valid as well", field)
	}
	return nil
}

// Lifetimes of advertised prefixes (RFC 9096 section 4).
const (
	DefaultPreferred = 2700 * time.Second
	DefaultValid     = 5400 * time.Second
)

// checkRoutes checks the routes that guests are told.
func checkRoutes(routes []Route) error {
	const field, most = "routes", 16
	if len(routes) > most {
		return Invalid(field, "%d routes, at most %d can be told to guests", len(routes), most)
	}
	for i, r := range routes {
		f := FamilyOf(r.Prefix.Addr())
		switch {
		case f == 0:
			return Invalid(field, "a route lacks its prefix").WithHint("write it as 2001:db8:ff::/48")
		case f == IPv6 && r.Via.IsValid():
			return Invalid(field, "%s: a router can advertise IPv6 routes over itself alone", r.Prefix).WithHint("leave via out")
		case f == IPv4 && (r.Preference != "" || r.Lifetime != 0):
			return Invalid(field, "%s: IPv4 routes have neither preference nor lifetime", r.Prefix).WithHint("leave pref and lifetime out")
		case r.Via.IsValid() && FamilyOf(r.Via) != f:
			return Invalid(field, "%s is not of the family of %s", r.Via, r.Prefix)
		}
		if slices.ContainsFunc(routes[:i], func(o Route) bool { return o.Prefix == r.Prefix }) {
			return Invalid(field, "%s is there twice", r.Prefix).WithHint("name it once")
		}
	}
	return nil
}

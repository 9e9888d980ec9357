package radv

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// renumbered has one prefix and one that was retired.
func renumbered(until time.Time) plan.Service {
	old := subnet("2001:db8:1::/64", vnet.GuestsSLAAC)
	old.Deprecated, old.ValidUntil = true, until
	return service(subnet("2001:db8:2::/64", vnet.GuestsSLAAC), old)
}

// moment is a process that was started anew or goes on, with clocks that need
// not agree.
func moment(wallClock, boot time.Duration) Instant {
	return Instant{Wall: wall.Add(wallClock), Boot: boot}
}

func says(e *engine, now Instant) string { return texts(e.to(allNodes, whole, now)) }

// TestDeadlineAcrossRestart: a deprecated prefix is told with what is left of
// its time, whichever process tells it (RFC 9096 section 3.5), and then not at
// all.
func TestDeadlineAcrossRestart(t *testing.T) {
	svc := renumbered(wall.Add(2 * time.Hour))
	first := newTestEngine()
	first.set(svc, moment(0, time.Hour))
	first.setLink(true, moment(0, time.Hour))
	for left, want := range map[time.Duration]string{
		0:                     "preferred 0s valid 2h0m0s",
		30 * time.Minute:      "preferred 0s valid 1h30m0s",
		119*time.Minute + 500: "preferred 0s valid 59s",
	} {
		if got := says(first, moment(left, time.Hour+left)); !strings.Contains(got, "prefix 2001:db8:1::/64 L=true A=true "+want) {
			t.Errorf("after %v, want %s in\n%s", left, want, got)
		}
	}
	// Killed, and the machine booted again: another time since boot.
	second := newTestEngine()
	second.set(svc, moment(90*time.Minute, time.Second))
	second.setLink(true, moment(90*time.Minute, time.Second))
	if got := says(second, moment(90*time.Minute, time.Second)); !strings.Contains(got, "preferred 0s valid 30m0s") {
		t.Errorf("after a restart:\n%s", got)
	}
	if got := says(second, moment(2*time.Hour, 30*time.Minute+time.Second)); strings.Contains(got, "2001:db8:1::") {
		t.Errorf("after the deadline:\n%s", got)
	}
	// Nothing is called back when the plan forgets it: nobody has it.
	second.set(service(subnet("2001:db8:2::/64", vnet.GuestsSLAAC)), moment(121*time.Minute, 31*time.Minute))
	if got := says(second, moment(121*time.Minute, 31*time.Minute)); strings.Contains(got, "2001:db8:1::") {
		t.Errorf("after it was forgotten:\n%s", got)
	}
	// Nor is it begun with when the deadline is over already.
	third := newTestEngine()
	third.set(svc, moment(3*time.Hour, time.Second))
	if got := says(third, moment(3*time.Hour, time.Second)); strings.Contains(got, "2001:db8:1::") {
		t.Errorf("a process that starts after the deadline:\n%s", got)
	}
}

// TestLongPromiseIsKept: what guests were promised for longer than two hours
// is told until its end.
func TestLongPromiseIsKept(t *testing.T) {
	svc := renumbered(wall.Add(30 * 24 * time.Hour))
	e := started(svc)
	if got := says(e, at(0)); !strings.Contains(got, "preferred 0s valid 720h0m0s") {
		t.Errorf("a month:\n%s", got)
	}
}

// TestClockIsSet: a wall clock that is set moves no promise, not even when the
// same deadline is planned again.
func TestClockIsSet(t *testing.T) {
	for _, jump := range []time.Duration{-48 * time.Hour, time.Hour, 48 * time.Hour} {
		svc := renumbered(wall.Add(2 * time.Hour))
		e := started(svc)
		now := moment(jump, time.Hour+time.Minute)
		want := "preferred 0s valid 1h59m0s"
		if got := says(e, now); !strings.Contains(got, want) {
			t.Errorf("clock set by %v:\n%s", jump, got)
		}
		svc.MTU = 1400
		e.set(svc, now)
		if got := says(e, now); !strings.Contains(got, want) || !strings.Contains(got, "mtu 1400") {
			t.Errorf("clock set by %v, and planned again:\n%s", jump, got)
		}
		svc.Subnets = slices.Clone(svc.Subnets)
		svc.Subnets[1].ValidUntil = now.Wall.Add(time.Minute) // another promise
		e.set(svc, now)
		if got := says(e, now); !strings.Contains(got, "preferred 0s valid 1m0s") {
			t.Errorf("another deadline:\n%s", got)
		}
	}
}

// TestLifetimesCountDown: what is cached is what is true, to the second.
func TestLifetimesCountDown(t *testing.T) {
	sub := subnet(net1, vnet.GuestsSLAAC)
	sub.PreferredUntil, sub.ValidUntil = wall.Add(time.Hour), wall.Add(2*time.Hour+300*time.Millisecond)
	e := started(service(sub))
	for _, d := range []time.Duration{
		0, time.Second, 14 * time.Minute, 15 * time.Minute, 15*time.Minute + 1, 16 * time.Minute, 30 * time.Minute, 30*time.Minute + 300*time.Millisecond,
		30*time.Minute + 301*time.Millisecond, 59*time.Minute + 59*time.Second + 999*time.Millisecond, time.Hour, 2 * time.Hour, 2*time.Hour + 300*time.Millisecond, 3 * time.Hour,
	} {
		fresh := newTestEngine()
		fresh.set(service(sub), at(0))
		fresh.link = true
		if got, want := says(e, at(d)), says(fresh, at(d)); got != want {
			t.Errorf("after %v:\n%swant\n%s", d, got, want)
		}
		preferred := max(0, min(45*time.Minute, (time.Hour-d).Truncate(time.Second)))
		if got := says(e, at(d)); !strings.Contains(got, " preferred "+preferred.String()+" ") {
			t.Errorf("after %v, want preferred %v in:\n%s", d, preferred, got)
		}
	}
	before := &e.render(whole, at(4*time.Hour))[0][0]
	if after := &e.render(whole, at(5*time.Hour))[0][0]; before != after {
		t.Error("what does not change is made anew")
	}
}

// TestCalledBack: what was told and is taken away is told with lifetime 0 until
// guests have forgotten it: servers, names, routes, the NAT64 prefix.
func TestCalledBack(t *testing.T) {
	e := started(everything())
	timeline(e, 0, time.Minute)
	bare := service(subnet("fd00:1::/64", vnet.GuestsStateless))
	bare.DNS.Serve, bare.Domain = false, ""
	e.set(bare, at(time.Minute))
	want := []string{
		"prefix 2001:db8:1::1/64 L=true A=true R P preferred 0s valid 0s", "route 2001:db8:ff::/48 preference 1 0s", "route ::/0 preference 3 0s",
		"rdnss [2001:db8:1::1] 0s", "dnssl [default.internal] 0s", "encrypted priority 1 0s", "pref64 64:ff9b::/96 0s",
	}
	got := says(e, at(time.Minute))
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	if again := says(e, at(3*time.Hour)); again == got || strings.Contains(again, " 0s\n") {
		t.Errorf("still called back:\n%s", again)
	}
	// What returns is not called back beside.
	e.set(everything(), at(2*time.Minute))
	if got := says(e, at(2*time.Minute)); strings.Contains(got, " 0s\n") {
		t.Errorf("called back and told:\n%s", got)
	}
	if len(e.gone) > maxGone {
		t.Errorf("%d are remembered", len(e.gone))
	}
}

// TestStranded: the prefix of an uplink is on-link for as long as there is no
// router to lead guests to each other; then that is taken back, which saying
// nothing of it would not do.
func TestStranded(t *testing.T) {
	shared := withSubnet(subnet(net1, vnet.GuestsSLAAC), func(s *plan.Subnet) { s.OffLink = true })
	svc := func(router bool) plan.Service {
		return with(service(shared), func(s *plan.Service) { s.RA.DefaultRouter = router })
	}
	const through, here = "prefix " + net1 + " L=false A=true preferred", "prefix " + net1 + " L=true A=true preferred"
	const back = "prefix " + net1 + " L=true A=false preferred 0s valid 0s\n"
	e := started(svc(true))
	for i, c := range []struct {
		router       bool
		want, absent []string
	}{
		{true, []string{through}, []string{here, back}},
		{false, []string{here}, []string{through, back}},
		{true, []string{through, back}, []string{here}},
		{false, []string{here}, []string{through, back}},
	} {
		now := at(time.Duration(i) * time.Minute)
		e.set(svc(c.router), now)
		got := says(e, now)
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("router %v: no %q in\n%s", c.router, w, got)
			}
		}
		for _, w := range c.absent {
			if strings.Contains(got, w) {
				t.Errorf("router %v: %q in\n%s", c.router, w, got)
			}
		}
	}
	e.set(svc(true), at(4*time.Minute))
	if got := says(e, at(4*time.Hour)); strings.Contains(got, back) {
		t.Errorf("still taken back:\n%s", got)
	}
}

// TestSameToldOnce: what is not told in advertisements starts no new round of
// them.
func TestSameToldOnce(t *testing.T) {
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	e := started(svc)
	timeline(e, 0, time.Minute)
	before, _ := e.deadline()
	svc.DHCP.Limit, svc.Strangers = 7, []string{"tap0"}
	e.set(svc, at(time.Minute))
	if after, _ := e.deadline(); after != before || e.svc.DHCP.Limit != 7 {
		t.Error("a change of DHCP alone is announced, or lost")
	}
	svc.RA.Policy.Preference = vnet.PreferenceLow
	e.set(svc, at(time.Minute))
	if after, _ := e.deadline(); after == before {
		t.Error("another preference is not announced")
	}
}

// TestSamePrefixTwice: a prefix that was retired and is in use again is told
// once, as in use.
func TestSamePrefixTwice(t *testing.T) {
	svc := renumbered(wall.Add(time.Hour))
	svc.Subnets[1].Prefix = netip.MustParsePrefix("2001:db8:2::/64")
	if got := says(started(svc), at(0)); strings.Count(got, "prefix") != 1 || !strings.Contains(got, "preferred 45m0s") {
		t.Errorf("%s", got)
	}
}

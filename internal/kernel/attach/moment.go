package attach

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// The IPv6 settings that have a moment of their own.
const (
	keyDisable    = "ipv6/conf/disable_ipv6"
	keyGen        = "ipv6/conf/addr_gen_mode"
	keyAuto       = "ipv6/conf/autoconf"
	keyForwarding = "ipv6/conf/forwarding"
	keySecret     = "ipv6/conf/stable_secret"
)

// prepare gives a link the settings of the other one before it gets its
// addresses. Meanwhile it makes none of its own, neither when it comes up nor
// by an advertisement: those it is to have come with the rest, and one that was
// there already would be tentative, of no use until its duplicate address
// detection is over. It runs in the host's namespace.
func prepare(link string, settings map[string]string) {
	_ = writeSetting(link, keyGen, "1")
	_ = writeSetting(link, keyAuto, "0")
	writeSettings(link, settings, func(k string) bool { return !isLate(k) })
	if v, ok := settings[keyDisable]; ok {
		_ = writeSetting(link, keyDisable, v)
	}
}

// settle ends prepare: from now on the link makes addresses as the other did.
// Writing a secret sets the mode, so the mode comes last.
func settle(link string, settings map[string]string) {
	if v, ok := settings[keyAuto]; ok {
		_ = writeSetting(link, keyAuto, v)
	}
	if v := settings[keySecret]; v != "" {
		_ = writeSetting(link, keySecret, v)
	}
	if v, ok := settings[keyGen]; ok {
		_ = writeSetting(link, keyGen, v)
	}
}

// quiet ends IPv6 on a NIC that is only a port now.
func quiet(nic string) error {
	err := writeSetting(nic, keyDisable, "1")
	if errors.Is(err, unix.ENOENT) {
		return nil // a kernel without IPv6
	}
	return err
}

// putRules puts back rules that were taken away.
func putRules(c *netns.Conn, was *state) error {
	var errs []error
	for _, m := range was.Rules {
		moved, _, err := moveRule(m, swap{})
		if err == nil {
			err = there(send(c, unix.RTM_NEWRULE, create, moved))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

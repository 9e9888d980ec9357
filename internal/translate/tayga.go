package translate

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Wish is a translator as it is wanted.
type Wish struct {
	Link   string       // a tun that is there
	Prefix netip.Prefix // of IPv6, stands for all of IPv4 (RFC 6052)
	Itself netip.Addr   // IPv4, where its ICMP errors come from
	Guests netip.Prefix // IPv4 addresses that it gives to guests
}

// program is the translator of Debian and its kin.
const program = "tayga"

// Find returns the path of the translator on this machine.
func Find() (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = errors.New("no program " + program + " is installed")
		}
		return "", vnet.Errorf(vnet.ErrUnavailable, "%w", err).WithHint("apt install tayga")
	}
	return path, nil
}

// config is the translator's configuration (tayga.conf(5)). What it remembers
// lies in dir.
func (w Wish) config(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tun-device %s\n", w.Link)
	fmt.Fprintf(&b, "ipv4-addr %s\n", w.Itself)
	fmt.Fprintf(&b, "prefix %s\n", w.Prefix)
	fmt.Fprintf(&b, "dynamic-pool %s\n", w.Guests)
	fmt.Fprintf(&b, "data-dir %s\n", dir)
	return b.String()
}

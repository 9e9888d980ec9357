package agent

import (
	"os"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Features probes what the kernel of the host can do, by the files it shows.
func Features(spaces *netns.Set) map[string]bool {
	out := map[string]bool{}
	has := func(feature, path string) {
		_, err := os.Stat(path)
		out[feature] = err == nil
	}
	// The files under /proc/sys/net are those of the asking thread's namespace.
	if err := spaces.Do("", func() error {
		has(vnet.FeatureIPv6, "/proc/sys/net/ipv6/conf/all")
		has(vnet.FeatureForceForwarding, "/proc/sys/net/ipv6/conf/all/force_forwarding")
		has(vnet.FeatureTun, "/dev/net/tun")
		return nil
	}); err != nil {
		return map[string]bool{}
	}
	return out
}

package watch

import (
	"context"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/nft"
	"github.com/sextant-net/sextant/internal/vnet"
)

// needed says what does not work without a feature, in the order in which
// features are shown.
var needed = []struct{ name, what string }{
	{vnet.FeatureIPv6, "IPv6 for guests (the kernel runs with ipv6.disable=1, or has none)"},
	{vnet.FeatureVeth, "ports in namespaces, routers"},
	{vnet.FeatureTun, "taps for virtual machines (modprobe tun)"},
	{vnet.FeatureNAT, "egress modes nat and nat66"},
	{vnet.FeatureNFLOG, "hearing which addresses guests use"},
	{vnet.FeatureBridgeConntrack, "stateful rules between guests of one network without br_netfilter"},
	{vnet.FeatureNeighbourLimits, "more than some hundred guests on this host"},
	{vnet.FeatureForceForwarding, "forwarding IPv6 without changing conf/all/forwarding (Linux 6.17)"},
}

// Probe tries every feature that plans ask for, once: by name whether it is
// there, and the same with what needs it. The error says that the packet
// filter could not be probed; its features are then absent.
func Probe(ctx context.Context) (map[string]bool, []vnet.Feature, error) {
	found, err := nft.Probe(ctx)
	if found == nil {
		found = map[string]bool{}
	}
	found[vnet.FeatureIPv6] = exists("/proc/sys/net/ipv6/conf/all")
	found[vnet.FeatureForceForwarding] = exists("/proc/sys/net/ipv6/conf/all/force_forwarding")
	found[vnet.FeatureNeighbourLimits] = exists("/proc/sys/net/ipv6/neigh/default/gc_thresh3")
	found[vnet.FeatureTun] = opens("/dev/net/tun")
	found[vnet.FeatureVeth] = netns.Scratch(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}, PeerName: "probe1"})
	}) == nil
	var list []vnet.Feature
	for _, n := range needed {
		f := vnet.Feature{Name: n.name, Present: found[n.name]}
		if !f.Present {
			f.Needed = n.what
		}
		list = append(list, f)
	}
	return found, list, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// opens tells a device node with a driver from one without.
func opens(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

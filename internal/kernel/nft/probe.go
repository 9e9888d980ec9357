package nft

import (
	"context"
	"errors"
	"os/exec"
	"strings"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// probes are scripts that load where the kernel and nft have the feature.
var probes = []struct{ feature, script string }{
	{vnet.FeatureBridgeConntrack, `table bridge probe {
	chain c { type filter hook prerouting priority 0; ct state established accept; }
}`},
	{vnet.FeatureNAT, `table inet probe {
	chain c { type nat hook postrouting priority srcnat; meta nfproto ipv4 masquerade; }
}`},
	{vnet.FeatureNFLOG, `table bridge probe {
	chain c { type filter hook prerouting priority 0; log group 5; }
}`},
}

// Probe tries in a namespace of its own, by name, what the packet filter of
// this kernel can do (vnet.Feature*). The error says that nothing could be
// tried.
func Probe(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	err := netns.Scratch(func() error {
		for _, p := range probes {
			ok, err := try(ctx, p.script)
			if err != nil {
				return err
			}
			out[p.feature] = ok
		}
		return nil
	})
	return out, err
}

// try reports whether nft takes the script in the calling thread's namespace.
func try(ctx context.Context, script string) (bool, error) {
	cmd := exec.CommandContext(ctx, program, "-f", "-")
	cmd.Stdin = strings.NewReader(script + "\n")
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && ctx.Err() == nil:
		return false, nil
	case errors.Is(err, exec.ErrNotFound):
		return false, noProgram()
	}
	return false, vnet.Errorf(vnet.ErrHost, "run nft: %w", err)
}

// noProgram says that nft is not installed.
func noProgram() error {
	return vnet.Errorf(vnet.ErrUnsupported, "the command nft is missing").
		WithHint("install nftables (apt install nftables)")
}

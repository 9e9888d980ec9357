package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/lab/topo"
)

// portRate makes ports one after the other through the API, each durable when
// its answer comes, and returns how many per second.
func portRate(ctx context.Context, n *topo.Node, networks, ports int) (float64, error) {
	// The socket is in the node's own /run, and reachable through /proc.
	pid, err := holder(n)
	if err != nil {
		return 0, err
	}
	c, err := client.New("unix:///proc/" + pid + "/root" + "/run/sextant/api.sock")
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	for i := range ports {
		body := map[string]any{"name": fmt.Sprintf("p%d", i), "network": fmt.Sprintf("n%d", i%networks)}
		if err := c.Do(ctx, client.Request{Method: "POST", Path: "/v1/ports", Body: body}, nil); err != nil {
			return 0, err
		}
	}
	return float64(ports) / time.Since(begun).Seconds(), nil
}

// holder finds the process that keeps the node's namespaces.
func holder(n *topo.Node) (string, error) {
	for _, arg := range n.Enter() {
		if path, ok := strings.CutPrefix(arg, "--mount=/proc/"); ok {
			pid, _, _ := strings.Cut(path, "/")
			if _, err := strconv.Atoi(pid); err != nil {
				return "", fmt.Errorf("%s: %w", arg, err)
			}
			return pid, nil
		}
	}
	return "", os.ErrNotExist
}

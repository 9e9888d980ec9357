package daemon

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
)

// readyState is the state of a child that serves.
const readyState = "ready"

// notifier knows how the children are and tells systemd (sd_notify(3)).
type notifier struct {
	log   *slog.Logger
	order []*keeper

	mu      sync.Mutex
	states  map[*keeper]string
	changed chan struct{} // closed and replaced at each change
	told    bool          // READY=1 was sent
	ended   bool
}

func newNotifier(log *slog.Logger, order []*keeper) *notifier {
	n := &notifier{log: log, order: order, states: make(map[*keeper]string), changed: make(chan struct{})}
	for _, k := range order {
		n.states[k] = "starting"
	}
	return n
}

// set records how a child is.
func (n *notifier) set(k *keeper, state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.states[k] == state || n.ended {
		return
	}
	n.states[k] = state
	close(n.changed)
	n.changed = make(chan struct{})
	all := true
	var parts []string
	for _, k := range n.order {
		all = all && n.states[k] == readyState
		parts = append(parts, k.child.Name+" "+n.states[k])
	}
	status := "STATUS=" + strings.ReplaceAll(strings.Join(parts, ", "), "\n", " ")
	if all && !n.told {
		n.told = true
		n.log.Info("ready")
		status = daemon.SdNotifyReady + "\n" + status
	}
	n.send(status)
}

// stopping tells systemd that the end has begun.
func (n *notifier) stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	n.send(daemon.SdNotifyStopping + "\nSTATUS=stopping")
}

func (n *notifier) send(text string) {
	if _, err := daemon.SdNotify(false, text); err != nil {
		n.log.Warn("telling systemd", "err", err)
	}
}

// waitReady waits until the child is ready.
func (n *notifier) waitReady(ctx context.Context, k *keeper) error {
	for {
		n.mu.Lock()
		state, changed := n.states[k], n.changed
		n.mu.Unlock()
		if state == readyState {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package nft_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestScale fills the tables as a good many networks do, and logs what each
// step took.
func TestScale(t *testing.T) {
	n := 500
	if testing.Short() {
		n = 100
	}
	h := newHost(t)
	all := []plan.Item{plan.Chains{Text: text}}
	for i := range n {
		name := fmt.Sprintf("%q", fmt.Sprintf("sxb%d", i))
		all = append(all,
			elem("inet", "links", name, ""),
			elem("inet", "source6", fmt.Sprintf("%s . fd00:0:0:%x::/64", name, i), ""),
			elem("inet", "masquerade4", fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), ""),
			elem("inet", "out6", name, "jump any"),
			elem("bridge", "ports", name, ""))
	}
	step := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%d elements: %s in %v", len(all)-1, what, time.Since(start).Round(time.Millisecond))
	}
	step("made", func() { h.apply(all, nil) })
	step("one more", func() { h.apply([]plan.Item{elem("inet", "links", `"sx-more"`, "")}, nil) })
	h.restart()
	var got map[plan.Key]plan.Item
	step("read", func() { got = h.actual(all) })
	if len(got) != len(all)+1 {
		t.Errorf("%d items, want %d", len(got), len(all)+1)
	}
	step("made again", func() { h.apply(all, nil) })
	step("removed", func() { h.apply(nil, all[1:]) })
	if got := h.actual(all[:1]); len(got) != 2 {
		t.Errorf("%d items left", len(got))
	}
}

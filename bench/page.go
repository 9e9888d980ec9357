package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// median of values, which it sorts.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// spread formats median and extremes.
func spread(v []float64) string {
	m := median(v)
	if len(v) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", m, v[0], v[len(v)-1])
}

// page is docs/benchmarks.md.
func (b *bench) page() string {
	var w strings.Builder
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Fprintf(&w, `# Benchmarks

Written by `+"`make bench`"+` on %s: %d processors, Linux %s, one fdatasync of 4 kB takes %v. Medians of %d interleaved rounds, in brackets the least and the most. Figures depend on the machine; the ratios of one run are what counts.

## Networks: define and start until they serve
Dual-stack NAT networks. The clock runs from the first command until every network's guest has an IPv6 address from a router advertisement and its name server answers over IPv4 and IPv6.

| networks | sextant, s | libvirtd, s | ratio | sextant, CPU s | libvirtd, CPU s |
|---|---|---|---|---|---|
`, time.Now().Format("January 2006"), runtime.NumCPU(), strings.TrimSpace(string(kernel)), b.fsync.Round(time.Microsecond), b.rounds)
	for _, n := range b.sizes {
		wall := func(s string) []float64 {
			return b.collect(s, n, func(m sample) float64 { return m.wall.Seconds() })
		}
		cpu := func(s string) []float64 {
			return b.collect(s, n, func(m sample) float64 { return m.cpu.Seconds() })
		}
		ours, theirs := wall("sextant"), wall("libvirtd")
		fmt.Fprintf(&w, "| %d | %s | %s | %.1f | %s | %s |\n", n, spread(ours), spread(theirs),
			median(theirs)/median(ours), spread(cpu("sextant")), spread(cpu("libvirtd")))
	}
	if len(b.figures) > 0 {
		w.WriteString("\n## Alone\n\n| what | unit | median (least–most) |\n|---|---|---|\n")
		var names []string
		values := make(map[string][]float64)
		units := make(map[string]string)
		for _, f := range b.figures {
			if _, ok := values[f.name]; !ok {
				names = append(names, f.name)
			}
			values[f.name] = append(values[f.name], f.value)
			units[f.name] = f.unit
		}
		for _, name := range names {
			fmt.Fprintf(&w, "| %s | %s | %s |\n", name, units[name], spread(values[name]))
		}
	}
	return w.String()
}

func (b *bench) collect(subject string, count int, value func(sample) float64) []float64 {
	var v []float64
	for _, m := range b.networks {
		if m.subject == subject && m.count == count {
			v = append(v, value(m))
		}
	}
	return v
}

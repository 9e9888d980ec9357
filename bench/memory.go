package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// memory is what processes of one name hold, in bytes.
type memory struct {
	process   string
	processes int
	anonymous int64 // private: heap, stacks
	mapped    int64 // resident pages of files: the program itself, databases
	share     int64 // proportional share of everything (PSS)
}

// memory reads smaps_rollup of every process in the group, summed up by name.
func (g *cgroup) memory() ([]memory, error) {
	pids, err := g.pids()
	if err != nil {
		return nil, err
	}
	var all []memory
next:
	for _, pid := range pids {
		m, err := processMemory(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].process == m.process {
				all[i] = together(all[i], m)
				continue next
			}
		}
		all = append(all, m)
	}
	return all, nil
}

func processMemory(pid int) (memory, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return memory{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	if err != nil {
		return memory{}, err
	}
	m := memory{process: processName(cmdline), processes: 1}
	var rss int64
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		kB, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "Rss:":
			rss = kB << 10
		case "Pss:":
			m.share = kB << 10
		case "Anonymous:":
			m.anonymous = kB << 10
		}
	}
	m.mapped = rss - m.anonymous
	return m, nil
}

// processName is the program and its role.
func processName(cmdline []byte) string {
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	name := filepath.Base(args[0])
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && !strings.Contains(args[1], "/") {
		name += " " + args[1]
	}
	return name
}

// together adds up two.
func together(a, b memory) memory {
	a.processes += b.processes
	a.anonymous += b.anonymous
	a.mapped += b.mapped
	a.share += b.share
	return a
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// memoryHead heads a table of memoryRows.
func memoryHead() []string {
	return []string{"", "process", "how many", "anonymous, MB", "mapped, MB", "proportional share (PSS), MB"}
}

// memoryRows are the rows of a table of processes' memory; rounds hold each
// round's processes.
func memoryRows(candidate string, rounds [][]memory) [][]string {
	type sums struct {
		count                    int
		anonymous, mapped, share figures
	}
	byName := map[string]*sums{}
	var names []string
	note := func(name string, m memory) {
		s := byName[name]
		if s == nil {
			s = &sums{}
			byName[name] = s
			names = append(names, name)
		}
		s.count = m.processes
		s.anonymous.add(megabytes(m.anonymous))
		s.mapped.add(megabytes(m.mapped))
		s.share.add(megabytes(m.share))
	}
	for _, r := range rounds {
		var all memory
		for _, m := range r {
			note(m.process, m)
			all = together(all, m)
		}
		note("together", all)
	}
	var rows [][]string
	for _, name := range names {
		s := byName[name]
		rows = append(rows, []string{candidate, name, fmt.Sprint(s.count),
			s.anonymous.String(), s.mapped.String(), s.share.String()})
	}
	return rows
}

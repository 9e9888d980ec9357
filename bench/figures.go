package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// figures are the values of one thing in all rounds.
type figures []float64

// add notes one more.
func (f *figures) add(v float64) { *f = append(*f, v) }

func (f *figures) addTime(d time.Duration) { f.add(d.Seconds()) }

// median of the values; 0 if there are none.
func (f figures) median() float64 {
	if len(f) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(f))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// most is the largest of the values; 0 if there are none.
func (f figures) most() float64 {
	if len(f) == 0 {
		return 0
	}
	return slices.Max(f)
}

// String is "median (least – most)".
func (f figures) String() string {
	switch len(f) {
	case 0:
		return "–"
	case 1:
		return number(f[0])
	}
	return fmt.Sprintf("%s (%s – %s)", number(f.median()), number(slices.Min(f)), number(slices.Max(f)))
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// ratios are the quotients round by round: what hurts one side of a round
// hurts the other.
func ratios(of, by figures) figures {
	var r figures
	for i := range min(len(of), len(by)) {
		if by[i] > 0 {
			r.add(of[i] / by[i])
		}
	}
	return r
}

// verdict says whether a target is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

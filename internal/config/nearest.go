package config

import (
	"reflect"
	"strings"
)

// keys lists every key of the file.
func keys() []string { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, prefix string) []string {
	var all []string
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("toml")
		all = append(all, key)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, keysOf(f.Type, key+".")...)
		}
	}
	return all
}

// nearest returns the candidate that a typing mistake most likely meant, or
// "". Someone who writes a key with underscores or in the wrong table means
// that key, too.
func nearest(key string, candidates []string) string {
	best, least := "", 1+len(key)/3
	plain := func(s string) string {
		s = s[strings.LastIndexByte(s, '.')+1:]
		return strings.ToLower(strings.ReplaceAll(s, "_", "-"))
	}
	for _, c := range candidates {
		if d := distance(plain(key), plain(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove or change to make a
// into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

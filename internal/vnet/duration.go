package vnet

import (
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as people write it: "90s",
// "12h", "2h30m", "7d", "1d12h", or a bare number of seconds.
type Duration time.Duration

// Std returns the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns the shortest form that parses back, for example "12h".
func (d Duration) String() string {
	s := time.Duration(d).String()
	for _, tail := range []string{"m0s", "h0m"} {
		if len(s) > len(tail) && s[len(s)-len(tail):] == tail {
			s = s[:len(s)-2]
		}
	}
	return s
}

// MarshalText returns String's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses String's form, whole seconds, and days in front.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ParseDuration reads what a Duration may be written as.
func ParseDuration(s string) (Duration, error) {
	bad := Invalid("", "%s is no length of time", quote(s)).WithHint("write it as 90s, 12h or 2h30m")
	var days time.Duration
	rest := s
	if n, after, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, bad
		}
		days, rest = time.Duration(v)*24*time.Hour, after
		if rest == "" {
			return Duration(days), nil
		}
	}
	if n := len(rest); n > 0 && rest[n-1] >= '0' && rest[n-1] <= '9' {
		rest += "s"
	}
	v, err := time.ParseDuration(rest)
	if err != nil || v < 0 || days+v < 0 {
		return 0, bad
	}
	return Duration(days + v), nil
}

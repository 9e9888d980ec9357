package vnet

import "time"

// Duration is a time.Duration that is written as people write it: "90s",
// "12h", "2h30m", or a bare number of seconds.
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

// UnmarshalText parses String's form or whole seconds.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if n := len(s); n > 0 && s[n-1] >= '0' && s[n-1] <= '9' {
		s += "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return Invalid("duration", "%q is no length of time", b).WithHint("write it as 90s, 12h or 2h30m")
	}
	*d = Duration(v)
	return nil
}

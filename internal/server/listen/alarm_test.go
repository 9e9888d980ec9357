package listen

import (
	"testing"
	"time"
)

// TestAlarm: it rings at the moment that was set last.
func TestAlarm(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	ring := func(what string) {
		t.Helper()
		select {
		case <-a.C():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it does not ring", what)
		}
	}
	for _, times := range [][]time.Duration{{time.Millisecond}, {time.Hour, time.Millisecond}, {0}, {-time.Second}} {
		for _, d := range times {
			if err := a.Set(d); err != nil {
				t.Fatal(err)
			}
		}
		ring(times[len(times)-1].String())
	}
	if err := a.Set(time.Hour); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.C():
		t.Error("it rings an hour early")
	case <-time.After(50 * time.Millisecond):
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a.Set(0) == nil {
		t.Error("it can be set after its end")
	}
}

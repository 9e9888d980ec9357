package translate

import "time"

// The translator that ends by itself is started again after a second, then
// after twice as long each time, at most a minute; one that ran for a minute
// begins anew.
const (
	backoffFirst = time.Second
	backoffMost  = time.Minute
	backoffWell  = time.Minute
)

// backoff says how long to wait.
type backoff struct{ next time.Duration }

// after returns how long to wait after one that ran for d.
func (b *backoff) after(d time.Duration) time.Duration {
	if d >= backoffWell || b.next == 0 {
		b.next = backoffFirst
	}
	wait := b.next
	b.next = min(2*b.next, backoffMost)
	return wait
}

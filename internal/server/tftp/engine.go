package tftp

import "time"

const (
	// firstWait is how long an answer is waited for, unless the client says
	// (option timeout); it doubles with each repetition up to mostWait.
	firstWait = time.Second
	mostWait  = 8 * time.Second
	// mostTries is how often a window is repeated before the client is taken
	// for gone.
	mostTries = 5
	// holdoff is for how many windows doubled ACKs are not believed after
	// something was sent twice.
	holdoff = 2
)

// transfer is a file on its way to one client. Blocks are counted from 1
// without end; the 16 bits on the wire begin again at 0.
type transfer struct {
	terms
	optionsOpen bool   // the OACK waits for ACK 0
	acked, sent uint64 // the last blocks that were acknowledged and sent
	last        uint64 // the file's last block; 0: not known yet
	tries       int    // repetitions since the last progress
	wary        int    // see holdoff
	due         time.Duration
}

// do says what is to be done after an event.
type do int

const (
	doNothing do = iota
	doOptions    // send the OACK
	doBlocks     // send blocks from first to last
	doFinish     // the client has everything
	doGiveUp     // the client is gone
)

type action struct {
	do          do
	first, last uint64
}

// start begins; now is any clock that does not jump.
func (t *transfer) start(now time.Duration) action {
	if len(t.accepted) > 0 {
		t.optionsOpen = true
		t.due = now + t.wait
		return action{do: doOptions}
	}
	return t.next(now)
}

// next sends the window after the last acknowledged block.
func (t *transfer) next(now time.Duration) action {
	t.sent = t.acked + t.window
	if t.last != 0 {
		t.sent = min(t.sent, t.last)
	}
	t.due = now + t.wait
	return action{doBlocks, t.acked + 1, t.sent}
}

// ended notes that block n was the file's last one; nothing after it was sent.
func (t *transfer) ended(n uint64) { t.last, t.sent = n, n }

// heard takes an ACK.
//
// An ACK of less than was sent asks for the rest again (RFC 7440 section 4). An
// ACK that says nothing new never makes a single block go out again, or each
// doubled packet would double all that follow ("Sorcerer's Apprentice", RFC
// 1123 section 4.2.3.1). With windows it may mean that the first block was
// lost, which is believed unless it can be the echo of something that we sent
// twice.
func (t *transfer) heard(n uint16, now time.Duration) action {
	if t.optionsOpen {
		if n != 0 {
			return action{}
		}
		t.optionsOpen, t.tries = false, 0
		return t.next(now)
	}
	news := uint64(n - uint16(t.acked)) // what is older is far ahead in 16 bits
	switch {
	case news > t.sent-t.acked:
		return action{}
	case news == 0:
		if t.window == 1 || t.wary > 0 {
			return action{}
		}
		t.wary = holdoff
		return t.next(now)
	}
	t.acked += news
	t.tries = 0
	switch {
	case t.last != 0 && t.acked == t.last:
		return action{do: doFinish}
	case t.acked < t.sent:
		t.wary = holdoff
	case t.wary > 0:
		t.wary--
	}
	return t.next(now)
}

// tick is called when t.due has come.
func (t *transfer) tick(now time.Duration) action {
	if now < t.due {
		return action{}
	}
	if t.tries++; t.tries > mostTries {
		return action{do: doGiveUp}
	}
	wait := min(t.wait<<t.tries, max(mostWait, t.wait))
	t.wary = holdoff
	a := action{do: doOptions}
	if !t.optionsOpen {
		a = t.next(now)
	}
	t.due = now + wait
	return a
}

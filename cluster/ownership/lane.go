package ownership

// Lane keeps the writes of one range in order. Each write has a ticket: 1 for the first after an Open, then rising by
// one. The writes that are sent together, in one message, are a group: neighbouring writes of the queue under one fence.
// They are kept together or not at all. One group is on its way at a time, and only when it has an outcome is the next
// one sent. A group that was not accepted is written again, before all writes behind it, so that the journal never ends
// with an older record over a newer one (rule 9).
//
// One goroutine at a time may use a Lane. Its methods do not block.
type Lane[W any] struct {
	pending []W    // those on their way first
	first   uint64 // the ticket of pending[0]
	sent    int    // how many writes the group on its way has
	sending bool   // a group is on its way
	open    bool   // the range is ours, and its writes may be sent
	spent   bool   // our next claim is on its way: writes are taken and not sent
	fence   uint64 // the sequence of the claim
	under   uint64 // the fence of the group on its way
	group   uint64 // the number of the group, so that a late answer is not taken for one to another group
	doubt   int    // so many of pending may be in the journal although no answer said that they are
}

// Verdict says what the caller must do next. Answer returns it.
type Verdict uint8

// The verdicts.
const (
	SendNext   Verdict = iota // send what is ready
	SendLater                 // the journal was busy: send again after a moment
	SpendClaim                // an outcome is unknown: call Machine.Spent (rule 5)
	LoseRange                 // the claim is another's: call Machine.Lost (rule 4)
)

// Add queues a write. It returns false, and does not take the write, when the range is not ours.
func (l *Lane[W]) Add(w W) bool {
	if !l.open && !l.spent {
		return false
	}
	l.pending = append(l.pending, w)
	return true
}

// Idle says whether no write is pending.
func (l *Lane[W]) Idle() bool { return len(l.pending) == 0 }

// Ready returns the writes that may be sent as the next group: Send sends some of them, from the first on. It returns nil
// while a group is on its way, and while the range is paused or not ours.
func (l *Lane[W]) Ready() []W {
	if !l.open || l.sending {
		return nil
	}
	return l.pending
}

// Send makes the first n of Ready the next group. The caller writes them under the fence, in this order, in one message,
// and reports its outcome with Answer. n may be 0: the message then only carries older records on.
func (l *Lane[W]) Send(n int) (group, fence uint64, writes []W) {
	l.sent, l.sending, l.under = n, true, l.fence
	l.group++
	return l.group, l.fence, l.pending[:n]
}

// Answer reports the outcome of a group. kept is the highest ticket that is durable by now (0: no more than before), and
// the verdict says how to go on with the rest. ok is false for an answer to an earlier group, which is ignored.
func (l *Lane[W]) Answer(group uint64, o Outcome) (kept uint64, v Verdict, ok bool) {
	if l.group != group || !l.sending {
		return 0, SendNext, false
	}
	n := l.sent
	l.sent, l.sending = 0, false
	switch o {
	case Accepted:
		clear(l.pending[:n])
		if l.pending = l.pending[n:]; len(l.pending) == 0 {
			l.pending = nil
		}
		l.first += uint64(n)
		l.doubt = max(0, l.doubt-n)
		return l.first - 1, SendNext, true
	case Unknown:
		l.doubt = max(l.doubt, n)
	}
	// A newer claim of our own is on its way or stands: it explains a refusal, and everything is written again under it.
	superseded := l.spent || l.under != l.fence
	switch {
	case o == Busy:
		return 0, SendLater, true
	case superseded:
		return 0, SendNext, true
	case o == Unknown:
		return 0, SpendClaim, true
	}
	return 0, LoseRange, true
}

// Pause is for the Action Pause: the Lane takes writes, and sends none before Resume.
func (l *Lane[W]) Pause() { l.open, l.spent = false, true }

// Resume is for the Action Resume: the Lane sends what is pending under the new fence.
func (l *Lane[W]) Resume(fence uint64) { l.open, l.spent, l.fence = true, false, fence }

// Open is for the Action Open: the Lane begins anew, empty, with the ticket 1.
func (l *Lane[W]) Open(fence uint64) {
	*l = Lane[W]{group: l.group + 1, first: 1, open: true, fence: fence}
}

// Close is for the Action Drop: the Lane forgets everything and takes no more writes. It returns those of which it is not
// known whether they are in the journal; all that are behind them are surely not.
func (l *Lane[W]) Close() (doubtful []W) {
	doubtful = l.pending[:max(l.doubt, l.sent)]
	*l = Lane[W]{group: l.group + 1, first: l.first}
	return doubtful
}

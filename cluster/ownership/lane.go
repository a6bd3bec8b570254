package ownership

// Lane is the writes of one shard, each with a ticket that rises from 1 with every Open. A group of them is on its
// way at a time, all under one fence; whatever of a group was not kept is written again in order with all behind it,
// so that the journal never ends with an older record over a newer one. A ticket counts as kept only when all before
// it are.
type Lane[W any] struct {
	pending []W // the first `sent` of them are on their way
	first   uint64
	sent    int
	missing int // answers of the group
	results []Outcome
	open    bool   // ours and writable: false while a claim's outcome is unknown
	spent   bool   // a new claim of ours is on its way
	fence   uint64 // sequence of the claim
	under   uint64 // the fence of the group on its way
	group   uint64 // counts groups, so that a late answer can't be taken for another group's
	doubt   uint64 // the highest ticket that may be in the journal without being kept
}

// Verdict is what is to be done when a group has been answered.
type Verdict uint8

// The verdicts.
const (
	Go    Verdict = iota // send the next group
	Later                // send again after a moment
	Spend                // an outcome is unknown: Machine.Spent
	Lose                 // the fence is another's: Machine.Lost
)

// Add queues a write. It says false when the shard is not ours.
func (l *Lane[W]) Add(w W) bool {
	if !l.open && !l.spent {
		return false
	}
	l.pending = append(l.pending, w)
	return true
}

// Idle says that nothing is pending.
func (l *Lane[W]) Idle() bool { return len(l.pending) == 0 }

// Ready says that a group may be sent, and of what: Send takes a part of it.
func (l *Lane[W]) Ready() []W {
	if !l.open || l.missing > 0 {
		return nil
	}
	return l.pending
}

// Send puts the first n of Ready on their way: each is to be written under the fence, in this order, and answered for
// by Answer.
func (l *Lane[W]) Send(n int) (group, fence uint64, writes []W) {
	l.sent, l.missing, l.results, l.under = n, n, make([]Outcome, n), l.fence
	l.group++
	return l.group, l.fence, l.pending[:n]
}

// Answer reports the outcome of the i-th write of a group. When the group is complete, done says so: the writes up
// to the ticket kept are in the journal (0: none more), and the verdict is on the rest.
func (l *Lane[W]) Answer(group uint64, i int, o Outcome) (done bool, kept uint64, v Verdict) {
	if l.group != group || l.missing == 0 {
		return false, 0, Go
	}
	l.results[i] = o
	if l.missing--; l.missing > 0 {
		return false, 0, Go
	}
	return true, l.settle(), l.verdict()
}

// settle takes what was kept off the queue.
func (l *Lane[W]) settle() (kept uint64) {
	n := 0
	for n < len(l.results) && l.results[n] == Accepted {
		n++
	}
	l.doubted(n)
	clear(l.pending[:n])
	if l.pending = l.pending[n:]; len(l.pending) == 0 {
		l.pending = nil
	}
	l.first += uint64(n)
	l.sent = 0
	if n == 0 {
		return 0
	}
	return l.first - 1
}

// doubted notes which writes of the group from the n-th on may be in the journal.
func (l *Lane[W]) doubted(n int) {
	for i := n; i < len(l.results); i++ {
		if l.results[i] == Accepted || l.results[i] == Unknown {
			l.doubt = max(l.doubt, l.first+uint64(i))
		}
	}
}

func (l *Lane[W]) verdict() Verdict {
	worst := Accepted
	for _, o := range l.results {
		worst = max(worst, o)
	}
	l.results = nil
	superseded := l.spent || l.under != l.fence // our own newer claim refused it, or will be followed by all of it
	switch {
	case worst == Accepted, superseded && worst != Busy:
		return Go
	case worst == Busy:
		return Later
	case worst == Unknown:
		return Spend
	}
	return Lose
}

// Pause is for Action Pause: writes wait for the new claim.
func (l *Lane[W]) Pause() { l.open, l.spent = false, true }

// Resume is for Action Resume: pending writes go on under the new fence.
func (l *Lane[W]) Resume(fence uint64) { l.open, l.spent, l.fence = true, false, fence }

// Open is for Action Open: the lane begins anew, empty.
func (l *Lane[W]) Open(fence uint64) {
	*l = Lane[W]{group: l.group + 1, first: 1, open: true, fence: fence}
}

// Close is for Action Drop. Writes above the ticket doubt have surely not been kept; of the others it is not known.
func (l *Lane[W]) Close() (doubt uint64) {
	if l.missing > 0 {
		l.doubted(0) // what has no answer counts as accepted
	}
	doubt = max(l.doubt, l.first-1)
	*l = Lane[W]{group: l.group + 1, first: l.first}
	return doubt
}

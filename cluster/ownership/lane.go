package ownership

// Lane keeps the writes of one shard in order. Each write has a ticket: 1 for the first after an Open, then rising by
// one. The writes that are sent together are a group: neighbouring writes of the queue, all under one fence. A group is on
// its way until each of its writes has an outcome, and only then is the next one sent. Writes of a group that were not
// accepted are written again, in order, together with all writes behind them, so that the journal never ends with an older
// record over a newer one (rule 9). A ticket counts as kept only when all tickets before it are.
//
// One goroutine at a time may use a Lane. Its methods do not block.
type Lane[W any] struct {
	pending []W       // those on their way first
	first   uint64    // the ticket of pending[0]
	missing int       // how many writes of the group on its way have no outcome yet
	results []Outcome // of the group
	open    bool      // the shard is ours, and its writes may be sent
	spent   bool      // our next claim is on its way: writes are taken and not sent
	fence   uint64    // the sequence of the claim
	under   uint64    // the fence of the group on its way
	group   uint64    // the number of the group, so that a late answer is not taken for one to another group
	doubt   uint64    // the highest ticket that may be in the journal without counting as kept
}

// Verdict says what the caller must do next. Answer returns it with the last outcome of a group.
type Verdict uint8

// The verdicts.
const (
	SendNext   Verdict = iota // send what is ready
	SendLater                 // the journal was busy: send again after a moment
	SpendClaim                // an outcome is unknown: call Machine.Spent (rule 5)
	LoseShard                 // the claim is another's: call Machine.Lost (rule 4)
)

// Add queues a write. It returns false, and does not take the write, when the shard is not ours.
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
// while a group is on its way, and while the shard is paused or not ours.
func (l *Lane[W]) Ready() []W {
	if !l.open || l.missing > 0 {
		return nil
	}
	return l.pending
}

// Send makes the first n of Ready the next group. The caller writes each of them under the fence, in this order, and
// reports each outcome with Answer.
func (l *Lane[W]) Send(n int) (group, fence uint64, writes []W) {
	l.missing, l.results, l.under = n, make([]Outcome, n), l.fence
	l.group++
	return l.group, l.fence, l.pending[:n]
}

// Answer reports the outcome of the i-th write of a group. done says that the whole group has been answered. Then kept is
// the highest ticket that is durable by now with all before it (0: no more than before), and the verdict says how to go
// on with the rest. Answers to an earlier group are ignored.
func (l *Lane[W]) Answer(group uint64, i int, o Outcome) (done bool, kept uint64, v Verdict) {
	if l.group != group || l.missing == 0 {
		return false, 0, SendNext
	}
	l.results[i] = o
	if l.missing--; l.missing > 0 {
		return false, 0, SendNext
	}
	return true, l.settle(), l.verdict()
}

// settle takes the writes off the queue that are kept, and returns the highest of their tickets; 0: there is none.
func (l *Lane[W]) settle() (kept uint64) {
	n := 0
	for n < len(l.results) && l.results[n] == Accepted {
		n++
	}
	l.noteDoubt(n)
	clear(l.pending[:n])
	if l.pending = l.pending[n:]; len(l.pending) == 0 {
		l.pending = nil
	}
	l.first += uint64(n)
	if n == 0 {
		return 0
	}
	return l.first - 1
}

// noteDoubt raises doubt to the last write of the group, from the n-th on, that may be in the journal.
func (l *Lane[W]) noteDoubt(n int) {
	for i := n; i < len(l.results); i++ {
		if l.results[i] == Accepted || l.results[i] == Unknown {
			l.doubt = max(l.doubt, l.first+uint64(i))
		}
	}
}

// verdict judges the group by the worst of its outcomes.
func (l *Lane[W]) verdict() Verdict {
	worst := Accepted
	for _, o := range l.results {
		worst = max(worst, o)
	}
	l.results = nil
	// A newer claim of our own is on its way or stands: it explains a refusal, and everything is written again under it.
	superseded := l.spent || l.under != l.fence
	switch {
	case worst == Accepted, superseded && worst != Busy:
		return SendNext
	case worst == Busy:
		return SendLater
	case worst == Unknown:
		return SpendClaim
	}
	return LoseShard
}

// Pause is for the Action Pause: the Lane takes writes, and sends none before Resume.
func (l *Lane[W]) Pause() { l.open, l.spent = false, true }

// Resume is for the Action Resume: the Lane sends what is pending under the new fence.
func (l *Lane[W]) Resume(fence uint64) { l.open, l.spent, l.fence = true, false, fence }

// Open is for the Action Open: the Lane begins anew, empty, with the ticket 1.
func (l *Lane[W]) Open(fence uint64) {
	*l = Lane[W]{group: l.group + 1, first: 1, open: true, fence: fence}
}

// Close is for the Action Drop: the Lane forgets everything and takes no more writes. Writes with a ticket above doubt are
// surely not in the journal. Of the others it is not known, unless Answer said that they are kept.
func (l *Lane[W]) Close() (doubt uint64) {
	if l.missing > 0 {
		l.noteDoubt(0) // a write without an answer has the Outcome 0 here, which is Accepted: it counts as doubtful
	}
	doubt = max(l.doubt, l.first-1)
	*l = Lane[W]{group: l.group + 1, first: l.first}
	return doubt
}

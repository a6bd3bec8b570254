package journal

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// Bounds of the committer.
const (
	maxInFlight  = 4000 // records written and not answered, over all shards
	maxGroup     = 128  // writes of one shard that are on their way at a time
	maxPending   = 8192 // writes of one shard that wait; past it the shard's mailbox fills up and refuses
	writeTimeout = 2 * time.Second
	busyRetry    = 50 * time.Millisecond
	maxBatches   = 32 // atomic batches in flight; NATS refuses more than 50 a stream
)

// write is one effect's records. They are answered for together; whole ones become durable all or none.
type write struct {
	ticket  uint64
	whole   bool
	records []row
}

type row struct {
	name string // below the shard's subject
	data []byte
	ttl  string // "": none
}

// lane is the writes of one shard. A group of them is on its way at a time, each under the shard's fence; whatever
// of a group was not kept is written again in order with all behind it, so that the journal never ends with an
// older record over a newer one. A ticket counts as durable only when all before it are.
type lane struct {
	shard    int
	pending  []write // the first `sent` of them are on their way
	sent     int
	answers  int // of the group, still missing
	results  []error
	open     bool // ours and writable: false while a claim's outcome is unknown
	spent    bool
	sequence string // the fence
	under    string // the fence of the group on its way
	group    uint64 // counts groups, so that a late answer can't be taken for another group's
	subject  string // of the claim
	numbers
}

// numbers gives out the Sequences of a shard (JOURNAL.md rule 8).
type numbers struct {
	base, highest uint32
	notify        bool
	asked         bool
}

func (j *Journal) queue(l *lane, w write) {
	l.pending = append(l.pending, w)
	j.send(l)
}

// send starts a group if the lane has none on its way. The journal's lock is held.
func (j *Journal) send(l *lane) {
	if !l.open || l.answers > 0 || len(l.pending) == 0 {
		return
	}
	if j.inFlight >= maxInFlight {
		j.starved = append(j.starved, l)
		return
	}
	n := min(len(l.pending), maxGroup)
	batches := 0
	for i := range n {
		if l.pending[i].whole {
			batches++
		}
	}
	if batches > 0 && j.openBatches > 0 && j.openBatches+batches > maxBatches {
		j.starved = append(j.starved, l)
		return
	}
	l.sent, l.answers, l.results, l.under = n, n, make([]error, n), l.sequence
	l.group++
	for i := range n {
		w := &l.pending[i]
		j.inFlight += len(w.records)
		done := j.answerTo(l, i, len(w.records), w.whole)
		if w.whole {
			j.openBatches++
			j.batch(l, w, done)
			continue
		}
		one := done
		if len(w.records) > 1 {
			one = all(len(w.records), done)
		}
		for k := range w.records {
			j.store.publish(j.message(l, &w.records[k]), writeTimeout, one)
		}
	}
}

// all calls done when n answers have come, with the worst of them.
func all(n int, done func(uint64, error)) func(uint64, error) {
	var mu sync.Mutex
	var first error
	return func(sequence uint64, err error) {
		mu.Lock()
		if err != nil && (first == nil || errors.Is(err, errUnknown) || errors.Is(err, errFenced) && !errors.Is(first, errUnknown)) {
			first = err
		}
		n--
		last, worst := n == 0, first
		mu.Unlock()
		if last {
			done(sequence, worst)
		}
	}
}

func (j *Journal) message(l *lane, r *row) *nats.Msg {
	h := nats.Header{
		"Nats-Expected-Last-Subject-Sequence":         []string{l.sequence},
		"Nats-Expected-Last-Subject-Sequence-Subject": []string{l.subject},
	}
	if r.ttl != "" {
		h["Nats-TTL"] = []string{r.ttl}
	}
	return &nats.Msg{Subject: j.store.subject + strconv.Itoa(l.shard) + "." + r.name, Data: r.data, Header: h}
}

// batch writes several records at once or not at all. A file-backed stream makes a store of its own for each batch
// (3 ms), so all that need not be whole goes without one.
func (j *Journal) batch(l *lane, w *write, done func(uint64, error)) {
	j.batches++
	id := j.incarnation + strconv.FormatUint(j.batches, 36)
	for i := range w.records {
		m := j.message(l, &w.records[i])
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i > 0 {
			delete(m.Header, "Nats-Expected-Last-Subject-Sequence")
			delete(m.Header, "Nats-Expected-Last-Subject-Sequence-Subject")
		}
		if i < len(w.records)-1 {
			_ = j.store.nc.PublishMsg(m) // a lost part makes the commit fail
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		j.store.publish(m, writeTimeout, done)
	}
}

func (j *Journal) answerTo(l *lane, i, records int, whole bool) func(uint64, error) {
	group := l.group
	return func(_ uint64, err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.inFlight -= records
		if whole {
			j.openBatches--
		}
		if l.group == group {
			l.results[i] = err
			if l.answers--; l.answers == 0 {
				j.settle(l)
			}
		}
		for n := len(j.starved); n > 0 && j.inFlight < maxInFlight; n-- {
			next := j.starved[0]
			j.starved = j.starved[1:]
			j.send(next)
		}
	}
}

// settle is called when a whole group has been answered. The journal's lock is held.
func (j *Journal) settle(l *lane) {
	kept, worst := 0, error(nil)
	for i, err := range l.results {
		if err == nil && worst == nil {
			kept = i + 1
			continue
		}
		switch {
		case err == nil:
		case worst == nil, errors.Is(err, errUnknown), errors.Is(err, errFenced) && !errors.Is(worst, errUnknown):
			worst = err
		}
	}
	l.sent, l.results = 0, nil
	if kept > 0 {
		ticket := l.pending[kept-1].ticket
		clear(l.pending[:kept])
		l.pending = l.pending[kept:]
		if len(l.pending) == 0 {
			l.pending = nil
		}
		j.shards.Durable(l.shard, ticket)
	}
	superseded := l.spent || l.under != l.sequence // our own newer claim refused it, or will be followed by all of it
	switch {
	case worst == nil:
		j.send(l)
	case errors.Is(worst, errUnknown):
		j.metrics.unknown.Inc()
		if superseded {
			j.send(l)
		} else {
			j.spend(l)
		}
	case errors.Is(worst, errFenced):
		j.metrics.fenced.Inc()
		if superseded {
			j.send(l)
			return
		}
		l.close()
		j.act(j.machine.Lost(j.now(), l.shard))
	default:
		j.metrics.busy.Inc()
		j.log.Debug("the journal refuses writes for now; they are tried again", "err", worst)
		time.AfterFunc(busyRetry, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.send(l)
		})
	}
}

// spend gives the claim up for a new one of ours (rule 5), or because the counters are used up (rule 8).
func (j *Journal) spend(l *lane) {
	l.open, l.spent, l.notify = false, true, false
	j.act(j.machine.Spent(j.now(), l.shard))
}

func (l *lane) close() {
	l.open, l.spent, l.notify = false, false, false
	l.pending, l.sent, l.answers, l.results = nil, 0, 0, nil
	l.group++
}

func (l *lane) reopen(c ownership.Claim, fence uint64) {
	l.open, l.spent, l.notify, l.asked = true, false, true, false
	l.sequence = strconv.FormatUint(fence, 10)
	l.base, l.highest = c.Base, 0
}

// Write implements actors.Journal.
func (j *Journal) Write(shard int, ticket uint64, to actors.Address, records []presence.Record, whole bool) {
	w := write{ticket: ticket, whole: whole && len(records) > 1, records: make([]row, len(records))}
	for i, r := range records {
		w.records[i] = row{name: recordName(r.Kind, to, r.Key), data: r.Data}
		if r.TTL > 0 {
			w.records[i].ttl = strconv.FormatInt(int64((r.TTL+time.Second-1)/time.Second), 10)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	l := &j.lanes[shard]
	if !l.open && !l.spent {
		return // the shard hears of its drop by itself
	}
	j.queue(l, w)
}

// Number implements actors.Journal.
func (j *Journal) Number(shard int, counter uint32) (sequence, next uint32, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := &j.lanes[shard]
	if !l.notify {
		return 0, counter, false
	}
	if counter >= ownership.Counters {
		if !l.asked {
			l.asked = true
			j.spend(l)
		}
		return 0, counter, false
	}
	next = counter + 1
	l.highest = max(l.highest, next)
	return l.base + next, next, true
}

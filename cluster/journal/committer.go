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

// Bounds of the committer, per stream.
const (
	maxInFlight   = 4000            // records written and not answered
	maxGroup      = 128             // writes of one shard that are on their way at a time
	writeTimeout  = 2 * time.Second // of a claim, and the longest of a record
	leastPatience = 250 * time.Millisecond
	busyRetry     = 50 * time.Millisecond
	maxBatches    = 32   // atomic batches in flight; NATS refuses more than 50 a stream
	maxBatch      = 1000 // records of one; NATS refuses more
)

// write is one effect's records. They are answered for together; whole ones become durable all or none.
type write struct {
	whole   bool
	records []row
}

type row struct {
	name string // below the shard's subject
	data []byte
	ttl  string // "": none
}

// lane is the writes of one shard on their way to its stream.
type lane struct {
	ownership.Lane[write]
	shard   int
	life    uint64 // generation of the claim that the shard was opened under; 0: it is not open here
	claim   string // its claim's subject
	starved bool   // it waits for room
}

// send starts a group if the lane may and there is room. The stream's lock is held.
func (s *stream) send(l *lane) {
	ready := l.Ready()
	if len(ready) == 0 || l.starved {
		return
	}
	n, batches, most := min(len(ready), maxGroup), 0, maxBatches
	if s.store.replicas > 1 {
		n, most = together(ready[:n]), maxBatches/2 // other nodes write here too
		if n > 1 || len(ready[0].records) > 1 {
			batches = 1
		}
	} else {
		for i := range n {
			if ready[i].whole {
				batches++
			}
		}
	}
	if s.inFlight >= maxInFlight || batches > 0 && s.batches > 0 && s.batches+batches > most {
		l.starved = true
		s.starved = append(s.starved, l)
		return
	}
	group, fence, writes := l.Send(n)
	if batches > 0 && s.store.replicas > 1 {
		s.sendTogether(l, group, fence, writes)
		return
	}
	for i := range writes {
		w := &writes[i]
		s.inFlight += len(w.records)
		done := s.answerTo(l, group, i, i+1, len(w.records), w.whole, time.Now())
		if w.whole {
			s.batches++
			s.batch(l, fence, w, done)
			continue
		}
		one := done
		if len(w.records) > 1 {
			one = all(len(w.records), done)
		}
		for k := range w.records {
			s.store.publish(s.message(l, fence, &w.records[k]), s.patience(), one)
		}
	}
}

// together is how many of the writes fit into one batch; the first always does, in several if need be.
func together(writes []write) (n int) {
	for records := 0; n < len(writes); n++ {
		if records += len(writes[n].records); n > 0 && records > maxBatch {
			break
		}
	}
	return n
}

// sendTogether sends a group as one batch. A stream with replicas lets one write under a fence be on its way and
// refuses all others meanwhile (10164): one by one a shard would take 20 a second, and a busy one would never catch up.
func (s *stream) sendTogether(l *lane, group, fence uint64, writes []write) {
	var records []row
	for i := range writes {
		records = append(records, writes[i].records...)
	}
	s.inFlight += len(records)
	s.batches++
	s.inBatches(l, fence, records, s.answerTo(l, group, 0, len(writes), len(records), true, time.Now()))
}

// inBatches writes records in as many batches as they need, each when the one before is kept. The lock is held.
func (s *stream) inBatches(l *lane, fence uint64, records []row, done func(uint64, error)) {
	n := min(len(records), maxBatch)
	rest := records[n:]
	s.batch(l, fence, &write{records: records[:n]}, func(sequence uint64, err error) {
		if err != nil || len(rest) == 0 {
			done(sequence, err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inBatches(l, fence, rest, done)
	})
}

// patience is how long a write may stay without an answer: far longer than they take at present, so that load alone
// spends no claims, and no longer than needed, as a stream that changes its leader loses what is on its way.
func (s *stream) patience() time.Duration {
	return min(max(10*s.latency, leastPatience), writeTimeout)
}

// outcome tells the rules what an answer means.
func outcome(err error) ownership.Outcome {
	switch {
	case err == nil:
		return ownership.Accepted
	case errors.Is(err, errFenced):
		return ownership.Refused
	case errors.Is(err, errUnknown):
		return ownership.Unknown
	}
	return ownership.Busy
}

// all calls done when n answers have come, with the worst of them.
func all(n int, done func(uint64, error)) func(uint64, error) {
	var mu sync.Mutex
	var worst error
	return func(sequence uint64, err error) {
		mu.Lock()
		if outcome(err) > outcome(worst) {
			worst = err
		}
		n--
		last, result := n == 0, worst
		mu.Unlock()
		if last {
			done(sequence, result)
		}
	}
}

// envelope is the message that records leave in, one after the other: publishing copies it. The stream's lock guards it.
type envelope struct {
	nats.Msg
	fence, claim, ttl [1]string
}

// message makes the stream's envelope one for a record. It is good until the next one.
func (s *stream) message(l *lane, fence uint64, r *row) *nats.Msg {
	e := &s.envelope
	if e.Header == nil {
		e.Header = nats.Header{}
	}
	clear(e.Header)
	e.fence[0], e.claim[0] = strconv.FormatUint(fence, 10), l.claim
	e.Header["Nats-Expected-Last-Subject-Sequence"] = e.fence[:]
	e.Header["Nats-Expected-Last-Subject-Sequence-Subject"] = e.claim[:]
	if r.ttl != "" {
		e.ttl[0] = r.ttl
		e.Header["Nats-TTL"] = e.ttl[:]
	}
	e.Subject, e.Reply, e.Data = l.claim[:len(l.claim)-len("claim")]+r.name, "", r.data
	return &e.Msg
}

// batch writes several records at once or not at all. A file-backed stream makes a store of its own for each batch
// (3 ms), so where there are no replicas all that need not be whole goes without one.
func (s *stream) batch(l *lane, fence uint64, w *write, done func(uint64, error)) {
	s.batchNames++
	id := s.j.incarnation + strconv.FormatUint(s.batchNames, 36)
	for i := range w.records {
		m := s.message(l, fence, &w.records[i])
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i > 0 {
			delete(m.Header, "Nats-Expected-Last-Subject-Sequence")
			delete(m.Header, "Nats-Expected-Last-Subject-Sequence-Subject")
		}
		if i < len(w.records)-1 {
			_ = s.store.nc.PublishMsg(m) // a lost part makes the commit fail
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		s.store.publish(m, writeTimeout, done)
	}
}

// answerTo takes the answer for the writes of a group from one up to another.
func (s *stream) answerTo(l *lane, group uint64, from, to, records int, whole bool, sent time.Time) func(uint64, error) {
	return func(_ uint64, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.latency += (time.Since(sent) - s.latency) / 16
		s.inFlight -= records
		if whole {
			s.batches--
		}
		for i := from; i < to; i++ {
			if done, kept, verdict := l.Answer(group, i, outcome(err)); done {
				s.settled(l, kept, verdict, err)
			}
		}
		for n := len(s.starved); n > 0 && s.inFlight < maxInFlight; n-- {
			next := s.starved[0]
			s.starved = s.starved[1:]
			next.starved = false
			s.send(next)
		}
	}
}

// settled is called when a whole group has been answered. The stream's lock is held.
func (s *stream) settled(l *lane, kept uint64, v ownership.Verdict, err error) {
	if kept > 0 {
		s.j.shards.Durable(l.shard, kept)
	}
	switch v {
	case ownership.Go:
		s.send(l)
	case ownership.Later:
		s.j.metrics.busy.Inc()
		s.j.log.Debug("the journal refuses writes for now; they are tried again", "shard", l.shard, "err", err)
		time.AfterFunc(busyRetry, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.send(l)
		})
	case ownership.Spend:
		s.j.metrics.unknown.Inc()
		s.act(s.machine.Spent(s.now(), l.shard))
	case ownership.Lose:
		s.j.metrics.fenced.Inc()
		s.act(s.machine.Lost(s.now(), l.shard))
	}
}

// Write implements actors.Journal.
func (j *Journal) Write(shard int, life uint64, to actors.Address, records []presence.Record, whole bool) {
	w := write{whole: whole && len(records) > 1 && len(records) <= maxBatch, records: make([]row, len(records))}
	for i, r := range records {
		w.records[i] = row{name: recordName(r.Kind, to, r.Key), data: r.Data}
		if r.TTL > 0 {
			w.records[i].ttl = strconv.FormatInt(int64((r.TTL+time.Second-1)/time.Second), 10) + "s" // the server tries a duration first
		}
	}
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lane(shard); l.life == life && l.Add(w) { // else the shard hears of its drop by itself
		s.send(l)
	}
}

// Number implements actors.Journal.
func (j *Journal) Number(shard int, generation uint64, counter uint32) (sequence, next uint32, ok bool) {
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence, next, ok, todo := s.machine.Number(s.now(), shard, generation, counter)
	s.act(todo)
	return sequence, next, ok
}

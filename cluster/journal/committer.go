package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// The bounds of the committer, for each stream (docs/contract/journal.md, rule 9).
const (
	maxInFlight      = 4000                   // records that were written and not answered
	maxGroup         = 128                    // writes of one shard that are on their way at a time
	writeTimeout     = 2 * time.Second        // the longest time that a write may stay without an answer,
	minAnswerTimeout = 250 * time.Millisecond // and the shortest
	busyRetry        = 50 * time.Millisecond
	maxBatches       = 32   // atomic batches in flight; NATS refuses more than 50 of a stream
	maxBatch         = 1000 // records of one batch; NATS refuses more
)

// write is the records of one call of Write. They have one ticket: they count as durable when all of them are.
type write struct {
	whole   bool // either all of the records become durable or none; never with more than maxBatch records
	records []row
}

// row is one record of a write.
type row struct {
	name string // of its subject, below the shard's
	data []byte
	ttl  string // as NATS reads it; "": none
}

// lane is the writes of one shard on their way to its stream. stream.mu guards it.
type lane struct {
	ownership.Lane[write]
	shard      int
	generation uint64    // of the claim under which the shard was opened; 0: it is not open here
	claim      string    // the subject of the shard's claim
	waits      bool      // the lane waits in stream.waitForRoom
	claimed    time.Time // when the takeover of the shard began
	why        string    // why it did, for the log
}

// send sends the lane's next group, if one is ready and there is room for it. Otherwise the lane waits for room. The
// caller holds s.mu.
func (s *stream) send(l *lane) {
	ready := l.Ready()
	if len(ready) == 0 || l.waits {
		return
	}
	n, batches, most := min(len(ready), maxGroup), 0, maxBatches
	if s.store.replicas > 1 {
		n, most = fitInBatch(ready[:n]), maxBatches/2 // other nodes send batches to the stream, too
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
		l.waits = true
		s.waitForRoom = append(s.waitForRoom, l)
		return
	}
	group, fence, writes := l.Send(n)
	if batches > 0 && s.store.replicas > 1 {
		s.sendBatch(l, group, fence, writes)
		return
	}
	for i := range writes {
		w := &writes[i]
		s.inFlight += len(w.records)
		done := s.answerTo(l, group, i, i+1, len(w.records), w.whole, time.Now())
		if w.whole {
			s.batches++
			s.writeBatch(l, fence, w, done)
			continue
		}
		one := done
		if len(w.records) > 1 {
			one = whenAll(len(w.records), done)
		}
		for k := range w.records {
			s.store.publish(s.message(l, fence, &w.records[k]), s.answerTimeout(), one)
		}
	}
}

// fitInBatch returns how many of the writes fit into one batch. It is at least 1: a single write that does not fit is sent
// in several batches.
func fitInBatch(writes []write) (n int) {
	for records := 0; n < len(writes); n++ {
		if records += len(writes[n].records); n > 0 && records > maxBatch {
			break
		}
	}
	return n
}

// sendBatch sends a group as one batch. A stream with several replicas takes one write under a fence at a time and refuses
// all others meanwhile (error 10164). Tried: records one by one, each repeated after busyRetry. A shard then took 20 writes
// a second, and a busy one never caught up. The caller holds s.mu.
func (s *stream) sendBatch(l *lane, group, fence uint64, writes []write) {
	var records []row
	for i := range writes {
		records = append(records, writes[i].records...)
	}
	s.inFlight += len(records)
	s.batches++
	s.writeBatches(l, fence, records, s.answerTo(l, group, 0, len(writes), len(records), true, time.Now()))
}

// writeBatches writes records in as many batches as they need, each after the one before was accepted. The
// caller holds s.mu. done is called later, without it.
func (s *stream) writeBatches(l *lane, fence uint64, records []row, done func(uint64, error)) {
	n := min(len(records), maxBatch)
	rest := records[n:]
	s.writeBatch(l, fence, &write{records: records[:n]}, func(sequence uint64, err error) {
		if err != nil || len(rest) == 0 {
			done(sequence, err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writeBatches(l, fence, rest, done)
	})
}

// answerTimeout returns how long a single record or claim may stay without an answer before its outcome counts as unknown:
// ten times as long as writes take at present, so that load alone spends no claims, and no longer, because a stream that
// changes its leader loses what is on its way (rule 5). A batch always may take writeTimeout. The caller holds
// s.mu.
func (s *stream) answerTimeout() time.Duration {
	return min(max(10*s.latency, minAnswerTimeout), writeTimeout)
}

// outcome returns what an answer to a write means to the rules.
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

// whenAll returns a function for the answers to n messages. It calls done once, after the last of them, with the worst.
func whenAll(n int, done func(uint64, error)) func(uint64, error) {
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

// envelope is the one message in which all records of a stream leave, one after the other. NATS's client copies a message
// when it is published, so it can be filled again. stream.mu guards it.
type envelope struct {
	nats.Msg
	fence, claim, ttl [1]string
}

// message fills the stream's envelope with a record, on condition that the shard's claim is still the one whose sequence is
// fence: NATS refuses the record if a newer claim stands. The message is valid until the next call. The caller holds s.mu.
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

// writeBatch writes several records as one atomic batch. Without replicas only writes that must be whole are batches: NATS
// makes a store on disk for each batch of a file-backed stream, which takes 3 ms. The caller holds s.mu.
func (s *stream) writeBatch(l *lane, fence uint64, w *write, done func(uint64, error)) {
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
			_ = s.store.nc.PublishMsg(m) // if it is lost, NATS refuses the batch
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		s.store.publish(m, writeTimeout, done)
	}
}

// answerTo returns the function that takes the answer for some writes of a group, those from an index up to another. That
// function takes s.mu. sent is when they were written, and whole says that they were a batch.
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
		for n := len(s.waitForRoom); n > 0 && s.inFlight < maxInFlight; n-- { // each once: a lane may have to wait again
			next := s.waitForRoom[0]
			s.waitForRoom = s.waitForRoom[1:]
			next.waits = false
			s.send(next)
		}
	}
}

// settled goes on after a whole group has been answered. The caller holds s.mu.
func (s *stream) settled(l *lane, kept uint64, v ownership.Verdict, err error) {
	if kept > 0 {
		s.j.shards.Durable(l.shard, kept)
	}
	switch v {
	case ownership.SendNext:
		s.send(l)
	case ownership.SendLater:
		s.j.metrics.busy.Inc()
		s.j.log.Debug("the journal refused writes of a shard for now; they are written again", "shard", l.shard, "err", err)
		time.AfterFunc(busyRetry, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.send(l)
		})
	case ownership.SpendClaim:
		s.j.metrics.unknown.Inc()
		s.act(s.machine.Spent(s.now(), l.shard))
	case ownership.LoseShard:
		s.j.metrics.fenced.Inc()
		s.act(s.machine.Lost(s.now(), l.shard))
	}
}

// Write implements actors.Journal.
func (j *Journal) Write(shard int, generation uint64, to actors.Address, records []presence.Record, whole bool) {
	w := write{whole: whole && len(records) > 1 && len(records) <= maxBatch, records: make([]row, len(records))}
	for i, r := range records {
		w.records[i] = row{name: recordName(r.Kind, to, r.Key), data: r.Data}
		if r.TTL > 0 {
			w.records[i].ttl = strconv.FormatInt(int64((r.TTL+time.Second-1)/time.Second), 10) + "s" // with a unit, which the server tries first
		}
	}
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lane(shard); l.generation == generation && l.Add(w) { // else the shard is told that it was dropped
		s.send(l)
	}
}

// recordName returns the name of a record below its shard: docs/contract/journal.md, "Subjects". It holds a hash of the
// outside names in place of the names.
func recordName(k presence.Kind, to actors.Address, key string) string {
	var room [512]byte // for most names: a longer one is hashed in memory of its own
	kind := [1]byte{byte(k)}
	b := appendPart(room[:0], string(kind[:]))
	b = appendPart(b, to.Realm)
	b = appendPart(b, to.User)
	b = appendPart(b, key)
	sum := sha256.Sum256(b)
	var name [4 + 32]byte
	hex.Encode(name[4:], sum[:16])
	name[0], name[1], name[2], name[3] = name[4], '.', kind[0], '.'
	return string(name[:])
}

// appendPart appends a text behind its length.
func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
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

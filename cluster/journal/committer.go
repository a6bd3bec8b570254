package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
	"lamplight/cluster/ring"
)

// The bounds of the committer (docs/contract/journal.md, rule 9).
const (
	maxSending       = 8                      // messages of a stream that have no answer
	maxMessage       = 256 << 10              // bytes of a message, if NATS takes so many
	writeTimeout     = 2 * time.Second        // the longest time that a write may stay without an answer,
	minAnswerTimeout = 250 * time.Millisecond // and the shortest
	busyRetry        = 50 * time.Millisecond
)

// write is the records of one call of Write, or a part of them when they do not fit into one message.
type write struct {
	index  int    // of the shard, in lane.shards
	ticket uint64 // of the shard's write
	part   bool   // further parts of the write follow
	number int    // of records
	data   []byte // the records, as entries of a message
}

// lane is the writes of one range on their way to its stream, and the range's slots. stream.mu guards it.
type lane struct {
	ownership.Lane[write]
	id           int
	shards       []int
	issued       []uint64   // the ticket of each shard's last write
	parts        []uint64   // the ticket of each shard's last write of which a part was accepted
	ring         *ring.Ring // nil: the range is not open here
	generation   uint64     // of the claim under which the range was opened; 0: it is not open here
	claim        string     // the subject of the range's claim
	slots        string     // what the subjects of its slots begin with
	message      []byte     // the one on its way
	flushing     int        // shards that have not said Flushed yet
	flushedUnder uint64     // the generation of the present claim, under which they say it
	waits        bool       // the lane waits in stream.waitForRoom
	later        bool       // a timer sends the lane's next message
	claimed      time.Time  // when the takeover of the range began
	why          string     // why it did, for the log
}

// send sends the lane's next message, if there is something to be written, and it is the lane's turn. Otherwise the lane waits for its turn, or for
// the slots that are being read. The caller holds s.mu.
func (s *stream) send(l *lane) {
	if len(l.Ready()) == 0 || l.waits || l.later {
		return
	}
	if s.sending >= maxSending || len(s.waitForRoom) > 0 {
		l.waits = true
		s.waitForRoom = append(s.waitForRoom, l)
		return
	}
	s.sendNow(l)
}

// sendNow is send for a lane whose turn it is. The caller holds s.mu.
func (s *stream) sendNow(l *lane) {
	ready := l.Ready()
	if len(ready) == 0 {
		return
	}
	l.ring.SawTime(s.clock)
	s.gather(l)
	now := s.now()
	slot, carried, ok := l.ring.Compose(now, now < time.Duration(s.answerUntil.Load()))
	if !ok {
		s.sendLater(l)
		return
	}
	l.message = append(l.message[:0], carried...)
	n, records := 0, 0
	for n < len(ready) && (len(l.message) == 1 || len(l.message)+len(ready[n].data) <= s.maxMessage) {
		l.message = append(l.message, ready[n].data...)
		records += ready[n].number
		n++
	}
	group, fence, writes := l.Send(n)
	s.sending++
	s.inFlight += records
	sent := time.Now()
	s.store.publish(s.fenced(l, fence, slot), s.answerTimeout(), func(sequence uint64, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.latency += (time.Since(sent) - s.latency) / 16
		s.sending--
		s.inFlight -= records
		s.answered(l, group, writes, sequence, err)
		for len(s.waitForRoom) > 0 && s.sending < maxSending {
			next := s.waitForRoom[0]
			s.waitForRoom = s.waitForRoom[1:]
			next.waits = false
			s.sendNow(next)
		}
	})
}

// sendLater sends the lane's next message in a moment. The caller holds s.mu.
func (s *stream) sendLater(l *lane) {
	if l.later {
		return
	}
	l.later = true
	time.AfterFunc(busyRetry, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.later = false
		s.send(l)
	})
}

// fenced fills the stream's envelope with the message of a lane, on condition that the range's claim is still the one whose sequence is
// fence: NATS refuses the message if a newer claim stands. NATS's client copies a message with its header when it is published, so the envelope can be
// filled again after that. The caller holds s.mu.
func (s *stream) fenced(l *lane, fence uint64, slot int) *nats.Msg {
	e := &s.envelope
	e.Subject, e.Reply, e.Data = l.slots+strconv.Itoa(slot), "", l.message
	e.Header[jetstream.ExpectedLastSubjSeqHeader][0] = strconv.FormatUint(fence, 10)
	e.Header[jetstream.ExpectedLastSubjSeqSubjHeader][0] = l.claim
	return e
}

// answered takes the answer to a lane's message. The caller holds s.mu.
func (s *stream) answered(l *lane, group uint64, writes []write, sequence uint64, err error) {
	tickets := s.tickets[:len(l.shards)]
	clear(tickets)
	for i := range writes { // Answer forgets them
		if w := &writes[i]; !w.part {
			tickets[w.index] = w.ticket
		} else if outcome(err) == ownership.Accepted {
			l.parts[w.index] = w.ticket
		}
	}
	o := outcome(err)
	_, verdict, ok := l.Answer(group, o)
	if !ok {
		return
	}
	if o == ownership.Accepted {
		s.j.metrics.carried.Add(float64(l.ring.Carried()))
		l.ring.Accepted(s.now(), sequence, l.message)
		for i, ticket := range tickets {
			if ticket != 0 {
				s.j.shards.Durable(l.shards[i], ticket)
			}
		}
		if cap(l.message) > maxMessage/4 {
			l.message = nil
		}
	}
	s.settled(l, verdict, err)
}

// gather has the slots read that the ring wants to carry on. The lane goes on when that is done. The caller holds s.mu.
func (s *stream) gather(l *lane) {
	wanted := l.ring.Wants()
	if len(wanted) == 0 {
		return
	}
	r := l.ring
	s.j.done.Go(func() {
		ctx, cancel := context.WithTimeout(s.j.ctx, writeTimeout)
		messages, err := s.store.slots(ctx, l.slots, wanted)
		cancel()
		if err != nil || len(messages) == 0 {
			s.j.log.Debug("slots could not be read; they are read again", "range", l.id, "err", err)
			select {
			case <-time.After(busyRetry):
			case <-s.j.ctx.Done():
				return
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Read(messages)
		if l.ring == r {
			s.send(l)
		}
	})
}

// answerTimeout returns how long a message or claim may stay without an answer before its outcome counts as unknown:
// ten times as long as writes take at present, so that load alone spends no claims, and no longer, because a stream that
// changes its leader loses what is on its way (rule 5). The caller holds
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

// settled goes on after a message has been answered. The caller holds s.mu.
func (s *stream) settled(l *lane, v ownership.Verdict, err error) {
	switch v {
	case ownership.SendNext:
		s.send(l)
	case ownership.SendLater:
		s.j.metrics.busy.Inc()
		s.j.log.Debug("the journal refused writes of a range of shards for now; they are written again", "range", l.id, "err", err)
		s.sendLater(l)
	case ownership.SpendClaim:
		s.j.metrics.unknown.Inc()
		s.act(s.machine.Spent(s.now(), l.id))
	case ownership.LoseRange:
		s.j.metrics.fenced.Inc()
		s.act(s.machine.Lost(s.now(), l.id))
	}
}

// Write implements actors.Journal.
func (j *Journal) Write(shard int, generation uint64, to actors.Address, records []presence.Record) {
	size := 0
	for i := range records {
		size += len(records[i].Data) + entryRoom
	}
	at := j.places[shard]
	all := write{index: at.index, part: true, data: make([]byte, 0, size)}
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(at.of)
	if l.generation != generation {
		return // the shard is told that it was dropped
	}
	l.issued[at.index]++
	all.ticket = l.issued[at.index]
	for i := range records {
		r := &records[i]
		e := ring.Entry{Shard: shard, Kind: byte(r.Kind), Key: s.namer.keyOf(r.Kind, to, r.Key), Life: uint32((r.Life + time.Second - 1) / time.Second), Data: r.Data}
		if len(all.data)+len(r.Data)+entryRoom > s.maxMessage/2 && all.number > 0 {
			l.Add(all)
			all.data, all.number = nil, 0
		}
		var ok bool
		if all.data, ok = ring.Append(all.data, &e); !ok {
			s.j.log.Error("a record is too large to be kept, and is left out; please report this", "kind", string(rune(r.Kind)), "bytes", len(r.Data), "extension", to.String())
		}
		all.number++
	}
	all.part = false
	l.Add(all)
	s.send(l)
}

// entryRoom is the bytes that an entry has, at most, beside its data.
const entryRoom = 48

// namer makes the keys of records: docs/contract/journal.md, "Slots". It keeps the memory that this takes.
type namer struct {
	hash hash.Hash
	name []byte
}

func newNamer() namer { return namer{hash: sha256.New()} }

// keyOf returns the key of a record in its range.
func (n *namer) keyOf(k presence.Kind, to actors.Address, key string) ring.Key {
	kind := [1]byte{byte(k)}
	n.name = appendPart(n.name[:0], string(kind[:]))
	n.name = appendPart(n.name, to.Realm)
	n.name = appendPart(n.name, to.User)
	n.name = appendPart(n.name, key)
	n.hash.Reset()
	_, _ = n.hash.Write(n.name)
	n.name = n.hash.Sum(n.name[:0])
	return ring.Key(n.name[:16])
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
	sequence, next, ok, todo := s.machine.Number(s.now(), j.places[shard].of, generation, counter)
	s.act(todo)
	return sequence, next, ok
}

package journal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// How leases and claims are followed: whoever wrote one tells it to all nodes at once, by a plain message; and every
// node looks at the stream itself, so that nothing stays unseen when such a message gets lost. A look asks any
// replica, by direct get, for what is newer than what was seen: it needs no consumer, which would die with a server.
const (
	lookLeases = 200 * time.Millisecond
	lookClaims = time.Second
	lookTime   = time.Second
)

// tell makes a lease or claim that was just accepted known to all nodes, with the stream's creation time, so that
// news of another world is not taken for ours.
func (s *stream) tell(name string, data []byte, sequence uint64) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 17+len(name)+len(data)), sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(s.store.created.UnixNano()))
	b = append(append(append(b, name...), 0), data...)
	_ = s.store.nc.Publish(s.store.news, b)
}

// hear takes what another node told. What can't be read is left to the next look.
func (s *stream) hear(m *nats.Msg) {
	if len(m.Data) < 17 || len(m.Data) > 16<<10 {
		return
	}
	name, data, ok := bytes.Cut(m.Data[16:], []byte{0})
	sequence, created := binary.BigEndian.Uint64(m.Data), binary.BigEndian.Uint64(m.Data[8:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok && created == uint64(s.store.created.UnixNano()) && s.j.ctx.Err() == nil {
		s.seen(string(name), data, sequence, time.Time{})
	}
}

// lookNow asks for a look without waiting for the next one.
func (s *stream) lookNow() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// watch looks until the journal stops.
func (s *stream) watch() {
	leases := time.NewTicker(lookLeases)
	defer leases.Stop()
	var claims time.Time  // of the last look at claims
	var missing time.Time // since when there is no stream
	for {
		both := time.Since(claims) >= lookClaims
		select {
		case <-s.j.ctx.Done():
			return
		case <-leases.C:
		case <-s.look:
			both = true
		}
		ok := s.see(subject.AnyLease)
		if !ok {
			missing = s.remake(missing)
		}
		if both && s.see(subject.AnyClaim) {
			claims = time.Now()
			s.mu.Lock()
			if !s.synced && ok {
				s.synced = true
				s.act(s.machine.Synced(s.now()))
			}
			s.mu.Unlock()
		}
	}
}

// remake makes the stream again that has been missing for long: somebody deleted it, or it was in the memory of a server
// that was started again. What it held is gone. Our heartbeats then show that it is another one (docs/contract/journal.md, rule 10). It
// says since when the stream is missing.
func (s *stream) remake(since time.Time) time.Time {
	ctx, cancel := context.WithTimeout(s.j.ctx, makeTime)
	defer cancel()
	_, err := s.store.js.Stream(ctx, s.store.name)
	switch {
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return time.Time{}
	case since.IsZero():
		return time.Now()
	case time.Since(since) < cmp.Or(s.j.cfg.Missing, time.Minute):
		return since
	}
	_, err = s.store.js.CreateStream(ctx, s.store.settings(s.j.cfg, s.store.streams))
	s.j.log.Error("the journal's stream was missing and is made again, empty", "stream", s.store.name, "err", err)
	return time.Time{}
}

// see reports what the stream holds behind the cursor, and says whether that is all.
func (s *stream) see(filter string) bool {
	ctx, cancel := context.WithTimeout(s.j.ctx, lookTime)
	defer cancel()
	s.mu.Lock()
	from, created := s.cursor[filter]+1, s.store.created
	s.mu.Unlock()
	found, err := s.store.newer(ctx, filter, from)
	all := true
	if errors.Is(err, errTooMany) { // leases of many nodes that are gone for good
		found, err = s.store.page(ctx, filter, from)
		all = len(found) < pageSize
	}
	if err != nil {
		s.j.log.Debug("the stream can't be looked at", "stream", s.store.name, "err", err)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.store.created.Equal(created) {
		return false
	}
	for _, m := range found {
		full, sequence, at := stored(m)
		s.cursor[filter] = max(s.cursor[filter], sequence)
		s.seen(strings.TrimPrefix(full, s.store.subject), m.Data, sequence, at)
	}
	return all
}

// seen reports a lease or claim to the rules; at is zero when the stream's time is not known. The lock is held.
func (s *stream) seen(name string, data []byte, seq uint64, at time.Time) {
	if strings.HasPrefix(name, "lease.") {
		l, err := decodeLease(data)
		if err != nil || name != subject.Lease(l.Node) {
			s.j.log.Error("a lease can't be read", "subject", name, "err", err)
			return
		}
		s.act(s.machine.LeaseSeen(s.now(), l, seq, at))
		if l.Node != s.j.cfg.Node {
			s.gone(l)
		}
		return
	}
	shard, ok := strings.CutSuffix(name, ".claim")
	id, err := strconv.Atoi(shard)
	if !ok || err != nil || id < 0 || id >= actors.Shards || s.j.of(id) != s {
		return
	}
	c, err := decodeClaim(data)
	if err != nil {
		s.j.log.Error("a claim can't be read", "shard", id, "err", err)
		return
	}
	s.act(s.machine.ClaimSeen(s.now(), id, c, seq, at))
	s.note(id)
}

// gone says once of each incarnation of another node that it is over. The lock is held.
func (s *stream) gone(l ownership.Lease) {
	before := s.alive[l.Node]
	s.alive[l.Node] = alive{l.Incarnation, l.Expelled}
	if l.Expelled && !before.expelled || before.incarnation != "" && before.incarnation != l.Incarnation {
		if s.j.cfg.Gone != nil {
			s.j.done.Go(func() { s.j.cfg.Gone(l.Node) })
		}
	}
}

// alive is the newest incarnation of another node.
type alive struct {
	incarnation string
	expelled    bool
}

// Expelled says whether a node is expelled in some stream.
func (j *Journal) Expelled(node string) bool {
	for _, s := range j.streams {
		s.mu.Lock()
		expelled := s.alive[node].expelled
		s.mu.Unlock()
		if expelled {
			return true
		}
	}
	return false
}

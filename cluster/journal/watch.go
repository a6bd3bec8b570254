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

	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// Leases and claims are followed in two ways. Whoever wrote one announces it to all nodes at once, by a plain message. And
// every node looks at the stream itself, so that nothing stays unseen when such a message is lost. A look asks any replica,
// by a direct get, for what is newer than what was read before. A consumer would be the obvious way, but it is gone with
// the NATS server that kept it.
const (
	lookLeases = 200 * time.Millisecond // the time between two looks at leases, while a member is not heard on the feed
	lookClaims = time.Second            // the time between two looks at claims, and at leases otherwise
	lookTime   = time.Second            // how long a look may take
)

// announce tells all nodes of a lease or claim that was just accepted. The message holds its sequence and when the stream
// was created, so that nobody takes it for one of another stream of the same name. The caller holds s.mu.
func (s *stream) announce(name string, data []byte, sequence uint64) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 17+len(name)+len(data)), sequence)
	b = binary.BigEndian.AppendUint64(b, uint64(s.store.created.UnixNano()))
	b = append(append(append(b, name...), 0), data...)
	_ = s.store.nc.Publish(s.store.claims, b)
}

// announced takes the announcement of any node, this one among them. A message that cannot be read is ignored: the next
// look finds the lease or claim.
func (s *stream) announced(m *nats.Msg) {
	if len(m.Data) < 17 || len(m.Data) > 16<<10 {
		return
	}
	name, data, ok := bytes.Cut(m.Data[16:], []byte{0})
	sequence, created := binary.BigEndian.Uint64(m.Data), binary.BigEndian.Uint64(m.Data[8:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok && created == uint64(s.store.created.UnixNano()) && s.j.ctx.Err() == nil {
		s.report(string(name), data, sequence, time.Time{})
	}
}

// lookNow asks watch to look now. It does not block.
func (s *stream) lookNow() {
	select {
	case s.lookSignal <- struct{}{}:
	default:
	}
}

// watch looks at leases and claims until the journal stops.
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
			s.mu.Lock()
			heard := s.synced && s.machine.Heard(s.now())
			s.mu.Unlock()
			if heard && !both && missing.IsZero() {
				continue
			}
		case <-s.lookSignal:
			both = true
		}
		ok := s.readNew(subject.AnyLease)
		if !ok {
			missing = s.recreateMissing(missing)
		}
		if both && s.readNew(subject.AnyClaim) {
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

// recreateMissing makes a stream again, empty, that has been missing for Config.Missing: it was in the memory of a NATS server
// that was started again, or its loss is accepted (Config.AcceptLoss). A stream in files that is missing is lost data, and
// not for this node to give up. Our next heartbeat is refused there, and then the rules learn that it
// is another stream (rule 10). since is when the stream was first missing; the result is the value for the next call, and
// zero when the stream is there.
func (s *stream) recreateMissing(since time.Time) time.Time {
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
	case !s.j.cfg.Memory && !s.j.cfg.AcceptLoss:
		s.j.log.Error("the journal's stream is missing in NATS, so reads are answered from memory and marked stale, and writes are answered 503. "+
			"Bring the stream back, or restore a backup; or start the nodes again with --accept-loss, which gives up all that it held",
			"stream", s.store.name)
		return time.Now()
	}
	_, err = s.store.js.CreateStream(ctx, s.store.settings(s.j.cfg, s.store.layout))
	if err != nil {
		s.j.log.Error("the journal's stream is missing and could not be made again; it is tried again",
			"stream", s.store.name, "err", err)
	} else {
		s.j.log.Error("the journal's stream was missing and was made again, empty: all that it held is gone; restore "+
			"a backup if that was not intended", "stream", s.store.name)
	}
	return time.Time{}
}

// readNew reports the leases or claims that the stream holds behind the cursor, and returns whether these are all. It
// blocks.
func (s *stream) readNew(filter string) bool {
	ctx, cancel := context.WithTimeout(s.j.ctx, lookTime)
	defer cancel()
	s.mu.Lock()
	from, created := s.cursor[filter]+1, s.store.created
	s.mu.Unlock()
	found, err := s.store.newer(ctx, filter, from)
	all := true
	if errors.Is(err, errTooMany) { // for example many leases of nodes that are gone for good
		var more bool
		found, more, err = s.store.page(ctx, filter, from)
		all = len(found) > 0 && !more
	}
	if err != nil {
		s.j.log.Debug("leases or claims could not be read; they are read again soon", "stream", s.store.name, "err", err)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.store.created.Equal(created) {
		return false
	}
	for _, m := range found {
		full, sequence, at := parseStored(m)
		s.cursor[filter] = max(s.cursor[filter], sequence)
		s.clock = max(s.clock, at.UnixMicro())
		s.report(strings.TrimPrefix(full, s.store.subject), m.Data, sequence, at)
	}
	return all
}

// report tells the rules of a lease or claim. at is the stream's time of it; zero: it is not known. The caller holds
// s.mu.
func (s *stream) report(name string, data []byte, seq uint64, at time.Time) {
	if token, ok := strings.CutPrefix(name, "lease."); ok {
		node, err := subject.ParseToken(token)
		if err != nil || subject.Lease(node) != name {
			return // no node's
		}
		if l, ok := s.readableLease(node, data, seq, at); ok {
			s.act(s.machine.LeaseSeen(s.now(), l, seq, at))
			if l.Left || l.Draining || l.Expelled {
				s.j.tickSoon()
			}
			if node != s.j.cfg.Node && !l.Unreadable {
				s.noteLease(l)
			}
		}
		return
	}
	number, _ := strings.CutSuffix(name, ".claim")
	id, err := strconv.Atoi(number)
	if err != nil || id < 0 || id >= s.store.layout.ranges() || subject.Claim(id) != name || id%s.store.layout.streams != s.number {
		return // of no range that lives here
	}
	if c, ok := s.readableClaim(id, data, seq, at); ok {
		s.act(s.machine.ClaimSeen(s.now(), id, c, seq, at))
		s.updateHolder(id)
		s.j.tickSoon()
	}
}

// noteLease notes another node's lease, and calls Config.Gone once when an incarnation of that node is over. The
// caller holds s.mu.
func (s *stream) noteLease(l ownership.Lease) {
	before := s.lastLeases[l.Node]
	s.lastLeases[l.Node] = lastLease{l.Incarnation, l.Expelled}
	if l.Expelled && !before.expelled || before.incarnation != "" && before.incarnation != l.Incarnation {
		if s.j.cfg.Gone != nil {
			s.j.done.Go(func() { s.j.cfg.Gone(l.Node) })
		}
	}
}

// lastLease is what the newest lease of another node says.
type lastLease struct {
	incarnation string
	expelled    bool
}

// Expelled says whether the newest incarnation of a node is expelled in some stream.
func (j *Journal) Expelled(node string) bool {
	for _, s := range j.streams {
		s.mu.Lock()
		expelled := s.lastLeases[node].expelled
		s.mu.Unlock()
		if expelled {
			return true
		}
	}
	return false
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
	"lamplight/cluster/ring"
	"lamplight/cluster/subject"
)

// replayer reads ranges until none is left to be read. Those for which somebody waits come first. It runs on a goroutine
// of its own.
func (s *stream) replayer() {
	for {
		s.mu.Lock()
		// A claim that was lost while its range waited here is not worth a question.
		s.replays = slices.DeleteFunc(s.replays, func(a ownership.Action) bool { return !s.machine.Wanted(a.Range, a.Claim) })
		if len(s.replays) == 0 || s.j.ctx.Err() != nil {
			s.replaying--
			s.logTaken()
			s.mu.Unlock()
			return
		}
		next := 0
		for i, a := range s.replays {
			if slices.ContainsFunc(s.lane(a.Range).shards, s.j.shards.Wanted) {
				next = i
				break
			}
		}
		a := s.replays[next]
		s.replays = append(s.replays[:next], s.replays[next+1:]...)
		s.mu.Unlock()
		s.replay(a)
	}
}

// replay reads a range until the answer covers the claim, and then opens its shards. It ends without that when the
// claim is not wanted any more.
func (s *stream) replay(a ownership.Action) {
	for wait := 5 * time.Millisecond; s.j.ctx.Err() == nil; wait = min(2*wait, 200*time.Millisecond) {
		c, err := s.read(a.Range)
		s.mu.Lock()
		ok, newer := s.machine.Covers(a.Claim, a.Expect, c.claim, c.sequence)
		wanted := s.machine.Wanted(a.Range, a.Claim)
		s.mu.Unlock()
		if err == nil && ok && wanted {
			s.open(a, &c)
			return
		}
		switch {
		case err == nil && newer, !wanted: // newer: watch will see whose claim it is
			return
		case err != nil:
			s.j.log.Warn("a range of shards could not be read from the journal; it is read again, and its requests wait",
				"range", a.Range, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-s.j.ctx.Done():
		}
	}
}

// open opens the shards of a range with what was read, if the claim is still wanted.
func (s *stream) open(a ownership.Action, c *content) {
	r := ring.New(s.ringOptions())
	records := make([][]actors.Stored, len(s.lane(a.Range).shards))
	s.unpack(a.Range, c, r, func(index int, stored actors.Stored) { records[index] = append(records[index], stored) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, open := range s.machine.Replayed(s.now(), a.Range, a.Claim) {
		l := s.lane(a.Range)
		l.Open(open.Expect)
		l.generation, l.ring, l.flushing, l.flushedUnder = open.Claim.Generation, r, len(l.shards), open.Claim.Generation
		clear(l.issued)
		clear(l.parts)
		s.j.opened[a.Range].Store(l.generation)
		s.noteTaken(l)
		for i, shard := range l.shards {
			s.j.shards.Open(shard, actors.Opening{Claim: s.claimOf(open), Records: records[i], Since: open.Since, All: open.All, End: open.End})
		}
	}
}

// ringOptions returns the bounds of a range's slots.
func (s *stream) ringOptions() ring.Options {
	return ring.Options{Slots: s.store.layout.slots(), Most: mostSlots, Message: s.maxMessage, Least: 16 << 10, Age: s.j.cfg.Age}
}

// unpack makes a Ring of what was read, and passes the records of each shard on, by its index in the lane. To all of them it passes
// which switches are gone.
func (s *stream) unpack(id int, c *content, r *ring.Ring, give func(index int, stored actors.Stored)) {
	l := s.lane(id)
	r.SawTime(c.at.UnixMicro())
	damaged := r.Load(s.now(), c.own, func(e ring.Entry) {
		if e.Shard < actors.Shards && s.j.places[e.Shard].of == id {
			give(s.j.places[e.Shard].index, actors.Stored{Kind: presence.Kind(e.Kind), Data: e.Data, At: time.UnixMicro(e.At)})
		}
	})
	if c.kept != nil {
		other := ring.New(s.ringOptions())
		other.SawTime(c.at.UnixMicro())
		err := other.Load(s.now(), c.kept, func(e ring.Entry) {
			if presence.Kind(e.Kind) == presence.KindGone {
				for i := range l.shards {
					give(i, actors.Stored{Kind: presence.KindGone, Data: e.Data, At: time.UnixMicro(e.At)})
				}
			}
		})
		damaged = errors.Join(damaged, err)
	}
	if damaged != nil {
		s.j.log.Error("a message of the journal can't be read; this node serves without what it holds; find out who wrote it: only nodes may write to the journal",
			"subject", l.slots+"*", "err", damaged)
	}
}

// noteTaken counts the shards of a range that was taken over. The caller holds s.mu.
func (s *stream) noteTaken(l *lane) {
	s.j.metrics.takeovers.Add(float64(len(l.shards)))
	s.j.metrics.takeover.Observe(time.Since(l.claimed).Seconds())
	if s.taken.why == nil {
		s.taken = taken{l.claimed, map[string]int{}}
	}
	s.taken.why[l.why] += len(l.shards)
	l.claimed = time.Time{}
}

// content is the messages of a range's slots, and the claim that was read with them. The messages are at least as new as the claim.
type content struct {
	own      []ring.Message
	kept     []ring.Message // of the range that keeps which switches are gone, if that is another one
	claim    ownership.Claim
	sequence uint64    // of the claim; 0: there was none
	upTo     uint64    // the sequence up to which all replicas that answered had the stream
	at       time.Time // the stream's time of it
}

// read reads the slots of a range together with its claim, and with the slots of the range that keeps which switches are gone (docs/contract/journal.md, rule
// 6), for ten seconds at most. From a replica that lags come an older claim, or none, and slots that may be as old.
func (s *stream) read(id int) (c content, err error) {
	ctx, cancel := context.WithTimeout(s.j.ctx, 10*time.Second)
	defer cancel()
	slots := []string{subject.AnySlot(id)}
	if keeper := s.store.layout.keeper(id); keeper != id {
		slots = append(slots, subject.AnySlot(keeper))
	}
	found, upTo, err := s.store.whole(ctx, subject.Claim(id), slots...)
	if err != nil {
		return c, err
	}
	for _, m := range found {
		name, sequence, at := parseStored(m)
		name = strings.TrimPrefix(name, s.store.subject)
		if name == subject.Claim(id) {
			claim, err := decodeClaim(m.Data)
			if errors.Is(err, errNewer) {
				return c, err
			}
			c.claim, c.sequence, c.at = claim, sequence, at // one that can't be read is not ours, and newer or older than ours
			continue
		}
		of, slot, ok := subject.ParseSlot(name)
		if !ok || slot >= maxSlots {
			continue
		}
		if ring.Newer(m.Data) {
			return c, fmt.Errorf("%s: %w", name, errNewer)
		}
		message := ring.Message{Slot: slot, Sequence: sequence, At: at.UnixMicro(), Data: m.Data}
		if of == id {
			c.own = append(c.own, message)
		} else {
			c.kept = append(c.kept, message)
		}
	}
	if c.upTo = upTo; upTo < c.sequence {
		return c, errBehind
	}
	return c, nil
}

// maxSlots is more than mostSlots; a number above it is nobody's.
const maxSlots = 4096

// Reload implements actors.Journal.
func (j *Journal) Reload(shard int, give func([]actors.Stored, error)) {
	j.done.Go(func() {
		s, at := j.of(shard), j.places[shard]
		s.mu.Lock()
		claim, sequence := s.machine.Claim(at.of)
		s.mu.Unlock()
		durable := s.store.acknowledged() // the caller's writes are among these
		c, err := s.read(at.of)
		if ok, _ := s.machine.Covers(claim, sequence, c.claim, c.sequence); err == nil && (!ok || c.upTo < durable) {
			err = errBehind
		}
		var records []actors.Stored
		s.unpack(at.of, &c, ring.New(s.ringOptions()), func(index int, stored actors.Stored) {
			if index == at.index {
				records = append(records, stored)
			}
		})
		give(records, err)
	})
}

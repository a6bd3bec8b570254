package journal

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// replayer reads shards until none is left to be read. Shards for which somebody waits come first. It runs on a goroutine
// of its own.
func (s *stream) replayer() {
	for {
		s.mu.Lock()
		// A claim that was lost while its shard waited here is not worth a question.
		s.replays = slices.DeleteFunc(s.replays, func(a ownership.Action) bool { return !s.machine.Wanted(a.Shard, a.Claim) })
		if len(s.replays) == 0 || s.j.ctx.Err() != nil {
			s.replaying--
			s.logTaken()
			s.mu.Unlock()
			return
		}
		next := 0
		for i, a := range s.replays {
			if s.j.shards.Wanted(a.Shard) {
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

// replay reads a shard until the answer covers the claim, and then opens it. It ends without opening the shard when the
// claim is not wanted any more.
func (s *stream) replay(a ownership.Action) {
	for wait := 5 * time.Millisecond; s.j.ctx.Err() == nil; wait = min(2*wait, 200*time.Millisecond) {
		r, err := s.read(a.Shard)
		s.mu.Lock()
		ok, newer := s.machine.Covers(a.Claim, a.Expect, r.claim, r.sequence)
		wanted := s.machine.Wanted(a.Shard, a.Claim)
		if err == nil && ok {
			for _, open := range s.machine.Replayed(s.now(), a.Shard, a.Claim) {
				l := s.lane(a.Shard)
				l.Open(open.Expect)
				l.generation = open.Claim.Generation
				s.j.opened[a.Shard].Store(l.generation)
				s.noteTaken(l)
				s.j.shards.Open(a.Shard, actors.Opening{Claim: s.claimOf(open), Records: r.records, Since: open.Since, All: open.All, End: open.End})
			}
		}
		s.mu.Unlock()
		switch {
		case err == nil && (ok || newer), !wanted: // newer: watch will see whose claim it is
			return
		case err != nil:
			s.j.log.Warn("a shard could not be read from the journal; it is read again, and its requests wait",
				"shard", a.Shard, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-s.j.ctx.Done():
		}
	}
}

// noteTaken counts a shard that was taken over. The caller holds s.mu.
func (s *stream) noteTaken(l *lane) {
	s.j.metrics.takeovers.Inc()
	s.j.metrics.takeover.Observe(time.Since(l.claimed).Seconds())
	if s.taken.why == nil {
		s.taken = taken{l.claimed, map[string]int{}}
	}
	s.taken.why[l.why]++
	l.claimed = time.Time{}
}

// content is the records of a shard, and the claim that was read with them. The records are at least as new as the claim.
type content struct {
	records  []actors.Stored
	claim    ownership.Claim
	sequence uint64 // of the claim; 0: there was none
}

// read reads a shard's records together with its claim (docs/contract/journal.md, rule 6), for ten seconds at most: a small
// shard with one question, others bucket by bucket. With them come the switches that are gone, which the first shard of the stream keeps. From a
// replica that lags come an older claim, or none, and records that may be as old.
func (s *stream) read(shard int) (content, error) {
	ctx, cancel := context.WithTimeout(s.j.ctx, 10*time.Second)
	defer cancel()
	base, keeper := strconv.Itoa(shard)+".", strconv.Itoa(shard%len(s.j.streams))+"."
	var c content
	found, err := s.store.last(ctx, base+"claim", base+"*.*.*", keeper+"*."+kindGone+".*")
	if err == nil {
		return c, c.add(s.store.subject, shard, found)
	}
	if !errors.Is(err, errTooMany) {
		return c, err
	}
	for b := range 16 {
		bucket := strconv.FormatInt(int64(b), 16)
		for i, read := range []func() ([]*nats.Msg, error){
			func() ([]*nats.Msg, error) { return s.bucket(ctx, base, bucket) },
			func() ([]*nats.Msg, error) { return s.store.last(ctx, base+"claim", keeper+bucket+"."+kindGone+".*") },
		} {
			if found, err = read(); err != nil {
				return c, err
			}
			var part content
			if err = part.add(s.store.subject, shard, found); err != nil {
				return c, err
			}
			if b == 0 && i == 0 || part.sequence < c.sequence { // all parts together are only as new as the oldest claim
				c.claim, c.sequence = part.claim, part.sequence
			}
			c.records = append(c.records, part.records...)
		}
	}
	return c, nil
}

// kindGone is the kind of the records of switches that are gone, as subjects have it.
const kindGone = string(rune(presence.KindGone))

// bucket reads one of the 16 buckets of a shard with the claim, in pages if it is too large for one answer.
func (s *stream) bucket(ctx context.Context, base, bucket string) ([]*nats.Msg, error) {
	filter := base + bucket + ".*.*"
	found, err := s.store.last(ctx, base+"claim", filter)
	if errors.Is(err, errTooMany) {
		return s.store.pages(ctx, filter, base+">", base+"claim", base+bucket+".")
	}
	return found, err
}

// add takes the messages of an answer in. base is what the subjects of the stream begin with. Of other shards it takes only which switches
// are gone.
func (c *content) add(base string, shard int, found []*nats.Msg) error {
	for _, m := range found {
		subject, sequence, at := parseStored(m)
		of, name, _ := strings.Cut(strings.TrimPrefix(subject, base), ".")
		own := of == strconv.Itoa(shard)
		if own && name == "claim" {
			claim, err := decodeClaim(m.Data)
			if errors.Is(err, errNewer) {
				return err
			}
			c.claim, c.sequence = claim, sequence // one that can't be read is not ours, and newer or older than ours
			continue
		}
		if len(name) > 4 && name[1] == '.' && name[3] == '.' && (own || name[2:3] == kindGone) { // <bucket>.<kind>.<hash>
			c.records = append(c.records, actors.Stored{Kind: presence.Kind(name[2]), Data: m.Data, At: at})
		}
	}
	return nil
}

// Reload implements actors.Journal.
func (j *Journal) Reload(shard int, give func([]actors.Stored, error)) {
	j.done.Go(func() {
		s := j.of(shard)
		s.mu.Lock()
		claim, sequence := s.machine.Claim(shard)
		s.mu.Unlock()
		c, err := s.read(shard)
		if ok, _ := s.machine.Covers(claim, sequence, c.claim, c.sequence); err == nil && !ok {
			err = errBehind
		}
		give(c.records, err)
	})
}

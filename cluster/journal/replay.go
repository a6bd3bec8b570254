package journal

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// replayer reads shards until none is left to read: those first that someone waits for.
func (s *stream) replayer() {
	for {
		s.mu.Lock()
		if len(s.replays) == 0 || s.j.ctx.Err() != nil {
			s.replaying--
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

// replay reads a shard until the answer covers the claim, and opens it.
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
				l.life = open.Claim.Generation
				s.j.opened[a.Shard].Store(l.life)
				s.j.metrics.takeovers.Inc()
				s.j.shards.Open(a.Shard, actors.Opening{Claim: s.claimOf(open), Records: r.records, Since: open.Since, All: open.All, End: open.End})
			}
		}
		s.mu.Unlock()
		switch {
		case err == nil && (ok || newer), !wanted: // if it is another's, the stream shows whose
			return
		case err != nil:
			s.j.log.Warn("a shard can't be read yet", "shard", a.Shard, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-s.j.ctx.Done():
		}
	}
}

// content is a shard's records, and the claim that all of them are at least as new as.
type content struct {
	records  []actors.Stored
	claim    ownership.Claim
	sequence uint64
}

// read gives a shard's records together with its claim (docs/contract/journal.md, rule 6): whole if it is small, else by its 16
// buckets. A replica that lags gives an older claim, or none.
func (s *stream) read(shard int) (content, error) {
	ctx, cancel := context.WithTimeout(s.j.ctx, 10*time.Second)
	defer cancel()
	base := strconv.Itoa(shard) + "."
	var c content
	found, err := s.store.last(ctx, base+"claim", base+"*.*.*")
	if err == nil {
		return c, c.add(s.store.subject+base, found)
	}
	if !errors.Is(err, errTooMany) {
		return c, err
	}
	for b := range 16 {
		if found, err = s.bucket(ctx, base, strconv.FormatInt(int64(b), 16)); err != nil {
			return c, err
		}
		var part content
		if err = part.add(s.store.subject+base, found); err != nil {
			return c, err
		}
		if b == 0 || part.sequence < c.sequence { // the oldest claim says what all of them cover
			c.claim, c.sequence = part.claim, part.sequence
		}
		c.records = append(c.records, part.records...)
	}
	return c, nil
}

// bucket reads one of the 16 buckets of a shard, in pages if even that is too much for one answer.
func (s *stream) bucket(ctx context.Context, base, bucket string) ([]*nats.Msg, error) {
	filter := base + bucket + ".*.*"
	found, err := s.store.last(ctx, base+"claim", filter)
	if errors.Is(err, errTooMany) {
		return s.store.pages(ctx, filter, base+">", base+"claim", base+bucket+".")
	}
	return found, err
}

func (c *content) add(base string, found []*nats.Msg) error {
	for _, m := range found {
		subject, sequence, at := stored(m)
		name := strings.TrimPrefix(subject, base)
		if name == "claim" {
			claim, err := decodeClaim(m.Data)
			if err != nil {
				return err
			}
			c.claim, c.sequence = claim, sequence
			continue
		}
		if len(name) > 4 && name[1] == '.' && name[3] == '.' {
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

package actors

import (
	"context"
	"errors"
	"time"

	"lamplight/actors/presence"
)

// sweepParallel is how many extensions of a realm are asked at a time.
const sweepParallel = 64

// Swept is what became of a command to all extensions of a realm. A shard of those asked for that is in neither set
// surely was not touched.
type Swept struct {
	Done    ShardSet // every extension of it has done the command
	Unknown ShardSet // some of it may have, and not all are known to
}

// Sweep gives a command to every extension of the realm in the shards of only, once.
func (s *System) Sweep(ctx context.Context, realm string, only *ShardSet, deadline time.Time, command presence.Event) Swept {
	w := sweep{replies: make(chan sweepReply, sweepParallel)}
	before := s.generations()
	for from := ""; !w.cut; {
		names, next := s.realms.names(realm, from, "", only, sweepSize)
		for _, a := range names {
			w.collect(ctx, sweepParallel-1)
			shard := ShardOf(a)
			if before[shard] == 0 || w.cut {
				w.refused.Add(shard)
				continue
			}
			w.inFlight++
			w.asked[shard]++
			s.Do(Request{To: a, Message: command, Deadline: deadline}, func(an Answer) { w.replies <- sweepReply{shard, an.Err} }, false)
		}
		if from = next; next == "" {
			break
		}
	}
	w.collect(ctx, 0)
	after := s.generations()
	vouched := after
	stale := s.cfg.Journal.Vouch(&vouched)
	for shard, generation := range after {
		if !only.Has(shard) {
			continue
		}
		whole := before[shard] != 0 && generation == before[shard] && !w.cut
		switch {
		case whole && !w.unknown.Has(shard) && !w.refused.Has(shard) && (w.did.Has(shard) || vouched[shard] != 0 && !stale):
			w.Done.Add(shard)
		case w.did.Has(shard) || w.unknown.Has(shard):
			w.Unknown.Add(shard)
		}
	}
	return w.Swept
}

type sweepReply struct {
	shard int
	err   error
}

// sweep is a Sweep under way.
type sweep struct {
	Swept
	replies               chan sweepReply
	inFlight              int
	asked                 [Shards]uint32 // extensions that have not answered
	cut                   bool           // the context ended first
	did, unknown, refused ShardSet
}

// collect takes replies until no more than most are missing.
func (w *sweep) collect(ctx context.Context, most int) {
	for w.inFlight > most && !w.cut {
		select {
		case r := <-w.replies:
			w.inFlight--
			w.asked[r.shard]--
			w.take(r)
		case <-ctx.Done():
			w.cut = true
			for shard, n := range w.asked {
				if n > 0 {
					w.unknown.Add(shard)
				}
			}
		}
	}
}

func (w *sweep) take(r sweepReply) {
	switch {
	case r.err == nil:
		w.did.Add(r.shard)
	case errors.Is(r.err, ErrUnknown):
		w.unknown.Add(r.shard)
	default:
		w.refused.Add(r.shard)
	}
}

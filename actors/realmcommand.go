package actors

import (
	"context"
	"errors"
	"time"

	"lamplight/actors/presence"
)

// Bounds of a command to a realm.
const (
	realmCommandPage     = 500 // extensions whose names are held at a time
	realmCommandParallel = 64  // extensions that are asked at a time
)

// Commanded is the result of a command to all extensions of a realm. A shard that was asked for and is in neither set
// has not been touched.
type Commanded struct {
	Done    ShardSet // every extension of the shard has done the command
	Unknown ShardSet // extensions of the shard may have done it, and it is not known whether all have

	Extensions int // the number of extensions that have done it
}

// CommandRealm gives a command once to every extension of the realm in the shards of only. It returns when all have
// answered or the context ends. Each extension gets the command with this deadline (Request.Deadline) and origin (Request.Origin).
func (s *System) CommandRealm(ctx context.Context, realm string, only *ShardSet, deadline time.Time, command Message, origin presence.Origin) Commanded {
	w := realmCommand{replies: make(chan realmReply, realmCommandParallel)}
	before := s.generations()
	for from := ""; !w.cut; {
		names, next := s.realms.names(realm, from, "", only, realmCommandPage)
		for _, a := range names {
			w.collect(ctx, realmCommandParallel-1)
			shard := ShardOf(a)
			if before[shard] == 0 || w.cut {
				w.refused.Add(shard)
				continue
			}
			w.inFlight++
			w.asked[shard]++
			s.Do(Request{To: a, Message: command, Deadline: deadline, Origin: origin}, func(an Answer) { w.replies <- realmReply{shard, an.Err} }, false)
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
		// A shard that closed meanwhile may have lost extensions from the index before they were asked. A shard in which
		// no extension wrote anything is done only if the lease says that it is still ours.
		whole := before[shard] != 0 && generation == before[shard] && !w.cut
		switch {
		case whole && !w.unknown.Has(shard) && !w.refused.Has(shard) && (w.did.Has(shard) || vouched[shard] != 0 && !stale):
			w.Done.Add(shard)
		case w.did.Has(shard) || w.unknown.Has(shard):
			w.Unknown.Add(shard)
		}
	}
	return w.Commanded
}

// realmReply is how one extension of a shard answered a command.
type realmReply struct {
	shard int
	err   error
}

// realmCommand is a CommandRealm under way. Only the goroutine of CommandRealm uses it, but for replies, which has room
// for all extensions that are asked at a time.
type realmCommand struct {
	Commanded
	replies               chan realmReply
	inFlight              int
	asked                 [Shards]uint32 // the number of each shard's extensions that have not answered
	cut                   bool           // the context ended first
	did, unknown, refused ShardSet       // shards of which at least one extension answered so
}

// collect takes replies until no more than most are missing.
func (w *realmCommand) collect(ctx context.Context, most int) {
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

func (w *realmCommand) take(r realmReply) {
	switch {
	case r.err == nil:
		w.did.Add(r.shard)
		w.Extensions++
	case errors.Is(r.err, ErrUnknown):
		w.unknown.Add(r.shard)
	default:
		w.refused.Add(r.shard)
	}
}

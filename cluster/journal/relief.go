package journal

import (
	"context"
	"errors"
	"time"
)

// A clustered stream's leader lets one conditional write per subject of a condition be on its way, and refuses others
// meanwhile (10164). nats-server 2.15.2 can fail to notice that such a write has ended when the stream's leader has
// changed shortly before: then it refuses every write of that shard, its next claim and its release too, or every
// heartbeat of a node, until the stream has grown by as much as it counted wrong, or its leader changes. So a stream
// that refuses one subject for long while it answers gets another leader, who begins with a clean sheet.
const (
	refusedFor  = time.Second     // all conditional writes on one subject, and no other outcome
	reliefEvery = 5 * time.Second // an election must have its time
)

// condition notes how a write on condition of a subject ended. The lock is held.
func (s *stream) condition(subject string, err error, now time.Time) {
	if !errors.Is(err, errInProcess) {
		delete(s.refused, subject)
		return
	}
	since, before := s.refused[subject]
	switch {
	case !before:
		s.refused[subject] = now
	case now.Sub(since) >= refusedFor && now.Sub(s.relieved) >= reliefEvery:
		s.relieved = now
		clear(s.refused)
		s.j.metrics.relieved.Inc()
		s.j.log.Warn("the stream's leader takes a write for one under way that has ended; it is asked to step down", "stream", s.store.name, "subject", subject)
		s.j.done.Go(s.newLeader)
	}
}

// newLeader asks the stream's leader to step down. An answer that does not come needs nothing: the next refusals ask again.
func (s *stream) newLeader() {
	ctx, cancel := context.WithTimeout(s.j.ctx, reliefEvery)
	defer cancel()
	answer, err := s.store.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+s.store.name, nil)
	if err != nil {
		s.j.log.Warn("the stream's leader does not answer", "stream", s.store.name, "err", err)
		return
	}
	s.j.log.Debug("the stream's leader steps down", "stream", s.store.name, "answer", string(answer.Data))
}

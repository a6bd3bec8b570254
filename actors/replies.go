package actors

import (
	"time"

	"lamplight/actors/presence"
)

// replies are what watchers of some extensions of one shard answered.
type replies []presence.Addressed

// Notified hands the replies of watchers of one shard over in one message; each of all is a presence.Notified. It does not wait. Replies are
// best effort: those to a shard that is not open here, or takes nothing more, are dropped, and the watcher's next one counts.
func (s *System) Notified(shard int, all []presence.Addressed) { s.tell(shard, replies(all)) }

// reply applies one of them.
func (s *shard) reply(to Address, n presence.Notified, now time.Time) {
	if !s.open || s.flushing || n.Failed() && s.standing() == CutOff {
		return
	}
	if x := s.extensions[to]; x != nil && !x.broken {
		s.apply(x, n, nil, now)
	}
}

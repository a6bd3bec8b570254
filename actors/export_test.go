package actors

import (
	"time"

	"lamplight/actors/presence"
)

// Rules are the system's rules, as extensions see them.
func (s *System) Rules() *presence.Rules { return &s.cfg.Rules }

// Break has an extension panic at its next event: it takes its state away.
func (s *System) Break(to Address) {
	s.shards[ShardOf(to)].extensions[to].state = presence.New(to.Realm, to.User, nil)
}

// TickedAt sets when a shard had its last tick.
func (s *System) TickedAt(shard int, at time.Time) { s.shards[shard].ticked = at }

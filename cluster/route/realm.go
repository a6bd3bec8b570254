package route

import (
	"context"
	"errors"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// ResetRealm resets every extension of the realm.
func (r *Router) ResetRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.each(ctx, wire.Sweep{Realm: realm, Reset: true})
}

// EndRealm ends all that is held of a realm that no account has any more.
func (r *Router) EndRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.each(ctx, wire.Sweep{Realm: realm, Reason: "noresource"})
}

// swept is what became of one request of a realm's command.
type swept struct {
	only actors.ShardSet
	actors.Swept
	err error
}

// each has every shard do a command once: its owner does it for all that it owns in one request. Shards that surely have
// not done it are asked again, of their owner by then, until the deadline. The coverage names what is not known to be
// done; the error is then ErrUnknown.
func (r *Router) each(ctx context.Context, command wire.Sweep) (cover actors.Coverage, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.cfg.Timeout)
	}
	todo, unknown := actors.AllShards(), actors.ShardSet{}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for _, s := range r.sweepOwners(ctx, deadline, command, &todo) {
			done := s.Done
			switch {
			case errors.Is(s.err, actors.ErrUnknown):
				unknown.Merge(&s.only)
				done.Merge(&s.only)
			case s.err == nil:
				unknown.Merge(&s.Unknown)
				done.Merge(&s.Unknown)
			}
			for _, shard := range done.List() {
				todo.Remove(shard)
			}
		}
		if todo.Empty() || r.cutOff() || !sleep(ctx, deadline, pause) {
			break
		}
	}
	todo.Merge(&unknown)
	if cover.Missing = todo.List(); cover.Missing != nil {
		err = actors.ErrUnknown
	}
	return cover, err
}

// sleep says whether the deadline leaves time for another try.
func sleep(ctx context.Context, deadline time.Time, pause time.Duration) bool {
	if time.Until(deadline) <= pause {
		return false
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// owners groups shards by who owns them now; those of which it isn't known are left out.
func (r *Router) owners(shards *actors.ShardSet) map[string]*actors.ShardSet {
	by := map[string]*actors.ShardSet{}
	for _, shard := range shards.List() {
		holder := r.cfg.Node
		if r.cfg.System.Generation(shard) == 0 {
			holder = r.cfg.Owners.Holder(shard)
		}
		if holder == "" {
			continue
		}
		if by[holder] == nil {
			by[holder] = &actors.ShardSet{}
		}
		by[holder].Add(shard)
	}
	return by
}

// sweepOwners asks the owners of some shards, all at a time.
func (r *Router) sweepOwners(ctx context.Context, deadline time.Time, command wire.Sweep, todo *actors.ShardSet) (all []swept) {
	owners := r.owners(todo)
	results := make(chan swept, len(owners))
	local := (*wire.Sweep)(nil)
	for node, only := range owners {
		m := command
		m.Only = *only
		if node == r.cfg.Node {
			local = &m
			continue
		}
		r.ask(node, &try{router: r, req: actors.Request{Message: &m, Deadline: deadline}, raw: func(body string, err error) {
			s := swept{only: m.Only, err: err}
			if err == nil {
				if s.Swept, err = wire.ReadSwept(body); err != nil {
					s.err = actors.ErrUnknown
				}
			}
			results <- s
		}})
	}
	if local != nil {
		results <- swept{only: local.Only, Swept: r.sweep(ctx, deadline, local)}
	}
	for range owners { // each comes by the deadline
		all = append(all, <-results)
	}
	return all
}

// sweep does a command in shards of this node.
func (r *Router) sweep(ctx context.Context, deadline time.Time, m *wire.Sweep) actors.Swept {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(time.Second)) // past the deadline the shards answer
	defer cancel()
	var command presence.Event = presence.End{Reason: m.Reason}
	if m.Reset {
		command = presence.Reset{}
	}
	return r.cfg.System.Sweep(ctx, m.Realm, &m.Only, deadline, command)
}

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
	return r.each(ctx, wire.RealmCommand{Realm: realm, Reset: true})
}

// EndRealm ends all that is held of a realm that no account has any more.
func (r *Router) EndRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.each(ctx, wire.RealmCommand{Realm: realm, Reason: "noresource"})
}

// commanded is what became of one request of a realm's command.
type commanded struct {
	only actors.ShardSet
	actors.Commanded
	err error
}

// each has every shard do a command once: its owner does it for all that it owns in one request. Shards that surely have
// not done it are asked again, of their owner by then, until the deadline. The coverage names what is not known to be
// done; the error is then ErrUnknown.
func (r *Router) each(ctx context.Context, command wire.RealmCommand) (cover actors.Coverage, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.cfg.Timeout)
	}
	todo, unknown := actors.AllShards(), actors.ShardSet{}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for _, s := range r.commandOwners(ctx, deadline, command, &todo) {
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

// commandOwners asks the owners of some shards, all at a time.
func (r *Router) commandOwners(ctx context.Context, deadline time.Time, command wire.RealmCommand, todo *actors.ShardSet) (all []commanded) {
	owners := r.owners(todo)
	results := make(chan commanded, len(owners))
	local := (*wire.RealmCommand)(nil)
	for node, only := range owners {
		m := command
		m.Only = *only
		if node == r.cfg.Node {
			local = &m
			continue
		}
		r.ask(node, &try{router: r, req: actors.Request{Deadline: deadline}, node: &question{command: &m, answered: func(body string, err error) {
			s := commanded{only: m.Only, err: err}
			if err == nil {
				if s.Commanded, err = wire.ReadCommanded(body); err != nil {
					s.err = actors.ErrUnknown
				}
			}
			results <- s
		}}})
	}
	if local != nil {
		results <- commanded{only: local.Only, Commanded: r.command(ctx, deadline, local)}
	}
	for range owners { // each comes by the deadline
		all = append(all, <-results)
	}
	return all
}

// command does a command in shards of this node.
func (r *Router) command(ctx context.Context, deadline time.Time, m *wire.RealmCommand) actors.Commanded {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(time.Second)) // past the deadline the shards answer
	defer cancel()
	var command actors.Message = presence.End{Reason: m.Reason}
	if m.Reset {
		command = presence.Reset{}
	}
	return r.cfg.System.CommandRealm(ctx, m.Realm, &m.Only, deadline, command)
}

package route

import (
	"context"
	"errors"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// ResetRealm resets every extension of the realm, on all nodes, and blocks until that is done or the context's deadline
// has come; without one, the default time of a request. The coverage names the shards that may not have been reset; the
// error is then actors.ErrUnknown. origin is who asks.
func (r *Router) ResetRealm(ctx context.Context, realm string, origin presence.Origin) (actors.Coverage, error) {
	return r.commandAll(ctx, wire.WideCommand{Realm: realm, Reset: true, Origin: origin})
}

// EndRealm ends all subscriptions and states of a realm that no account has any more. It is otherwise like ResetRealm.
func (r *Router) EndRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.commandAll(ctx, wire.WideCommand{Realm: realm, Reason: "noresource"})
}

// EndSwitch ends the calls of a switch that were last heard of before a moment, on all nodes, and blocks until that is done or the
// context's deadline has come; without one, the default time of a request. Extensions of the coverage is the number of calls. To repeat
// it does no harm, so shards are asked until they have surely done it.
func (r *Router) EndSwitch(ctx context.Context, gone presence.SwitchGone) (actors.Coverage, error) {
	if now := time.Now(); gone.Before.IsZero() || gone.Before.After(now.Add(time.Minute)) {
		gone.Before = now
	}
	command := wire.WideCommand{Gone: gone, Origin: gone.Origin}
	keepers, others := r.cfg.System.Keepers(), actors.AllShards()
	if err := r.cfg.System.Depart(gone); err != nil {
		return actors.Coverage{Missing: others.List()}, err
	}
	first, err := r.commandShards(ctx, command, keepers)
	if err != nil {
		first.Missing = others.List()
		return first, err
	}
	for _, shard := range keepers.List() {
		others.Remove(shard)
	}
	cover, err := r.commandShards(ctx, command, others)
	cover.Extensions += first.Extensions
	return cover, err
}

// commanded is the outcome of a command in the shards of one node.
type commanded struct {
	only actors.ShardSet // the shards that the node was asked to do
	actors.Commanded
	err error
}

// commandAll has every shard carry out a command once.
func (r *Router) commandAll(ctx context.Context, command wire.WideCommand) (actors.Coverage, error) {
	return r.commandShards(ctx, command, actors.AllShards())
}

// commandShards has some shards carry out a command once. One request asks a node for all the shards that it owns. Shards
// that surely did not carry it out are asked again, through their owner of that time, until the deadline. No shard is
// asked again whose outcome is unknown, unless the command is about a switch: any other that is carried out twice could undo what
// came in between.
func (r *Router) commandShards(ctx context.Context, command wire.WideCommand, todo actors.ShardSet) (cover actors.Coverage, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.cfg.Timeout)
	}
	unknown := actors.ShardSet{}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		for _, s := range r.commandOwners(ctx, deadline, command, &todo) {
			done := s.Done
			cover.Extensions += s.Extensions
			switch {
			case command.Gone.Switch != "": // what is unknown is asked again
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

// sleep blocks for the pause. It returns false when the context ends, and at once when the deadline leaves no time for
// another try.
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

// owners groups shards by the node that owns them now. It leaves out shards whose owner is not known.
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

// commandOwners asks the owners of some shards at the same time, and blocks until all have answered. That may be a second
// after the deadline.
func (r *Router) commandOwners(ctx context.Context, deadline time.Time, command wire.WideCommand, todo *actors.ShardSet) (all []commanded) {
	owners := r.owners(todo)
	results := make(chan commanded, len(owners))
	local := (*wire.WideCommand)(nil)
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
	for range owners {
		all = append(all, <-results)
	}
	return all
}

// command carries out a command in shards of this node, and blocks until they have answered.
func (r *Router) command(ctx context.Context, deadline time.Time, m *wire.WideCommand) actors.Commanded {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(time.Second)) // the shards' answers may come soon after the deadline
	defer cancel()
	if m.Gone.Switch != "" {
		gone := m.Gone
		gone.Origin = m.Origin
		return r.cfg.System.EndSwitch(ctx, gone, &m.Only, deadline)
	}
	var command actors.Message = presence.End{Reason: m.Reason}
	if m.Reset {
		command = presence.Reset{}
	}
	return r.cfg.System.CommandRealm(ctx, m.Realm, &m.Only, deadline, command, m.Origin)
}

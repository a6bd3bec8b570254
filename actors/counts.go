package actors

import (
	"sync"
	"sync/atomic"
	"unique"

	"lamplight/actors/presence"
)

// counts is a node's index from a name to what the extensions of each shard have under it: of an edge the watchers behind it, of a
// switch the calls on it. Any goroutine may use it.
type counts struct {
	mu    sync.Mutex
	names map[string]*counted
}

// counted is what all shards have under one name.
type counted struct {
	shards   ShardSet     // those that have something; counts.mu guards it
	total    atomic.Int64 // of all extensions
	answered atomic.Bool  // of an edge: some watcher behind it has answered a NOTIFY
}

// enter notes that a shard has something under a name.
func (c *counts) enter(name string, shard int) *counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[name]
	if n == nil {
		n = &counted{}
		c.names[name] = n
	}
	n.shards.Add(shard)
	return n
}

// leave notes that a shard has nothing more under a name.
func (c *counts) leave(name string, shard int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[name]; n != nil {
		if n.shards.Remove(shard); n.shards.Empty() {
			delete(c.names, name)
		}
	}
}

// of returns the shards that have something under a name.
func (c *counts) of(name string) (in ShardSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[name]; n != nil {
		in = n.shards
	}
	return in
}

// has says whether any shard has something under a name.
func (c *counts) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[name] != nil
}

// totals returns what all shards have under each name.
func (c *counts) totals() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]int, len(c.names))
	for name, n := range c.names {
		all[name] = int(n.total.Load())
	}
	return all
}

// answered says whether watchers behind an edge have answered a NOTIFY.
func (c *counts) answered(edge string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[edge]
	return n != nil && n.answered.Load()
}

// shardCounts is the part of counts that is about one shard, with the extensions. Only the shard uses it, in its turn.
type shardCounts struct {
	node  *counts
	shard int
	names map[string]shardCounted
}

// shardCounted is what the extensions of a shard have under one name.
type shardCounted struct {
	of   map[*extension]int32
	node *counted
}

// add notes how an extension's counts have changed.
func (c *shardCounts) add(x *extension, changes []presence.CountChange) {
	for _, change := range changes {
		n, known := c.names[change.Name]
		if !known {
			name := unique.Make(change.Name).Value() // one copy for all shards, that keeps nothing else in memory
			n = shardCounted{map[*extension]int32{}, c.node.enter(name, c.shard)}
			if c.names == nil {
				c.names = map[string]shardCounted{}
			}
			c.names[name] = n
		}
		n.node.total.Add(int64(change.By))
		if n.of[x] += change.By; n.of[x] > 0 {
			continue
		}
		if delete(n.of, x); len(n.of) == 0 {
			delete(c.names, change.Name)
			c.node.leave(change.Name, c.shard)
		}
	}
}

// answered is counts.answered for an edge that has watchers of this shard. It is false for all other edges.
func (c *shardCounts) answered(edge string) bool {
	of, known := c.names[edge]
	return known && of.node.answered.Load()
}

// remove forgets an extension. The extension may have panicked in the middle of a change, so remove does not ask it.
func (c *shardCounts) remove(x *extension) {
	for name, n := range c.names {
		if had := n.of[x]; had > 0 {
			c.add(x, []presence.CountChange{{Name: name, By: -had}})
		}
	}
}

// clear forgets all extensions.
func (c *shardCounts) clear() {
	for name, n := range c.names {
		for _, had := range n.of {
			n.node.total.Add(-int64(had))
		}
		c.node.leave(name, c.shard)
	}
	c.names = nil
}

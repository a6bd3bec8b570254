package actors

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/btree"
)

// realms is the node's index from a realm to the names of its extensions, in order. With it a listing costs only the
// extensions that it lists, and any part of a realm can be read without the rest. Its methods may be called from any
// goroutine.
type realms struct {
	mu   sync.RWMutex // a shard takes it in its turn; nothing is called under it
	of   map[string]*realm
	free *btree.FreeListG[string]
}

// realm is what the node holds of one realm.
type realm struct {
	users         *btree.BTreeG[string]
	subscriptions atomic.Int64
}

func newRealms() realms {
	return realms{of: map[string]*realm{}, free: btree.NewFreeListG[string](64)}
}

func (r *realms) add(a Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of[a.Realm]
	if one == nil {
		one = &realm{users: btree.NewWithFreeListG(16, func(a, b string) bool { return a < b }, r.free)}
		r.of[a.Realm] = one
	}
	one.users.ReplaceOrInsert(a.User)
}

func (r *realms) remove(a Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.of[a.Realm]; one != nil {
		one.users.Delete(a.User)
		if one.users.Len() == 0 {
			delete(r.of, a.Realm)
		}
	}
}

// count notes that a realm of which the node holds an extension has more or fewer subscriptions. It returns their number.
func (r *realms) count(name string, by int) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if one := r.of[name]; one != nil {
		return one.subscriptions.Add(int64(by))
	}
	return 0
}

// Subscriptions returns how many subscriptions of each realm this node holds.
func (s *System) Subscriptions() map[string]int {
	s.realms.mu.RLock()
	defer s.realms.mu.RUnlock()
	all := make(map[string]int, len(s.realms.of))
	for name, one := range s.realms.of {
		if n := one.subscriptions.Load(); n > 0 {
			all[strings.Clone(name)] = int(n)
		}
	}
	return all
}

// names returns the first extensions of the realm that are not before from and, unless until is "", before until. It
// returns at most most of them, and only those of the shards in only (nil: of all shards). next is the first such
// extension that did not fit; "": all did.
func (r *realms) names(realm, from, until string, only *ShardSet, most int) (names []Address, next string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	one := r.of[realm]
	if one == nil {
		return nil, ""
	}
	one.users.AscendGreaterOrEqual(from, func(u string) bool {
		a := Address{Realm: realm, User: u}
		switch {
		case until != "" && u >= until:
			return false
		case only != nil && !only.Has(ShardOf(a)):
			return true
		case len(names) == most:
			next = u
			return false
		}
		names = append(names, a)
		return true
	})
	return names, next
}

// Realms lists the realms of which this node holds an extension, in no order.
func (s *System) Realms() []string {
	s.realms.mu.RLock()
	defer s.realms.mu.RUnlock()
	names := make([]string, 0, len(s.realms.of))
	for r := range s.realms.of {
		names = append(names, strings.Clone(r))
	}
	return names
}

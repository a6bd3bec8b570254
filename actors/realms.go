package actors

import (
	"strings"
	"sync"

	"github.com/google/btree"
)

// realms is the node's index from a realm to the names of its extensions, in order. With it a listing costs only the
// extensions that it lists, and any part of a realm can be read without the rest. Its methods may be called from any
// goroutine.
type realms struct {
	mu   sync.RWMutex // a shard takes it in its turn; nothing is called under it
	of   map[string]*btree.BTreeG[string]
	free *btree.FreeListG[string]
}

func newRealms() realms {
	return realms{of: map[string]*btree.BTreeG[string]{}, free: btree.NewFreeListG[string](64)}
}

func (r *realms) add(a Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	users := r.of[a.Realm]
	if users == nil {
		users = btree.NewWithFreeListG(16, func(a, b string) bool { return a < b }, r.free)
		r.of[a.Realm] = users
	}
	users.ReplaceOrInsert(a.User)
}

func (r *realms) remove(a Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if users := r.of[a.Realm]; users != nil {
		users.Delete(a.User)
		if users.Len() == 0 {
			delete(r.of, a.Realm)
		}
	}
}

// names returns the first extensions of the realm that are not before from and, unless until is "", before until. It
// returns at most most of them, and only those of the shards in only (nil: of all shards). next is the first such
// extension that did not fit; "": all did.
func (r *realms) names(realm, from, until string, only *ShardSet, most int) (names []Address, next string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	users := r.of[realm]
	if users == nil {
		return nil, ""
	}
	users.AscendGreaterOrEqual(from, func(u string) bool {
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

package actors

import "math/bits"

// ShardSet is a set of shards. The zero value is the empty set.
type ShardSet [Shards / 64]uint64

// AllShards returns the set of all shards.
func AllShards() (s ShardSet) {
	for i := range s {
		s[i] = ^uint64(0)
	}
	return s
}

// Add puts a shard into the set.
func (s *ShardSet) Add(shard int) { s[shard/64] |= 1 << (shard % 64) }

// Remove takes a shard out of the set.
func (s *ShardSet) Remove(shard int) { s[shard/64] &^= 1 << (shard % 64) }

// Has says whether the shard is in the set.
func (s *ShardSet) Has(shard int) bool { return s[shard/64]>>(shard%64)&1 == 1 }

// Merge puts all shards of other into the set.
func (s *ShardSet) Merge(other *ShardSet) {
	for i := range s {
		s[i] |= other[i]
	}
}

// Empty says that no shard is in the set.
func (s *ShardSet) Empty() bool { return *s == ShardSet{} }

// Missing returns the shards that are not in the set, in rising order; nil when all are.
func (s *ShardSet) Missing() []int {
	rest := ShardSet{}
	for i, word := range s {
		rest[i] = ^word
	}
	return rest.List()
}

// List returns the shards of the set in rising order; nil when it is empty.
func (s *ShardSet) List() (shards []int) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			shards = append(shards, i*64+bits.TrailingZeros64(word))
		}
	}
	return shards
}

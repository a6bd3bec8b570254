package journal

import "lamplight/actors"

// layout says which shards share a range, and in which stream a range lives. It is fixed when the journal is made, and stands in the
// metadata of the first stream.
//
// The first shard of each stream keeps which switches are gone, and is read with every range of the stream. So that this is little, it is alone in its
// range: shard n of the streams is the range n. All other shards are dealt out to the ranges behind these. A shard, and so its range, lives in the
// stream that its number modulo the number of streams says.
type layout struct {
	streams int
	shared  int // the number of ranges that several shards share; a multiple of streams
}

// The number of ranges that shards share in a new journal. The fewer ranges a node has, the more records go together in a message. The more there are,
// the more evenly they are spread over many nodes.
const (
	singleRanges     = 64  // with one replica
	replicatedRanges = 256 // with several
)

// mostRanges is the highest number of ranges that shards share: each must have a shard.
const mostRanges = actors.Shards / 2

// maxRanges is the highest number of ranges of all.
const maxRanges = actors.Shards + maxStreams

// newLayout returns the layout of a new journal. ranges is the number of those that shards share; 0: the one above.
func newLayout(streams, replicas, ranges int) layout {
	switch {
	case ranges > 0:
	case replicas > 1:
		ranges = replicatedRanges
	default:
		ranges = singleRanges
	}
	return layout{streams, max(min(ranges, mostRanges)/streams, 1) * streams}
}

// ranges is the number of ranges of all.
func (y layout) ranges() int { return y.streams + y.shared }

// slots is how many slots a range may have, however few records it has; with more records it may have mostSlots. With few slots, a record that is written
// alone carries on many others. A slot costs 140 bytes of memory in NATS, and a takeover reads all of them. So it is few where there are several replicas:
// one question then reads two ranges, because NATS answers with 1,024 messages at most.
func (y layout) slots() int {
	if y.shared > singleRanges {
		return replicatedSlots
	}
	return mostSlots
}

const (
	replicatedSlots = 500
	mostSlots       = 4000
)

// keeper returns the range that keeps, for another one, which switches are gone.
func (y layout) keeper(id int) int { return id % y.streams }

// of returns the range of a shard.
func (y layout) of(shard int) int {
	if shard < y.streams {
		return shard
	}
	return y.streams + shard%y.shared
}

// RangeOf returns the range of a shard in a new journal with several replicas.
func RangeOf(shard int) int { return newLayout(replicatedStreams, 3, 0).of(shard) }

// place says where a shard is: its range, and the how-manyth of its shards it is.
type place struct{ of, index int }

// places returns the place of each shard.
func (y layout) places() (all [actors.Shards]place) {
	next := make([]int, y.ranges())
	for shard := range all {
		id := y.of(shard)
		all[shard] = place{id, next[id]}
		next[id]++
	}
	return all
}

package edge

import (
	"strings"
	"time"
)

const (
	// patience is how long a message may be missing. After that it will not come: its node has forgotten it, or is gone.
	patience = 15 * time.Second
	// maxBeyond is how many messages of one source may wait behind a gap, for the same reason.
	maxBeyond = 64 << 10
)

// sources are the incarnations of nodes that were heard, by "<node>/<incarnation>". It has no lock: its caller has one.
type sources map[string]*source

type source struct {
	seen   int64 // nothing is missing up to here
	newest int64
	beyond map[int64]bool // what came behind a gap
	since  time.Time      // when the gap began; zero: there is none
	heard  time.Time
}

// arrival is what a message is in the order of its source.
type arrival struct {
	repeated  bool // it came out of its turn, because the node sent it again
	duplicate bool // it had come before
	gap       bool // something is missing from here on, and it is time to say so
}

// take notes the message with a number.
func (all sources) take(name string, n int64, now time.Time) (a arrival) {
	s := all[name]
	if s == nil {
		s = &source{beyond: map[int64]bool{}}
		all[name] = s
	}
	s.heard = now
	if n <= s.seen || s.beyond[n] {
		return arrival{repeated: true, duplicate: true}
	}
	a.repeated = n < s.newest
	s.newest = max(s.newest, n)
	if n == s.seen+1 {
		s.seen = n
	} else {
		s.beyond[n] = true
	}
	for len(s.beyond) > 0 && s.beyond[s.seen+1] {
		delete(s.beyond, s.seen+1)
		s.seen++
	}
	switch {
	case len(s.beyond) == 0:
		s.since = time.Time{}
	case len(s.beyond) > maxBeyond:
		s.giveUp()
	case s.since.IsZero():
		s.since, a.gap = now, true
	}
	return a
}

// giveUp waits no longer for what is missing.
func (s *source) giveUp() {
	s.seen, s.since = s.newest, time.Time{}
	clear(s.beyond)
}

// report is what the edge says that it has seen: for each source up to where nothing is missing. It forgets the earlier
// incarnations of a node that was started again.
func (all sources) report(now time.Time) map[string]int64 {
	newest := map[string]time.Time{} // by node
	for name, s := range all {
		node := name[:strings.LastIndexByte(name, '/')]
		if s.heard.After(newest[node]) {
			newest[node] = s.heard
		}
	}
	seen := make(map[string]int64, len(all))
	for name, s := range all {
		if newest[name[:strings.LastIndexByte(name, '/')]].Sub(s.heard) > patience {
			delete(all, name)
			continue
		}
		if !s.since.IsZero() && now.Sub(s.since) > patience {
			s.giveUp()
		}
		seen[name] = s.seen
	}
	return seen
}

package edge

import (
	"strings"
	"time"
)

const (
	// patience is how long the edge waits for a missing message. After that the message will not come: its node has
	// forgotten it, or is gone.
	patience = 15 * time.Second
	// maxBeyond is the number of messages of one source that may come behind a gap. After that the edge takes the missing
	// ones for lost too.
	maxBeyond = 64 << 10
)

// sources are the incarnations of nodes from which messages came, by "<node>/<incarnation>". It has no lock of its own: the
// caller holds one.
type sources map[string]*source

// source is one incarnation of a node.
type source struct {
	seen   int64          // no message is missing up to this number
	newest int64          // the highest number that came
	beyond map[int64]bool // numbers above seen that came: there is a gap before them
	since  time.Time      // when the gap began; zero: there is none
	heard  time.Time      // when the last message came
}

// arrival says how a message fits into the order of its source.
type arrival struct {
	repeated  bool // a message with a higher number came before it
	duplicate bool // it had come before
	gap       bool // a gap begins before it
}

// note notes that the message with number n of a source came. first is the lowest number that the edge needs, as the node
// says: what came before the edge was started, or before the node forgot it, is not missing.
func (all sources) note(name string, n, first int64, now time.Time) (a arrival) {
	s := all[name]
	if s == nil {
		s = &source{beyond: map[int64]bool{}}
		all[name] = s
	}
	s.heard = now
	if first > s.seen+1 && first <= n {
		s.begin(first)
	}
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

// begin has the numbers begin with first: no lower one is missing.
func (s *source) begin(first int64) {
	s.seen = first - 1
	for n := range s.beyond {
		if n < first {
			delete(s.beyond, n)
		}
	}
}

// giveUp takes the missing messages for lost.
func (s *source) giveUp() {
	s.seen, s.since = s.newest, time.Time{}
	clear(s.beyond)
}

// report returns for each source the number up to which no message is missing, for the next edge.up. It forgets incarnations
// of a node that was started again, and takes messages that are missing for too long for lost.
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

// Package gaps follows the numbers of what each node sends an edge, as BUS.md asks of edges ("Nothing told is lost"):
// which message is new, which one was sent again, and up to where nothing is missing. It knows no NATS and has no lock:
// its caller has one.
package gaps

import "time"

// Speak says every 5 s up to where nothing is missing, and sends every 50 ms what the watchers answered, until stop.
func Speak(stop <-chan struct{}, up, answer func()) {
	often, gather := time.NewTicker(5*time.Second), time.NewTicker(50*time.Millisecond)
	defer often.Stop()
	defer gather.Stop()
	for {
		select {
		case <-stop:
			return
		case <-often.C:
			up()
		case <-gather.C:
			answer()
		}
	}
}

// Sources are the incarnations of nodes that were heard, by node/incarnation.
type Sources map[string]*source

type source struct {
	seen   int64 // nothing is missing up to here
	newest int64
	beyond map[int64]bool
	since  time.Time // when the gap began
}

// Take notes the message of a number. Again: it comes out of its turn, because it was sent again. Twice: it was there
// before. Gap: something is missing from here on, and it is time to say so.
func (all Sources) Take(name string, n int64) (again, twice, gap bool) {
	s := all[name]
	if s == nil {
		s = &source{beyond: map[int64]bool{}}
		all[name] = s
	}
	if n <= s.seen || s.beyond[n] {
		return true, true, false
	}
	again = n < s.newest
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
	case s.since.IsZero():
		s.since, gap = time.Now(), true
	}
	return again, false, gap
}

// patience is how long something may be missing: past it, it won't come, since the node's ring forgot it or it is gone.
const patience = 15 * time.Second

// Seen is the document's part of the same name: up to where nothing is missing.
func (all Sources) Seen() map[string]int64 {
	seen := map[string]int64{}
	for name, s := range all {
		if !s.since.IsZero() && time.Since(s.since) > patience {
			s.seen, s.since = s.newest, time.Time{}
			clear(s.beyond)
		}
		seen[name] = s.seen
	}
	return seen
}

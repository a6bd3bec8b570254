package live

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The times of a Stream.
const (
	aliveEvery  = 5 * time.Second       // how often a client hears of the stream when nothing changes
	gather      = 50 * time.Millisecond // the least time between two events with changes, so that many changes are one event
	lampsAtOnce = 200                   // lamps in one event of a whole state
)

// Stream tells one client the lamps of one account. One goroutine uses it.
type Stream struct {
	feed   *feed
	next   uint64 // the client has all changes below this number; 0: it has nothing
	closed func()
}

// Close ends the Stream. It may be called twice.
func (s *Stream) Close() { s.closed() }

// begin finds the place at which the client goes on.
func (s *Stream) begin(last string) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if n := s.feed.after(last); n >= s.feed.oldest && n <= s.feed.next {
		s.next = n
	}
}

// Run sends events until the client, the feed or the Hub is gone, or check fails. send waits until the client has taken the bytes. check is
// called whenever the stream says that it is alive, and says whether the client may still see the account.
func (s *Stream) Run(send func([]byte) error, check func(context.Context) error) {
	f := s.feed
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	told := "-" // the trouble that the client knows
	for {
		f.mu.Lock()
		moved, trouble := f.moved, f.stale()
		f.mu.Unlock()
		for e := range s.changes() {
			if send(e) != nil {
				return
			}
		}
		if trouble != told {
			if told = trouble; send(aliveEvent(trouble)) != nil {
				return
			}
		}
		select {
		case <-f.life.Done():
			return
		case <-moved:
			select { // more changes may come at the same time
			case <-time.After(gather):
			case <-f.life.Done():
				return
			}
		case <-alive.C:
			ctx, cancel := context.WithTimeout(f.life, aliveEvery)
			err := check(ctx)
			cancel()
			if err != nil {
				_ = send(event("end", "", map[string]string{"reason": err.Error()}))
				return
			}
			if send(aliveEvent(trouble)) != nil {
				return
			}
		}
	}
}

// changes returns the events of what the client does not have: when it may have missed something, a reload and the whole state, else
// the newest state of each lamp that has changed.
func (s *Stream) changes() iter.Seq[[]byte] {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	from := s.next
	s.next = f.next
	id := f.eventID(s.next)
	if from < f.oldest {
		reason := f.reason
		if from == 0 {
			reason = "the stream begins"
		}
		shot := f.snapshot()
		changed := f.changed(shot.next)
		return func(yield func([]byte) bool) {
			for e := range whole(shot, reason, f.eventID(shot.next)) {
				if !yield(e) {
					return
				}
			}
			if len(changed) > 0 {
				yield(event("change", id, changed))
			}
		}
	}
	changed := f.changed(from)
	return func(yield func([]byte) bool) {
		if len(changed) > 0 {
			yield(event("change", id, changed))
		}
	}
}

// changed returns the newest state of the lamps of the changes from a number on, which is not below oldest. The caller holds f.mu.
func (f *feed) changed(from uint64) map[string]*Lamp {
	changed := map[string]*Lamp{}
	for n := from; n < f.next; n++ {
		extension := f.order[n%lastKept]
		changed[extension] = f.lamps[extension]
	}
	return changed
}

// snapshot is the whole state of a feed after all changes below next. Streams that begin at about the same time share one.
type snapshot struct {
	next  uint64
	lamps map[string]*Lamp
	names func() []string // sorted
}

// snapshot returns a snapshot that few changes have followed. The caller holds f.mu.
func (f *feed) snapshot() *snapshot {
	if s := f.shared.Value(); s != nil && s.next >= f.oldest && f.next-s.next <= lampsAtOnce {
		return s
	}
	lamps := maps.Clone(f.lamps)
	s := &snapshot{f.next, lamps, sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(lamps)) })}
	f.shared = weak.Make(s)
	return s
}

// whole returns the events of a whole state. Each is encoded when the one before has been sent, so that a client costs little memory.
func whole(s *snapshot, reason, id string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !yield(event("reload", "", map[string]string{"reason": reason})) {
			return
		}
		for names := range slices.Chunk(s.names(), lampsAtOnce) {
			part := make(map[string]*Lamp, len(names))
			for _, name := range names {
				part[name] = s.lamps[name]
			}
			if !yield(event("lamps", "", part)) {
				return
			}
		}
		yield(event("whole", id, map[string]int{"lamps": len(s.lamps)}))
	}
}

// aliveEvent says that the stream lives, and why the lamps may be old.
func aliveEvent(trouble string) []byte {
	return event("alive", "", struct {
		Stale  bool   `json:"stale"`
		Reason string `json:"reason,omitzero"`
	}{trouble != "", trouble})
}

// event encodes one server-sent event.
func event(name, id string, data any) []byte {
	b := append([]byte("event: "), name...)
	if id != "" {
		b = append(append(b, "\nid: "...), id...)
	}
	text, err := json.Marshal(data, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil { // no value of ours fails
		text = []byte("{}")
	}
	return append(append(append(b, "\ndata: "...), text...), "\n\n"...)
}

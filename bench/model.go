package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// lamp is the state of an extension.
type lamp byte

// The states of a lamp, as the API names them.
const (
	terminated lamp = iota
	early
	confirmed
)

func (l lamp) String() string { return [...]string{"terminated", "early", "confirmed"}[l] }

// lampOf reads a State; every other text is terminated.
func lampOf(state string) lamp {
	switch state {
	case "early":
		return early
	case "confirmed":
		return confirmed
	}
	return terminated
}

// model knows what every lamp should show, and what every watcher was told. Its methods may be called from any goroutine.
type model struct {
	world      *world
	extensions []extension
	watchers   []watcher
	meter      atomic.Pointer[meter] // of the current part of the run

	outOfOrder, duplicates, replaced atomic.Int64
	mistakes                         errorSamples
	mistakeCount                     atomic.Int64 // of mistakes; errorSamples keeps only a few
}

// extension is one extension's lamp, as the load set it.
type extension struct {
	mu      sync.Mutex
	lamp    lamp
	busy    bool  // a call or a command is under way
	unknown bool  // a change was not acknowledged: it may have happened or not
	version int64 // counts changes
	pending []change
}

// change is a change of a lamp of which some watchers have not been told yet.
type change struct {
	lamp     lamp
	intended time.Time // when it was meant to happen
	left     int       // watchers that were not told yet
	sequence int64     // Sequence of its NOTIFYs; 0: none has come yet
	recorder *recorder
}

// watcher is what one watcher was told last. The mutex of its extension guards it.
type watcher struct {
	sequence int64
	epoch    time.Time
	lamp     lamp
	told     bool
}

// notification is one NOTIFY message that an edge took, or one NOTIFY that a phone got.
type notification struct {
	extension int32
	watchers  []int32
	state     lamp
	sequence  int64
	epoch     time.Time
	repeated  bool
	heardAt   time.Time
}

func newModel(w *world) *model {
	return &model{world: w, extensions: make([]extension, w.extensions()), watchers: make([]watcher, len(w.watched))}
}

// addMistake counts something that must not happen, and keeps the text of the first few.
func (m *model) addMistake(format string, a ...any) {
	m.mistakeCount.Add(1)
	m.mistakes.add(fmt.Errorf(format, a...))
}

// reserve gives an extension to a call or a command. It returns false if the extension already has one.
func (m *model) reserve(x int32) bool {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	free := !e.busy
	e.busy = true
	return free
}

// release ends what reserve began.
func (m *model) release(x int32) {
	e := &m.extensions[x]
	e.mu.Lock()
	e.busy = false
	e.mu.Unlock()
}

// change notes that a lamp is about to change. If the state is another one, the model expects that all watchers are told.
func (m *model) change(x int32, to lamp, at time.Time) {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	if e.lamp == to {
		return
	}
	e.lamp = to
	if n := len(m.world.watchersOf(x)); n > 0 {
		e.pending = append(e.pending, change{lamp: to, intended: at, left: n, recorder: m.meter.Load().recorder("told")})
	}
}

// markUnknown notes that a change was not acknowledged, so that nobody knows what the lamp must show.
func (m *model) markUnknown(x int32) {
	e := &m.extensions[x]
	e.mu.Lock()
	e.unknown = true
	e.mu.Unlock()
}

// expected gives what an extension's lamp must show, the version of that state, and whether it is certain.
func (m *model) expected(x int32) (l lamp, version int64, certain bool) {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lamp, e.version, !e.busy && !e.unknown
}

// hear takes a NOTIFY that watchers got.
func (m *model) hear(n *notification) {
	x := n.extension
	if x < 0 {
		m.addMistake("a NOTIFY is about what is no extension of this run")
		return
	}
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := 0
	for _, i := range n.watchers {
		if i < 0 || m.world.watched[i] != x {
			m.addMistake("a NOTIFY of %s names a Call-ID that does not watch it", m.world.address(x))
			continue
		}
		w := &m.watchers[i]
		switch {
		case !w.told || w.epoch.Before(n.epoch) || w.epoch.Equal(n.epoch) && w.sequence < n.sequence:
			w.told, w.epoch, w.sequence, w.lamp = true, n.epoch, n.sequence, n.state
			fresh++
		case n.repeated: // a repeated message may be older than what came meanwhile
		case w.sequence == n.sequence:
			m.duplicates.Add(1)
		default:
			m.outOfOrder.Add(1)
			m.addMistake("%s: Sequence went from %d back to %d", m.world.address(x), w.sequence, n.sequence)
		}
	}
	m.credit(e, n, fresh)
}

// credit counts fresh watchers as told of the change that a message carries, and records the change's latency when its last
// watcher was told. Changes come in order. If a newer change replaced one while the owner held its NOTIFY back
// (--notify-rate), the replaced change never gets a message of its own and is only counted.
func (m *model) credit(e *extension, n *notification, fresh int) {
	for i := range e.pending {
		c := &e.pending[i]
		if c.sequence == 0 && c.lamp == n.state {
			c.sequence = n.sequence
		}
		if c.sequence < n.sequence {
			continue
		}
		if c.sequence == n.sequence {
			if c.left -= fresh; c.left <= 0 {
				c.recorder.record(c.intended, n.heardAt)
				m.replaced.Add(int64(i))
				e.pending = append(e.pending[:0], e.pending[i+1:]...)
			}
		}
		return
	}
}

// behind counts the watchers that were never told anything (never), and those whose last NOTIFY is not what their lamp shows
// (stuck). example describes one of them.
func (m *model) behind() (never, stuck int, example string) {
	for x := range m.extensions {
		e := &m.extensions[x]
		e.mu.Lock()
		for _, i := range m.world.watchersOf(int32(x)) {
			w := &m.watchers[i]
			switch {
			case e.unknown:
			case !w.told:
				never++
				example = fmt.Sprintf("%s was never told of %s", m.world.callID(i), m.world.address(int32(x)))
			case w.lamp != e.lamp:
				stuck++
				example = fmt.Sprintf("%s was last told %v of %s, which is %v", m.world.callID(i), w.lamp, m.world.address(int32(x)), e.lamp)
			}
		}
		e.mu.Unlock()
	}
	return never, stuck, example
}

package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// lamp is the state of an extension.
type lamp byte

// The lamps that there are, as the API names them.
const (
	terminated lamp = iota
	early
	confirmed
)

func (l lamp) String() string { return [...]string{"terminated", "early", "confirmed"}[l] }

func lampOf(state string) lamp {
	switch state {
	case "early":
		return early
	case "confirmed":
		return confirmed
	}
	return terminated
}

// model is what every lamp should show, and what every watcher was told.
type model struct {
	world      *world
	extensions []extension
	watchers   []watcher
	meter      atomic.Pointer[meter] // where changes are measured now

	outOfOrder, duplicates, replaced atomic.Int64
	mistakes                         reasons
	count                            atomic.Int64 // of mistakes
}

// extension is one lamp.
type extension struct {
	mu      sync.Mutex
	lamp    lamp
	busy    bool  // a call or a command is under way
	unknown bool  // a change was given up: it may have happened or not
	version int64 // counts changes
	pending []change
}

// change is one that watchers have yet to be told.
type change struct {
	lamp     lamp
	at       time.Time // when it was meant to happen
	left     int       // watchers that were not told
	sequence int64     // that it was told under; 0: under none yet
	told     *recorder
}

// watcher is what one watcher was told last. The lock of its extension guards it.
type watcher struct {
	sequence int64
	epoch    time.Time
	lamp     lamp
	told     bool
}

// notified is one message of the fan-out, as an edge took it.
type notified struct {
	extension string
	watchers  []int32
	state     lamp
	sequence  int64
	epoch     time.Time
	repeated  bool
	now       time.Time
}

func newModel(w *world) *model {
	return &model{world: w, extensions: make([]extension, w.extensions()), watchers: make([]watcher, len(w.watches))}
}

// wrong notes what must not be.
func (m *model) wrong(format string, a ...any) {
	m.count.Add(1)
	m.mistakes.add(fmt.Errorf(format, a...))
}

// take reserves an extension for a call or a command; false: it has one.
func (m *model) take(x int32) bool {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	free := !e.busy
	e.busy = true
	return free
}

func (m *model) release(x int32) {
	e := &m.extensions[x]
	e.mu.Lock()
	e.busy = false
	e.mu.Unlock()
}

// change notes that a lamp is about to change: its watchers will be told.
func (m *model) change(x int32, to lamp, at time.Time) {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	if e.lamp == to {
		return
	}
	e.lamp = to
	if n := len(m.world.of(x)); n > 0 {
		e.pending = append(e.pending, change{lamp: to, at: at, left: n, told: m.meter.Load().of("told")})
	}
}

// doubt notes that a change was not acknowledged.
func (m *model) doubt(x int32) {
	e := &m.extensions[x]
	e.mu.Lock()
	e.unknown = true
	e.mu.Unlock()
}

// shows gives what an extension's lamp must be, if that is certain, and the version that this is.
func (m *model) shows(x int32) (l lamp, version int64, certain bool) {
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lamp, e.version, !e.busy && !e.unknown
}

// told takes what an edge heard.
func (m *model) told(n *notified) {
	x := m.world.find(n.extension)
	if x < 0 {
		m.wrong("an edge was told of %s, which no one here watches", n.extension)
		return
	}
	e := &m.extensions[x]
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := 0
	for _, i := range n.watchers {
		if i < 0 || m.world.watches[i] != x {
			m.wrong("a NOTIFY of %s names a subscription that it doesn't have", n.extension)
			continue
		}
		w := &m.watchers[i]
		switch {
		case !w.told || w.epoch.Before(n.epoch) || w.epoch.Equal(n.epoch) && w.sequence < n.sequence:
			w.told, w.epoch, w.sequence, w.lamp = true, n.epoch, n.sequence, n.state
			fresh++
		case n.repeated: // what was lost and sent again comes late
		case w.sequence == n.sequence:
			m.duplicates.Add(1)
		default:
			m.outOfOrder.Add(1)
			m.wrong("%s: Sequence went from %d back to %d", n.extension, w.sequence, n.sequence)
		}
	}
	m.credit(e, n, fresh)
}

// credit counts watchers towards the change that they were told of. Changes come in order; one that a newer one
// replaced, in the owner's coalescing window, never gets a message of its own.
func (m *model) credit(e *extension, n *notified, fresh int) {
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
				c.told.took(c.at, n.now)
				m.replaced.Add(int64(i))
				e.pending = append(e.pending[:0], e.pending[i+1:]...)
			}
		}
		return
	}
}

// behind counts the watchers whose last NOTIFY is not what their lamp shows; example is one of them.
func (m *model) behind() (never, stuck int, example string) {
	for x := range m.extensions {
		e := &m.extensions[x]
		e.mu.Lock()
		for _, i := range m.world.of(int32(x)) {
			w := &m.watchers[i]
			switch {
			case e.unknown:
			case !w.told:
				never++
				example = fmt.Sprintf("%s was never told of %s", m.world.callID(i), m.world.address(int32(x)))
			case w.lamp != e.lamp:
				stuck++
				example = fmt.Sprintf("%s shows %v for %s, which is %v", m.world.callID(i), w.lamp, m.world.address(int32(x)), e.lamp)
			}
		}
		e.mu.Unlock()
	}
	return never, stuck, example
}

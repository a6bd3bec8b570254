package chaos

import (
	"math"
	"sync"
	"time"
)

// outcome is what a caller knows about a request afterwards.
type outcome uint8

const (
	acknowledged outcome = iota
	refused              // it surely did not happen
	unknown              // it may have happened, or may happen later
	wrong                // it got an answer that the contract does not allow
)

// kind is what a request asks for.
type kind uint8

const (
	opRead kind = iota
	opSet
	opReset
	opResetTo
	opCall
	opSubscribe
	opList
	opRepeatedSet
	opSwitched
	opSwitchGone
	opSourceUp
	kinds
)

func (k kind) String() string {
	return [kinds]string{"read", "set", "reset", "reset+set", "call", "subscribe", "list", "set, repeated", "switched call", "switch gone", "source up"}[k]
}

// noEnd is the end of an operation that may happen at any later time.
const noEnd = math.MaxInt64 / 2

// op is one operation as its caller saw it. A document and all its repetitions are one operation.
type op struct {
	kind          kind
	outcome       outcome
	worker, tries int
	extension     *extension
	call          int           // of opCall: the number of the extension's call
	state         byte          // that was set, or that the call has
	seen          string        // what was read, as extension.lamp gives it
	stale         bool          // the answer was marked stale
	begin, end    int64         // ns since the run began; end is noEnd if the outcome is unknown
	took          time.Duration // since the caller's first try
}

// history keeps the operations and faults of a run. Its methods may be called from any goroutine.
type history struct {
	start time.Time

	mu       sync.Mutex
	ops      []op
	counts   [4]int
	wrongs   []string // what must not happen in any run
	windows  []window
	takeover []takeover
	freezes  []freeze
}

// window is the time of one step, from its begin until all nodes were ready again.
type window struct {
	faults     []string
	detail     string
	begin, end int64
	limit      time.Duration // how long a request may wait for its success because of it
}

// takeover is how long after the kill of a node a read and a set of one of its extensions succeeded.
type takeover struct{ read, write time.Duration }

func (h *history) now() int64 { return int64(time.Since(h.start)) }

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[o.outcome]++
	h.ops = append(h.ops, o)
}

// acked is the number of operations that were acknowledged so far.
func (h *history) acked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[acknowledged]
}

// wrong notes something that must not happen.
func (h *history) wrong(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrongs) < 200 {
		h.wrongs = append(h.wrongs, what)
	}
}

package chaos

import (
	"math"
	"sync"
	"time"
)

// outcome is what a caller knows of a request afterwards.
type outcome uint8

const (
	acknowledged outcome = iota
	refused              // surely nothing happened
	unknown              // it may have happened, or may yet
	wrong                // no answer that the contract allows
)

type kind uint8

const (
	opRead kind = iota
	opSet
	opReset
	opResetTo
	opCall
	opSubscribe
	opList
	opInsist
	kinds
)

func (k kind) String() string {
	return [kinds]string{"read", "set", "reset", "reset+set", "call", "subscribe", "list", "set, repeated"}[k]
}

const never = math.MaxInt64 / 2

// op is one request as its caller saw it: news with all its repetitions is one.
type op struct {
	kind          kind
	outcome       outcome
	worker, tries int
	extension     *extension
	call          int           // of opCall: which of the extension's
	state         byte          // what was set, or the news
	seen          string        // what was read
	stale         bool          // read, and marked so
	begin, end    int64         // ns since the run began; end is never if the outcome is unknown
	took          time.Duration // from the caller's first try
}

// history keeps what happened. Its methods may be called from any goroutine.
type history struct {
	zero time.Time

	mu       sync.Mutex
	ops      []op
	counts   [4]int
	wrongs   []string // what no run may show
	windows  []window
	takeover []takeover
}

// window is the time of one fault, or of two at once, until all was well again.
type window struct {
	faults     []string
	detail     string
	begin, end int64
	limit      time.Duration // of the wait for a success that it may cause
}

// takeover is how long a killed node's extension was out of reach.
type takeover struct{ read, write time.Duration }

func (h *history) now() int64 { return int64(time.Since(h.zero)) }

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[o.outcome]++
	h.ops = append(h.ops, o)
}

// acked is how many operations were acknowledged so far.
func (h *history) acked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[acknowledged]
}

// wrong notes what must never be seen.
func (h *history) wrong(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrongs) < 200 {
		h.wrongs = append(h.wrongs, what)
	}
}

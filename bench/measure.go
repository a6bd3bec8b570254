package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest latency that is told apart.
const longest = 10 * time.Minute

// meter keeps the latencies of one measured part, by operation.
type meter struct {
	mu    sync.Mutex
	begun time.Time
	kinds []*recorder
}

func newMeter(begun time.Time) *meter { return &meter{begun: begun} }

// of gives the recorder of an operation.
func (m *meter) of(operation string) *recorder {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.kinds {
		if r.operation == operation {
			return r
		}
	}
	r := &recorder{operation: operation, window: hdrhistogram.New(1, longest.Microseconds(), 2), total: hdrhistogram.New(1, longest.Microseconds(), 3)}
	m.kinds = append(m.kinds, r)
	return r
}

// tick closes the window of one second.
func (m *meter) tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.kinds {
		r.close(now.Sub(m.begun))
	}
}

func (m *meter) operations() []Operation {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Operation, len(m.kinds))
	for i, r := range m.kinds {
		all[i] = r.result()
	}
	return all
}

// recorder keeps the latencies of one operation: those of this second, and all.
type recorder struct {
	operation string

	mu            sync.Mutex
	window, total *hdrhistogram.Histogram
	failed        int64
	repeated      int64
	series        []Point
}

// took records one that was meant to begin at a time and is done now. A nil recorder keeps nothing.
func (r *recorder) took(at, now time.Time) {
	if r == nil {
		return
	}
	us := min(max(now.Sub(at).Microseconds(), 1), longest.Microseconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.window.RecordValue(us)
	_ = r.total.RecordValue(us)
}

func (r *recorder) fail() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.failed++
	r.mu.Unlock()
}

func (r *recorder) repeat() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.repeated++
	r.mu.Unlock()
}

func (r *recorder) close(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.window
	r.series = append(r.series, Point{At: at.Seconds(), Count: h.TotalCount(), P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()})
	h.Reset()
}

func (r *recorder) quantile(q float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.total.ValueAtQuantile(q*100)) * time.Microsecond
}

func (r *recorder) result() Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.total
	o := Operation{Name: r.operation, Count: h.TotalCount(), Failed: r.failed, Repeated: r.repeated, Mean: h.Mean(), Max: h.Max(), Series: r.series}
	for _, q := range quantiles {
		o.Quantiles = append(o.Quantiles, Quantile{q, h.ValueAtQuantile(q * 100)})
	}
	return o
}

// quantiles are what a result shows.
var quantiles = []float64{0.5, 0.9, 0.99, 0.999}

package bench

import (
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the longest latency that a histogram holds; longer ones count as this one.
const maxLatency = 10 * time.Minute

// meter keeps the latencies of one part of a run, by operation.
type meter struct {
	mu        sync.Mutex
	begun     time.Time
	recorders []*recorder
}

func newMeter(begun time.Time) *meter { return &meter{begun: begun} }

// recorder gives the recorder of an operation, and makes it the first time.
func (m *meter) recorder(operation string) *recorder {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recorders {
		if r.operation == operation {
			return r
		}
	}
	r := &recorder{operation: operation, window: hdrhistogram.New(1, maxLatency.Microseconds(), 2), total: hdrhistogram.New(1, maxLatency.Microseconds(), 3)}
	m.recorders = append(m.recorders, r)
	return r
}

// closeSecond ends the current second of every operation.
func (m *meter) closeSecond(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recorders {
		r.closeSecond(now.Sub(m.begun))
	}
}

// operations returns what was measured. window is for how long arrivals came; 0: there were none.
func (m *meter) operations(window time.Duration) []Operation {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Operation, len(m.recorders))
	for i, r := range m.recorders {
		all[i] = r.result(window)
	}
	return all
}

// recorder keeps the latencies of one operation: those of the current second (window), and all of the part (total).
type recorder struct {
	operation string

	mu            sync.Mutex
	window, total *hdrhistogram.Histogram
	failed        int64
	repeated      int64
	series        []Point
	first, last   time.Time     // the earliest intended time, and the latest end
	late          time.Duration // how long after its intended time that one ended
}

// record notes an operation that was meant to begin at one time and ended at another. A nil recorder keeps nothing.
func (r *recorder) record(at, now time.Time) {
	if r == nil {
		return
	}
	us := min(max(now.Sub(at).Microseconds(), 1), maxLatency.Microseconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.window.RecordValue(us)
	_ = r.total.RecordValue(us)
	if r.first.IsZero() || at.Before(r.first) {
		r.first = at
	}
	if now.After(r.last) {
		r.last, r.late = now, now.Sub(at)
	}
}

// fail counts an operation that was refused or given up. A nil recorder keeps nothing.
func (r *recorder) fail() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.failed++
	r.mu.Unlock()
}

// repeat counts a repetition of a request. A nil recorder keeps nothing.
func (r *recorder) repeat() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.repeated++
	r.mu.Unlock()
}

// closeSecond puts the current second into the series. at is the time since the part began.
func (r *recorder) closeSecond(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.window
	r.series = append(r.series, Point{At: at.Seconds(), Count: h.TotalCount(), P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()})
	h.Reset()
}

// quantile is a latency of the whole part; q is from 0 to 1.
func (r *recorder) quantile(q float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.total.ValueAtQuantile(q*100)) * time.Microsecond
}

func (r *recorder) result(window time.Duration) Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.total
	o := Operation{Name: r.operation, Count: h.TotalCount(), Failed: r.failed, Repeated: r.repeated, Mean: h.Mean(), Max: h.Max(), Series: r.series,
		Seconds: r.took(window).Seconds()}
	for _, q := range quantiles {
		o.Quantiles = append(o.Quantiles, Quantile{q, h.ValueAtQuantile(q * 100)})
	}
	if o.Count == 0 {
		return o
	}
	for rest := 1.0; rest*float64(o.Count) >= 0.5; rest /= math.Sqrt(math.Sqrt(2)) { // past that the curve would only repeat the last
		o.Curve = append(o.Curve, Quantile{1 - rest, h.ValueAtQuantile(100 * (1 - rest))})
	}
	for _, b := range h.Distribution() {
		if b.Count == 0 {
			continue
		}
		upTo := barBound(b.To)
		if n := len(o.Histogram); n == 0 || o.Histogram[n-1].UpTo < upTo {
			o.Histogram = append(o.Histogram, Bar{UpTo: upTo})
		}
		o.Histogram[len(o.Histogram)-1].Count += b.Count
	}
	return o
}

// stormed is the operation that has a window of its own.
const stormed = "storm"

// took returns in how long a time the operations were done. Each kind of operation comes for as long as arrivals do, only later: the
// calls of a window end in a window of the same length. If the cluster falls behind, the last operation ends late, and all of them
// took so much longer.
func (r *recorder) took(window time.Duration) time.Duration {
	if window == 0 || r.operation == stormed {
		return r.last.Sub(r.first)
	}
	return window + r.late
}

// barsADecade is how many bars a histogram has from one power of ten to the next.
const barsADecade = 10

// barBound returns the upper bound of the bar of a latency in µs.
func barBound(us int64) int64 {
	return int64(math.Round(math.Pow(10, math.Ceil(math.Log10(float64(max(us, 1)))*barsADecade)/barsADecade)))
}

// quantiles are those that a result shows.
var quantiles = []float64{0.5, 0.9, 0.99, 0.999}

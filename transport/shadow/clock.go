package shadow

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	clockNoise = 2 * time.Second // a difference of clocks that is not corrected: stamps are whole seconds, and news takes its time
	clockMost  = 48 * time.Hour  // a stamp that is further away is no clock's
)

// clock compares the clock of a side with this machine's, by what the side stamps as it happens.
type clock struct {
	known  bool
	behind time.Duration // how far the side's clock is behind, and the shortest way of its news; negative: it is ahead
}

// sample takes the stamp of something that arrived now.
func (c *clock) sample(stamp, now time.Time) {
	behind := now.Sub(stamp)
	if behind.Abs() > clockMost {
		return
	}
	if !c.known || behind < c.behind {
		c.known, c.behind = true, behind
	}
}

// here returns what this machine's clock showed when the side's clock showed t, at most now.
func (c *clock) here(t, now time.Time) time.Time {
	if t.Sub(now).Abs() > clockMost && t.After(now) {
		return now
	}
	if c.known && c.behind.Abs() > clockNoise {
		t = t.Add(c.behind)
	}
	if t.After(now) {
		return now
	}
	return t
}

// off is how far the side's clock is behind, in seconds; 0: not noticeably.
func (c *clock) off() float64 {
	if !c.known || c.behind.Abs() <= clockNoise {
		return 0
	}
	return c.behind.Seconds()
}

// later counts by how much one side is later than the other.
type later struct{ h *hdrhistogram.Histogram }

// newLater makes a later for 1 ms to 1 h.
func newLater() *later { return &later{hdrhistogram.New(1, 3_600_000, 2)} }

func (l *later) add(d time.Duration) { _ = l.h.RecordValue(min(max(d.Milliseconds(), 1), 3_600_000)) }

// Later says by how much one side was later than the other.
type Later struct {
	Changes int64 `json:"changes"` // at which it was the later one
	P50     int64 `json:"p50_ms"`
	P90     int64 `json:"p90_ms"`
	P99     int64 `json:"p99_ms"`
	Most    int64 `json:"max_ms"`
}

func (l *later) sum() Later {
	return Later{Changes: l.h.TotalCount(), P50: l.h.ValueAtQuantile(50), P90: l.h.ValueAtQuantile(90), P99: l.h.ValueAtQuantile(99), Most: l.h.Max()}
}

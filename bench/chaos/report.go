package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// limitOfWait is how long a request that its caller repeats may wait for its success under a single fault.
const limitOfWait = 15 * time.Second

// totals are the numbers of one or more runs.
type totals struct {
	Seeds                               []uint64
	Acknowledged, Refused, Unknown      int
	Operations, Faults                  map[string]int // acknowledged operations by kind; faults by name
	Lost, Revived, Stuck, Contradictory int
	Behind, Differs, Slow, Undecided    int
	Astray                              int
	Waits                               map[string][]time.Duration // by name of the fault: the longest wait of each worker
}

func newTotals() *totals {
	return &totals{Operations: map[string]int{}, Faults: map[string]int{}, Waits: map[string][]time.Duration{}}
}

// add adds the numbers of other runs.
func (t *totals) add(o *totals) {
	t.Seeds = append(t.Seeds, o.Seeds...)
	for _, n := range []struct{ to, from *int }{{&t.Acknowledged, &o.Acknowledged}, {&t.Refused, &o.Refused}, {&t.Unknown, &o.Unknown}, {&t.Lost, &o.Lost}, {&t.Revived, &o.Revived},
		{&t.Stuck, &o.Stuck}, {&t.Contradictory, &o.Contradictory}, {&t.Behind, &o.Behind}, {&t.Differs, &o.Differs}, {&t.Slow, &o.Slow}, {&t.Astray, &o.Astray}, {&t.Undecided, &o.Undecided}} {
		*n.to += *n.from
	}
	for k, n := range o.Operations {
		t.Operations[k] += n
	}
	for k, n := range o.Faults {
		t.Faults[k] += n
	}
	for k, w := range o.Waits {
		t.Waits[k] = append(t.Waits[k], w...)
	}
}

func (t *totals) String() string {
	var b strings.Builder
	faults := 0
	for _, n := range t.Faults {
		faults += n
	}
	fmt.Fprintf(&b, "seeds %v: %d operations acknowledged, %d refused, %d unknown; %d faults\n", t.Seeds, t.Acknowledged, t.Refused, t.Unknown, faults)
	fmt.Fprintf(&b, "lost %d, revived %d, stuck lamps %d, contradictory histories %d (undecided %d), watchers behind %d, calls on switches astray %d, different on one node alone %d, waits of %v or longer under one fault %d\n",
		t.Lost, t.Revived, t.Stuck, t.Contradictory, t.Undecided, t.Behind, t.Astray, t.Differs, limitOfWait, t.Slow)
	for _, k := range slices.Sorted(maps.Keys(t.Operations)) {
		fmt.Fprintf(&b, "  %-14s %7d acknowledged\n", k, t.Operations[k])
	}
	fmt.Fprintf(&b, "  %-46s %5s   longest wait for a success: %7s %7s %7s\n", "fault", "times", "p50", "p99", "max")
	for _, k := range slices.Sorted(maps.Keys(t.Waits)) {
		w := slices.Sorted(slices.Values(t.Waits[k]))
		fmt.Fprintf(&b, "  %-46s %5d   %35v %7v %7v\n", k, t.Faults[k], percentile(w, 50), percentile(w, 99), percentile(w, 100))
	}
	return b.String()
}

// totals gives the numbers of the run.
func (r *run) totals(v *verdict) *totals {
	h := r.history
	t := newTotals()
	t.Seeds = []uint64{r.seed}
	t.Acknowledged, t.Refused, t.Unknown = h.counts[acknowledged], h.counts[refused], h.counts[unknown]
	t.Lost, t.Revived, t.Stuck, t.Contradictory = len(v.lost), len(v.revived), len(v.stuck), len(v.contradictory)
	t.Behind, t.Differs, t.Slow, t.Undecided, t.Astray = len(v.behind), len(v.differs), len(v.slow), v.undecided, len(v.astray)
	for _, o := range h.ops {
		if o.outcome == acknowledged {
			t.Operations[o.kind.String()]++
		}
	}
	for _, w := range h.windows {
		for _, f := range w.faults {
			t.Faults[f]++
		}
	}
	t.Waits = waits(h.ops, h.windows)
	return t
}

// overlapping gives the windows that overlap an operation's time since its caller's first try.
func overlapping(o *op, windows []window) (all []*window) {
	for i := range windows {
		if w := &windows[i]; o.end >= w.begin && o.end-int64(o.took) <= w.end {
			all = append(all, w)
		}
	}
	return all
}

// share is the part of an operation's wait that counts for one window: from its begin until the begin of the next one.
type share struct {
	*window
	wait time.Duration
}

// shares divides an operation's wait among the windows that it overlaps.
func shares(o *op, windows []window) (all []share) {
	begun := o.end - int64(o.took)
	m := overlapping(o, windows)
	if len(m) == 0 {
		return []share{{&window{detail: "no fault", limit: limitOfWait}, o.took}}
	}
	for i, w := range m {
		from, to := begun, o.end
		if i > 0 {
			from = w.begin
		}
		if i+1 < len(m) {
			to = m[i+1].begin
		}
		all = append(all, share{w, time.Duration(to - from)})
	}
	return all
}

// waits gives each worker's longest wait for a success in each window of a single fault, by the name of the fault.
func waits(ops []op, windows []window) map[string][]time.Duration {
	longest := map[*window]map[int]time.Duration{}
	for i := range ops {
		o := &ops[i]
		if o.outcome != acknowledged || o.worker == finalReader {
			continue
		}
		for _, s := range shares(o, windows) {
			if len(s.faults) != 1 {
				continue
			}
			if longest[s.window] == nil {
				longest[s.window] = map[int]time.Duration{}
			}
			longest[s.window][o.worker] = max(longest[s.window][o.worker], s.wait)
		}
	}
	all := map[string][]time.Duration{}
	for w, of := range longest {
		all[w.faults[0]] = slices.Sorted(slices.Values(append(all[w.faults[0]], slices.Collect(maps.Values(of))...)))
	}
	return all
}

// slow returns a sentence for each wait that was too long: the part of a request's time that lies in one window reached that
// window's limit, and at most one fault happened in it. A wait while several faults happened has no limit.
func slow(ops []op, windows []window) (all []string) {
	for i := range ops {
		o := &ops[i]
		if o.took < limitOfWait {
			continue
		}
		for _, s := range shares(o, windows) {
			if len(s.faults) <= 1 && s.wait >= s.limit {
				all = append(all, fmt.Sprintf("under %s a %v waited %v for its success, %d tries, %v until %v", s.detail, o.kind, s.wait.Round(time.Millisecond), o.tries,
					o.took.Round(time.Millisecond), time.Duration(o.end).Round(time.Millisecond)))
			}
		}
	}
	return all
}

// figures is a run in numbers, with those that make no sense for several runs together.
func (r *run) figures(v *verdict) string {
	var b strings.Builder
	h := r.history
	fmt.Fprintf(&b, "in %v, with %d extensions and %d subscriptions: %v", time.Duration(h.now()).Round(time.Second), v.extensions, v.phones, r.totals(v))
	stale := 0
	for _, o := range h.ops {
		if o.stale {
			stale++
		}
	}
	accepted, dropped := 0, 0
	for _, e := range r.edges {
		e.mu.Lock()
		accepted, dropped = accepted+e.accepted, dropped+int(e.Counts().Fenced)
		e.mu.Unlock()
	}
	fmt.Fprintf(&b, "  reads marked stale %d; NOTIFYs accepted by the edges %d, dropped as a former owner's %d\n", stale, accepted, dropped)
	if len(r.sipPhones) > 0 {
		told, lost := 0, 0
		for _, p := range r.sipPhones {
			p.mu.Lock()
			told, lost = told+p.accepted, lost+p.lost
			p.mu.Unlock()
		}
		fmt.Fprintf(&b, "  SIP phones %d: NOTIFYs accepted %d, refreshes answered 481 %d\n", len(r.sipPhones), told, lost)
	}
	if n := len(h.takeover); n > 0 {
		var read, write []time.Duration
		for _, t := range h.takeover {
			read, write = append(read, t.read), append(write, t.write)
		}
		slices.Sort(read)
		slices.Sort(write)
		fmt.Fprintf(&b, "  killed nodes' extensions (%d): a read succeeds after p50 %v, p99 %v; a durable set after p50 %v, p99 %v\n", n,
			percentile(read, 50), percentile(read, 99), percentile(write, 50), percentile(write, 99))
	}
	for _, f := range h.freezes {
		fmt.Fprintf(&b, "  %v\n", &f)
	}
	for _, w := range r.drains {
		fmt.Fprintf(&b, "  %s took %v: longest wait of a request begun meanwhile %v\n", w.detail, time.Duration(w.end-w.begin).Round(time.Millisecond), longestWait(h.ops, w).Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "  acknowledged in each second:%s\n", perSecond(h.ops))
	return b.String()
}

// perSecond counts the acknowledged operations of each second, so that a reader sees when none succeeded.
func perSecond(ops []op) string {
	var seconds []int
	for _, o := range ops {
		if o.outcome == acknowledged {
			at := int(o.end / int64(time.Second))
			for len(seconds) <= at {
				seconds = append(seconds, 0)
			}
			seconds[at]++
		}
	}
	var b strings.Builder
	for i, n := range seconds {
		if i%30 == 0 {
			fmt.Fprintf(&b, "\n  %4ds", i)
		}
		fmt.Fprintf(&b, " %d", n)
	}
	return b.String()
}

// longestWait is the longest wait for a success among the requests that were begun within a window.
func longestWait(ops []op, w window) (longest time.Duration) {
	for _, o := range ops {
		if begun := o.end - int64(o.took); o.outcome == acknowledged && begun >= w.begin && begun <= w.end {
			longest = max(longest, o.took)
		}
	}
	return longest
}

// percentile gives a percentile of sorted values, to the millisecond.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(time.Millisecond)
}

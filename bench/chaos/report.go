package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// limitOfWait is the bound on a request that its caller repeats, under a single fault; the machine's own noise
// is allowed as much again.
const limitOfWait = 30 * time.Second

// figures is a run in numbers.
func (r *run) figures(v *verdict) string {
	var b strings.Builder
	h := r.history
	fmt.Fprintf(&b, "acknowledged %d, refused %d, unknown %d, in %v; faults %d\n", h.counts[acknowledged], h.counts[refused], h.counts[unknown],
		time.Duration(h.now()).Round(time.Second), r.ran)
	fmt.Fprintf(&b, "extensions %d, subscriptions %d; lost %d, revived %d, stuck lamps %d, watchers behind %d; histories torn %d, undecided %d\n",
		v.extensions, v.phones, len(v.lost), len(v.revived), len(v.stuck), len(v.behind), len(v.torn), v.undecided)
	byKind := map[kind][2]int{}
	stale := 0
	for _, o := range h.ops {
		n := byKind[o.kind]
		if o.outcome == acknowledged {
			n[0]++
		} else {
			n[1]++
		}
		byKind[o.kind] = n
		if o.stale {
			stale++
		}
	}
	for k := range kinds {
		fmt.Fprintf(&b, "  %-10v %6d acknowledged, %d not\n", k, byKind[k][0], byKind[k][1])
	}
	accepted, dropped := 0, 0
	for _, e := range r.edges {
		e.mu.Lock()
		accepted, dropped = accepted+e.accepted, dropped+e.dropped
		e.mu.Unlock()
	}
	fmt.Fprintf(&b, "reads marked stale %d; NOTIFYs accepted by the edges %d, dropped as an older owner's %d\n", stale, accepted, dropped)
	if n := len(h.takeover); n > 0 {
		read := func(t takeover) time.Duration { return t.read }
		write := func(t takeover) time.Duration { return t.write }
		fmt.Fprintf(&b, "killed nodes' extensions (%d): a read succeeds after p50 %v, p99 %v; a durable set after p50 %v, p99 %v\n", n,
			percentile(h.takeover, read, 50), percentile(h.takeover, read, 99), percentile(h.takeover, write, 50), percentile(h.takeover, write, 99))
	}
	for _, w := range r.drains {
		fmt.Fprintf(&b, "%s took %v: worst request %v\n", w.name, time.Duration(w.end-w.begin).Round(time.Millisecond), worst(h.ops, w).took.Round(time.Millisecond))
	}
	for _, w := range h.windows {
		together := ""
		if !w.alone {
			together = ", beside another"
		}
		o := worst(h.ops, w)
		done, open := within(h.ops, w)
		fmt.Fprintf(&b, "%8v %-40s until all is well %7v: %5d acknowledged, %d unknown, worst wait for success %v (%v)%s\n", time.Duration(w.begin).Round(time.Second), w.name,
			time.Duration(w.end-w.begin).Round(time.Millisecond), done, open, o.took.Round(time.Millisecond), o.kind, together)
	}
	fmt.Fprintf(&b, "acknowledged in each second:%s\n", pace(h.ops))
	return b.String()
}

// pace shows where operations stood still.
func pace(ops []op) string {
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

// worst is the request that waited longest for its success and met a window.
func worst(ops []op, w window) (longest op) {
	for _, o := range ops {
		if o.outcome == acknowledged && o.took > longest.took && o.end >= w.begin && o.end-int64(o.took) <= w.end {
			longest = o
		}
	}
	return longest
}

func within(ops []op, w window) (done, open int) {
	for _, o := range ops {
		switch {
		case o.outcome == acknowledged && o.end >= w.begin && o.end <= w.end:
			done++
		case o.outcome == unknown && o.begin >= w.begin && o.begin <= w.end:
			open++
		}
	}
	return done, open
}

func percentile(all []takeover, of func(takeover) time.Duration, p int) time.Duration {
	var d []time.Duration
	for _, t := range all {
		d = append(d, of(t))
	}
	slices.Sort(d)
	return d[min(len(d)*p/100, len(d)-1)].Round(time.Millisecond)
}

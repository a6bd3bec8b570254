package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// line says how the last second went, for a terminal.
func (m *meter) line() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var parts []string
	for _, r := range m.kinds {
		r.mu.Lock()
		if n := len(r.series); n > 0 && r.series[n-1].Count > 0 {
			p := r.series[n-1]
			parts = append(parts, fmt.Sprintf("%s %d/s p99 %v", r.operation, p.Count, took(p.P99)))
		}
		r.mu.Unlock()
	}
	return strings.Join(parts, ", ")
}

// took shows a latency in at most four digits.
func took(us int64) time.Duration {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Print writes a result as tables.
func (r *Result) Print(out io.Writer) error {
	s := &r.Settings
	fmt.Fprintf(out, "%s through %s: %d extensions, %d subscriptions, %d edges; %s, %d cores\n", s.Scenario, s.Through, s.Extensions, s.Subscriptions, s.Edges, r.Machine.CPU, r.Machine.Cores)
	if s.Nodes > 0 {
		fmt.Fprintf(out, "%d nodes started for it on the same machine: --storage %s --sync %s --replicas %d --notify-rate %d\n", s.Nodes, s.Storage, s.Sync, s.Replicas, s.NotifyRate)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\toperation\tcount\ta second\tp50\tp90\tp99\tp99.9\tmax\trepeated\tfailed\t")
	for _, p := range []struct {
		name string
		*Part
	}{{"ramp", &r.Ramp}, {"load", &r.Load}} {
		for _, o := range p.Operations {
			fmt.Fprintf(w, "%s\t%s\t%d\t%.0f", p.name, o.Name, o.Count, float64(o.Count)/p.Seconds)
			for _, q := range o.Quantiles {
				fmt.Fprintf(w, "\t%v", took(q.US))
			}
			fmt.Fprintf(w, "\t%v\t%d\t%d\t\n", took(o.Max), o.Repeated, o.Failed)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	r.printUsage(out)
	for _, e := range r.Load.Events {
		fmt.Fprintf(out, "%6.1f s  %s\n", e.At, e.What)
	}
	for _, st := range r.Steps {
		met := "met"
		if !st.Met {
			met = "missed: " + st.Why
		}
		fmt.Fprintf(out, "%10.0f %s/s  %v  %s\n", st.Rate, s.unit(), took(st.Latency), met)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintf(out, "highest rate with %v: %.0f %s/s\n", s.Objective, r.highest(), s.unit())
	}
	if r.Load.Late > 5000 {
		fmt.Fprintf(out, "the generator itself was up to %v behind its schedule: a part of the highest latencies is its own\n", took(r.Load.Late))
	}
	if r.Load.Blocked > 0 {
		fmt.Fprintf(out, "%d arrivals found every extension that they tried busy and were left out: use more --extensions or a lower --rate\n", r.Load.Blocked)
	}
	_, err := fmt.Fprintln(out, r.Verdict.text())
	return err
}

// highest is the rate that a search found.
func (r *Result) highest() float64 {
	best := 0.0
	for _, s := range r.Steps {
		if s.Met {
			best = max(best, s.Rate)
		}
	}
	return best
}

func (r *Result) printUsage(out io.Writer) {
	if len(r.Load.Samples) == 0 {
		return
	}
	last := r.Load.Samples[len(r.Load.Samples)-1]
	cpu := func(of func(Sample) float64) float64 {
		total := 0.0
		for _, s := range r.Load.Samples {
			total += of(s)
		}
		return total / float64(len(r.Load.Samples))
	}
	for i, n := range last.Nodes {
		fmt.Fprintf(out, "%s: %.2f cores on average, %d MiB resident, %d MiB heap\n", n.Name, cpu(func(s Sample) float64 { return s.Nodes[i].CPU }), n.RSS>>20, n.Heap>>20)
	}
	fmt.Fprintf(out, "generator: %.2f cores on average, %d MiB resident\n", cpu(func(s Sample) float64 { return s.Generator.CPU }), last.Generator.RSS>>20)
}

// text is the verdict in words.
func (v *Verdict) text() string {
	var b strings.Builder
	if v.Right() {
		fmt.Fprintf(&b, "right: each of the %d watchers was last told what its lamp shows, and every subscription is listed once", v.Watchers)
	} else {
		fmt.Fprintf(&b, "WRONG: %d watchers never told, %d stuck, %d NOTIFYs out of order, %d twice, %d subscriptions missing, %d listed twice, %d requests failed, %d other mistakes",
			v.Never, v.Stuck, v.OutOfOrder, v.Duplicates, v.Missing, v.Twice, v.Failed, v.Mistakes)
		for _, e := range v.Examples {
			fmt.Fprintf(&b, "\n  %s", e)
		}
	}
	if n := v.SentAgain + v.Fenced + v.Replaced; n > 0 {
		fmt.Fprintf(&b, " (messages sent again: %d, of former owners: %d, changes replaced by newer ones: %d)", v.SentAgain, v.Fenced, v.Replaced)
	}
	return b.String()
}

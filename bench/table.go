package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// line describes the last second of every operation, for a terminal.
func (m *meter) line() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var parts []string
	for _, r := range m.recorders {
		r.mu.Lock()
		if n := len(r.series); n > 0 && r.series[n-1].Count > 0 {
			p := r.series[n-1]
			parts = append(parts, fmt.Sprintf("%s %d/s p99 %v", r.operation, p.Count, roundLatency(p.P99)))
		}
		r.mu.Unlock()
	}
	return strings.Join(parts, ", ")
}

// roundLatency rounds a latency in µs to what a reader needs.
func roundLatency(us int64) time.Duration {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Print writes a result as text: a table of the operations, what the nodes used, and the verdict.
func (r *Result) Print(out io.Writer) error {
	s := &r.Settings
	behind := fmt.Sprintf("%d edges", s.Edges)
	if s.Via == "sip" {
		behind = fmt.Sprintf("phones on %d flows of SIP over %s to each edge", s.Flows, s.Transport)
	}
	fmt.Fprintf(out, "%s through %s: %d extensions, %d subscriptions, %s; %s, %d cores\n", s.Scenario, s.Through, s.Extensions, s.Subscriptions, behind, r.Machine.CPU, r.Machine.Cores)
	if s.Nodes > 0 {
		fmt.Fprintf(out, "%d nodes, which the run started on the same machine: --storage %s --sync %s --replicas %d --notify-rate %d\n", s.Nodes, s.Storage, s.Sync, s.Replicas, s.NotifyRate)
	}
	fmt.Fprintf(out, "%s\n", strings.TrimSpace("lamplight "+r.Version+" "+r.Commit))
	if r.Command != "" {
		fmt.Fprintln(out, r.Command)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\toperation\tcount\toffered/s\tachieved/s\tp50\tp90\tp99\tp99.9\tmax\trepeated\tfailed\t")
	for _, p := range []struct {
		name string
		*Part
	}{{"ramp", &r.Ramp}, {"load", &r.Load}} {
		for _, o := range p.Operations {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s", p.name, o.Name, o.Count, rateText(p.offered(&o)), rateText(p.rate(&o)))
			for _, q := range o.Quantiles {
				fmt.Fprintf(w, "\t%v", roundLatency(q.US))
			}
			fmt.Fprintf(w, "\t%v\t%d\t%d\t\n", roundLatency(o.Max), o.Repeated, o.Failed)
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
		fmt.Fprintf(out, "%10.0f %s/s  %v  %s\n", st.Rate, s.unit(), roundLatency(st.Latency), met)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintf(out, "highest rate that meets %v: %.0f %s/s\n", s.Objective, r.highest(), s.unit())
	}
	if r.Load.Late > 5000 {
		fmt.Fprintf(out, "the load generator was up to %v behind its schedule: that much of the highest latencies is the generator's own\n", roundLatency(r.Load.Late))
	}
	rates, dropped := r.arrivals()
	for _, line := range []string{rates, dropped} {
		if line != "" {
			fmt.Fprintln(out, line)
		}
	}
	for _, o := range r.Outcomes {
		fmt.Fprintf(out, "%s %s: %s\n", map[bool]string{true: "CROSSED", false: "kept"}[o.Met], o.Condition, o.Found)
	}
	_, err := fmt.Fprintln(out, r.Verdict.text())
	return err
}

// rateText is a rate in a table; 0 is no rate.
func rateText(rate float64) string {
	switch {
	case rate == 0:
		return "-"
	case rate < 100:
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// highest is the highest rate of a search that met its objective; 0: none did.
func (r *Result) highest() float64 {
	best := 0.0
	for _, s := range r.Steps {
		if s.Met {
			best = max(best, s.Rate)
		}
	}
	return best
}

// printUsage writes what the nodes and the generator used during the load.
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

// text is the verdict in words. It begins with "right:" or "WRONG:".
func (v *Verdict) text() string {
	var b strings.Builder
	if v.Right() {
		fmt.Fprintf(&b, "right: each of the %d watchers was last told what its lamp shows, and every subscription is listed once", v.Watchers)
	} else {
		fmt.Fprintf(&b, "WRONG: %d watchers were never told, %d were last told something else than their lamp shows; %d NOTIFYs came out of order, %d twice; %d subscriptions are not listed, %d are listed twice; %d requests failed; %d other mistakes",
			v.Never, v.Stuck, v.OutOfOrder, v.Duplicates, v.Missing, v.Twice, v.Failed, v.Mistakes)
		for _, e := range v.Examples {
			fmt.Fprintf(&b, "\n  %s", e)
		}
	}
	if n := v.SentAgain + v.Fenced + v.Replaced; n > 0 {
		fmt.Fprintf(&b, " (normal: %d NOTIFY messages came again, %d came from former owners, %d changes were replaced by newer ones)", v.SentAgain, v.Fenced, v.Replaced)
	}
	return b.String()
}

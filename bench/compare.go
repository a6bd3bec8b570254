package bench

import (
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/perf/benchmath"
)

// significanceLevel is the p value below which a difference counts as more than noise.
const significanceLevel = 0.01

// Compare writes what changed between two results, and whether the change is more than noise. It takes each second of a run
// as one measurement; a Mann-Whitney U test gives the chance that both sets of seconds come from the same system. Compare
// warns if the runs were on different machines or had different settings. It refuses results of different scenarios.
func Compare(out io.Writer, a, b *Result) error {
	if a.Settings.Scenario != b.Settings.Scenario {
		return fmt.Errorf("%w: the first result is a run of scenario %s, the second of %s; only runs of one scenario compare", ErrSettings, a.Settings.Scenario, b.Settings.Scenario)
	}
	if a.Machine != b.Machine {
		fmt.Fprintln(out, "warning: the runs were on different machines, so a difference may be the machines'")
	}
	one, two := a.Settings, b.Settings
	one.Seed = two.Seed
	if one != two {
		fmt.Fprintln(out, "warning: the runs had different settings, so a difference may be theirs")
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t\t%.9s\t%.9s\tchange\t\t\n", a.Commit+"         ", b.Commit+"         ")
	for _, p := range []struct {
		name string
		a, b *Part
	}{{"ramp", &a.Ramp, &b.Ramp}, {"load", &a.Load, &b.Load}} {
		for i := range p.a.Operations {
			before := &p.a.Operations[i]
			after := p.b.operation(before.Name)
			if after == nil {
				continue
			}
			row := func(what string, x, y float64, of func(Point) float64) {
				fmt.Fprintf(w, "%s %s\t%s\t%.0f\t%.0f\t%s\t%s\t\n", p.name, before.Name, what, x, y, percent(x, y), compareSeries(before.Series, after.Series, of))
			}
			row("a second", p.a.rate(before), p.b.rate(after), func(p Point) float64 { return float64(p.Count) })
			row("p50 µs", float64(before.quantile(0.5)), float64(after.quantile(0.5)), func(p Point) float64 { return float64(p.P50) })
			row("p99 µs", float64(before.quantile(0.99)), float64(after.quantile(0.99)), func(p Point) float64 { return float64(p.P99) })
		}
	}
	x, y := totalCPU(&a.Load), totalCPU(&b.Load)
	fmt.Fprintf(w, "nodes\tcores\t%.2f\t%.2f\t%s\t%s\t\n", mean(x), mean(y), percent(mean(x), mean(y)), compareSamples(x, y))
	if len(a.Steps) > 0 && len(b.Steps) > 0 {
		fmt.Fprintf(w, "search\t%s/s\t%.0f\t%.0f\t%s\t\t\n", a.Settings.unit(), a.highest(), b.highest(), percent(a.highest(), b.highest()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, r := range []*Result{a, b} {
		if !r.Verdict.Right() {
			fmt.Fprintf(out, "result %d of 2 is %s\n", i+1, r.Verdict.text())
		}
	}
	return nil
}

// percent is the change from a to b.
func percent(a, b float64) string {
	if a == 0 {
		return ""
	}
	return fmt.Sprintf("%+.1f %%", (b-a)/a*100)
}

// compareSeries compares a value of two series, and takes only the seconds in which something was measured.
func compareSeries(a, b []Point, of func(Point) float64) string {
	values := func(series []Point) (out []float64) {
		for _, p := range series {
			if p.Count > 0 {
				out = append(out, of(p))
			}
		}
		return out
	}
	return compareSamples(values(a), values(b))
}

// compareSamples says whether two samples differ by more than noise, and with which p value.
func compareSamples(a, b []float64) string {
	if len(a) < 5 || len(b) < 5 {
		return "too short to tell"
	}
	limits := benchmath.Thresholds{CompareAlpha: significanceLevel}
	c := benchmath.AssumeNothing.Compare(benchmath.NewSample(a, &limits), benchmath.NewSample(b, &limits))
	if c.P >= c.Alpha {
		return "noise"
	}
	return fmt.Sprintf("p=%.4f", c.P)
}

func mean(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total / float64(max(len(values), 1))
}

// totalCPU gives the cores that all nodes used together, second by second.
func totalCPU(p *Part) []float64 {
	var all []float64
	for _, s := range p.Samples {
		total := 0.0
		for _, n := range s.Nodes {
			total += n.CPU
		}
		all = append(all, total)
	}
	return all
}

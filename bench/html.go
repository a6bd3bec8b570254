package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

//go:embed report.html
var reportText string

var report = template.Must(template.New("report").Funcs(template.FuncMap{"latency": roundLatency, "unit": func(s Settings) string { return s.unit() },
	"achieved": func(o Operation, p Part) string { return rateText(p.rate(&o)) }, "offered": func(o Operation, p Part) string { return rateText(p.offered(&o)) },
	"mib": func(b int64) int64 { return b >> 20 }, "text": func(v Verdict) string { return v.text() }}).Parse(reportText))

// SaveHTML writes a report with plots. The file refers to no other file, so a browser shows it without a network.
func (r *Result) SaveHTML(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	err = r.html(f)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// html writes the report.
func (r *Result) html(out io.Writer) error {
	rates, dropped := r.arrivals()
	return report.Execute(out, struct {
		*Result
		Plots          []template.HTML
		Rates, Dropped string
	}{r, r.plots(), rates, dropped})
}

// plots draws the plots of the report.
func (r *Result) plots() []template.HTML {
	var all []template.HTML
	if len(r.Steps) > 0 {
		all = append(all, r.searchPlot().svg())
	}
	for _, o := range r.Load.Operations {
		p := plot{title: "Latency of " + o.Name, unit: "µs", log: true, events: r.Load.Events}
		for _, l := range []struct {
			name string
			of   func(Point) int64
		}{{"p50", func(p Point) int64 { return p.P50 }}, {"p99", func(p Point) int64 { return p.P99 }}, {"p99.9", func(p Point) int64 { return p.P999 }}, {"max", func(p Point) int64 { return p.Max }}} {
			p.lines = append(p.lines, seriesLine(l.name, o.Series, func(p Point) float64 { return float64(l.of(p)) }))
		}
		all = append(all, p.svg())
	}
	curve := plot{title: "Latency by percentile", unit: "µs", log: true, x: overQuantile}
	for _, o := range r.Load.Operations {
		l := line{name: o.Name}
		for _, q := range o.Curve {
			l.x, l.y = append(l.x, 1/(1-q.Of)), append(l.y, float64(q.US))
		}
		curve.lines = append(curve.lines, l)
	}
	all = append(all, curve.svg())
	for _, o := range r.Load.Operations {
		l := line{name: o.Name}
		for _, bar := range o.Histogram {
			l.x, l.y = append(l.x, float64(bar.UpTo)), append(l.y, float64(bar.Count))
		}
		all = append(all, plot{title: "Latencies of " + o.Name + ", how many", x: overLatency, bars: true, lines: []line{l}}.svg())
	}
	throughput := plot{title: "Throughput", unit: "a second", events: r.Load.Events}
	for _, o := range r.Load.Operations {
		throughput.lines = append(throughput.lines, seriesLine(o.Name, o.Series, func(p Point) float64 { return float64(p.Count) }))
	}
	all = append(all, throughput.svg())
	cpu, memory := plot{title: "CPU", unit: "cores", events: r.Load.Events}, plot{title: "Memory", unit: "MiB", events: r.Load.Events}
	if len(r.Load.Samples) > 0 {
		for i, n := range r.Load.Samples[0].Nodes {
			cpu.lines = append(cpu.lines, sampleLine(n.Name, r.Load.Samples, func(s Sample) float64 { return s.Nodes[i].CPU }))
			memory.lines = append(memory.lines, sampleLine(n.Name+" resident", r.Load.Samples, func(s Sample) float64 { return float64(s.Nodes[i].RSS >> 20) }))
			memory.lines = append(memory.lines, sampleLine(n.Name+" heap", r.Load.Samples, func(s Sample) float64 { return float64(s.Nodes[i].Heap >> 20) }))
		}
		cpu.lines = append(cpu.lines, sampleLine("generator", r.Load.Samples, func(s Sample) float64 { return s.Generator.CPU }))
	}
	all = append(all, cpu.svg(), memory.svg())
	if stages := r.stagePlot(); len(stages.lines) > 0 {
		all = append(all, stages.svg())
	}
	return all
}

// stagePlot shows how long each stage on the way through the nodes took, on average over the nodes.
func (r *Result) stagePlot() plot {
	p := plot{title: "Cost by stage, mean of all nodes", unit: "µs", log: true, events: r.Load.Events}
	var names []string
	for _, s := range r.Load.Samples {
		for _, n := range s.Nodes {
			for _, st := range n.Stage {
				if !slices.Contains(names, st.Name) {
					names = append(names, st.Name)
				}
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p.lines = append(p.lines, sampleLine(name, r.Load.Samples, func(s Sample) float64 {
			count, total := 0.0, 0.0
			for _, n := range s.Nodes {
				for _, st := range n.Stage {
					if st.Name == name {
						count, total = count+st.Count, total+st.Count*st.US
					}
				}
			}
			return total / max(count, 1)
		}))
	}
	return p
}

// searchPlot shows the latency at each rate that a search tried.
func (r *Result) searchPlot() plot {
	steps := slices.Clone(r.Steps)
	slices.SortFunc(steps, func(a, b Step) int { return int(a.Rate - b.Rate) })
	l := line{name: r.Settings.Objective.String()}
	for _, s := range steps {
		l.x, l.y = append(l.x, s.Rate), append(l.y, float64(s.Latency))
	}
	return plot{title: fmt.Sprintf("Search: latency at %s a second", r.Settings.unit()), unit: "µs", log: true, lines: []line{l}, dots: true, x: overRate}
}

// seriesLine is a value of each second in which something was measured.
func seriesLine(name string, series []Point, of func(Point) float64) line {
	l := line{name: name}
	for _, p := range series {
		if p.Count > 0 {
			l.x, l.y = append(l.x, p.At), append(l.y, of(p))
		}
	}
	return l
}

// sampleLine is a value of each sample.
func sampleLine(name string, samples []Sample, of func(Sample) float64) line {
	l := line{name: strings.TrimPrefix(name, "http://")}
	for _, s := range samples {
		l.x, l.y = append(l.x, s.At), append(l.y, of(s))
	}
	return l
}

// plot is one picture: lines, or bars.
type plot struct {
	title, unit string // the unit of the y axis
	log         bool   // the y axis is logarithmic
	dots        bool   // the points of a line are marked
	bars        bool   // each point is a bar, from the x of the point before it to its own
	x           scale
	lines       []line
	events      []Event
}

// scale says what the x axis of a plot is.
type scale int

const (
	overTime     scale = iota // seconds
	overRate                  // a second
	overQuantile              // from 0 to 1, as 1/(1-q), so that p90, p99 and p99.9 are equally far from each other
	overLatency               // µs
)

// line is one line of a plot, with its name.
type line struct {
	name string
	x, y []float64
}

// axis is one axis of a plot.
type axis struct {
	low, high float64
	log       bool
	ticks     []float64
	label     func(v float64) string
}

// at returns where a value is on the axis, from 0 to 1.
func (a axis) at(v float64) float64 {
	v = min(max(v, a.low), a.high)
	if a.log {
		return math.Log10(v/a.low) / math.Log10(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// The size of a plot and its margins, in pixels.
const (
	width, height            = 560, 260
	left, right, top, bottom = 64, 24, 34, 30
)

// svg draws the plot.
func (p plot) svg() template.HTML {
	var b strings.Builder
	across, up := p.axes()
	x := func(v float64) float64 { return left + across.at(v)*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - up.at(v)*(height-top-bottom) }
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><text x="%d" y="16" class="title">%s</text>`, width, height, template.HTMLEscapeString(p.title), left, template.HTMLEscapeString(p.title))
	for _, v := range up.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="y" x="%d" y="%.1f">%s</text>`, left, width-right, y(v), y(v), left-6, y(v)+4, up.label(v))
	}
	for _, v := range across.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="x" x="%.1f" y="%d">%s</text>`, x(v), x(v), height-bottom, height-bottom+4, x(v), height-bottom+16, across.label(v))
	}
	for _, e := range p.events {
		fmt.Fprintf(&b, `<line class="event" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s</title></line>`, x(e.At), x(e.At), top, height-bottom, template.HTMLEscapeString(e.What))
	}
	names := float64(left)
	for i, l := range p.lines {
		if p.bars {
			p.drawBars(&b, l, x, y, across.low)
			continue
		}
		fmt.Fprintf(&b, `<polyline class="l%d" points="`, i%8)
		for j := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(l.x[j]), y(l.y[j]))
		}
		b.WriteString(`"/>`)
		for j := range l.x {
			if p.dots {
				fmt.Fprintf(&b, `<circle class="l%d" cx="%.1f" cy="%.1f" r="3"/>`, i%8, x(l.x[j]), y(l.y[j]))
			}
		}
		fmt.Fprintf(&b, `<text class="l%d" x="%.0f" y="29">%s</text>`, i%8, names, template.HTMLEscapeString(l.name))
		names += 14 + 6*float64(len(l.name))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // all outside text in it is escaped above
}

// drawBars draws a line as bars.
func (p plot) drawBars(b *strings.Builder, l line, x, y func(float64) float64, low float64) {
	for j := range l.x {
		from := l.x[j] / math.Pow(10, 1.0/barsADecade)
		begin, end := x(max(from, low)), x(l.x[j])
		fmt.Fprintf(b, `<rect class="bar" x="%.1f" width="%.1f" y="%.1f" height="%.1f"><title>%.0f up to %v</title></rect>`,
			begin, max(end-begin-1, 1), y(l.y[j]), height-bottom-y(l.y[j]), l.y[j], roundLatency(int64(l.x[j])))
	}
}

// axes returns the axes on which all points lie.
func (p plot) axes() (across, up axis) {
	xs, ys := []float64(nil), []float64(nil)
	for _, l := range p.lines {
		for j := range l.x {
			xs = append(xs, l.x[j])
			if !p.log || l.y[j] > 0 {
				ys = append(ys, l.y[j])
			}
		}
	}
	if len(xs) == 0 {
		xs = []float64{1}
	}
	if len(ys) == 0 {
		ys = []float64{1}
	}
	up = axis{high: slices.Max(ys), label: p.yLabel}
	if p.log {
		up = logAxis(slices.Min(ys), slices.Max(ys), p.yLabel)
	} else {
		up.ticks = evenTicks(max(up.high, 0.1), 5)
		up.high = up.ticks[len(up.ticks)-1]
	}
	switch p.x {
	case overLatency:
		return logAxis(slices.Min(xs)/math.Pow(10, 1.0/barsADecade), slices.Max(xs), func(v float64) string { return roundLatency(int64(v)).String() }), up
	case overQuantile:
		across = axis{low: 1, high: max(slices.Max(xs), 10), log: true, ticks: []float64{1, 2}, label: func(v float64) string { return fmt.Sprintf("p%.6g", 100*(1-1/v)) }}
		for v := 10.0; v <= across.high*1.001; v *= 10 {
			across.ticks = append(across.ticks, v)
		}
		return across, up
	}
	across = axis{high: max(slices.Max(xs), 1), label: func(v float64) string { return fmt.Sprintf("%.4g s", v) }}
	if p.x == overRate {
		across.label = func(v float64) string { return fmt.Sprintf("%.6g", v) }
	}
	for _, v := range evenTicks(across.high, 8) {
		if v <= across.high*1.001 {
			across.ticks = append(across.ticks, v)
		}
	}
	return across, up
}

// evenTicks returns up to about so many even values from 0 to the first that is not below high. Their distance is 1, 2 or 5 times a
// power of ten.
func evenTicks(high float64, most int) (all []float64) {
	step := math.Pow(10, math.Floor(math.Log10(high/float64(most))))
	for _, times := range []float64{1, 2, 5, 10} {
		if high/(step*times) <= float64(most) {
			step *= times
			break
		}
	}
	for i := 0; ; i++ {
		v := step * float64(i)
		all = append(all, v)
		if v >= high*0.9999 {
			return all
		}
	}
}

// logAxis returns a logarithmic axis from a value to another, which begins and ends with a tick. Its ticks are the powers of ten, and
// on an axis of up to two of them also 2 and 5 times these.
func logAxis(low, high float64, label func(float64) string) axis {
	low = max(low, 1)
	high = max(high, low*1.01)
	times := []float64{1}
	if high/low <= 100 {
		times = []float64{1, 2, 5}
	}
	a := axis{log: true, label: label}
	for decade := math.Pow(10, math.Floor(math.Log10(low))); ; decade *= 10 {
		for _, t := range times {
			v := decade * t
			if v <= low*1.0001 { // the last tick that is not above the lowest value begins the axis
				a.ticks = a.ticks[:0]
			}
			a.ticks = append(a.ticks, v)
			if v >= high*0.9999 {
				a.low, a.high = a.ticks[0], v
				return a
			}
		}
	}
}

// yLabel is the text of a value on the y axis.
func (p plot) yLabel(v float64) string {
	if p.unit == "µs" {
		return roundLatency(int64(v)).String()
	}
	return fmt.Sprintf("%.4g %s", v, strings.TrimPrefix(p.unit, "a second"))
}

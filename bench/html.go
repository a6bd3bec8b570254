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
	"rate": func(o Operation, p Part) string { return fmt.Sprintf("%.0f", float64(o.Count)/p.Seconds) },
	"mib":  func(b int64) int64 { return b >> 20 }, "text": func(v Verdict) string { return v.text() }}).Parse(reportText))

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
	return report.Execute(out, struct {
		*Result
		Plots []template.HTML
	}{r, r.plots()})
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
	return plot{title: fmt.Sprintf("Search: latency at %s a second", r.Settings.unit()), unit: "µs", log: true, lines: []line{l}, dots: true}
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

// plot is one picture: values over time, or, with dots, over rates.
type plot struct {
	title, unit string
	log         bool // the y axis is logarithmic
	dots        bool
	lines       []line
	events      []Event
}

// line is one line of a plot, with its name.
type line struct {
	name string
	x, y []float64
}

// The size of a plot and its margins, in pixels.
const (
	width, height            = 560, 260
	left, right, top, bottom = 64, 12, 34, 30
)

// svg draws the plot.
func (p plot) svg() template.HTML {
	var b strings.Builder
	low, high, end := p.bounds()
	x := func(v float64) float64 { return left + v/end*(width-left-right) }
	y := func(v float64) float64 {
		at := (v - low) / (high - low)
		if p.log {
			at = (math.Log10(max(v, low)) - math.Log10(low)) / (math.Log10(high) - math.Log10(low))
		}
		return height - bottom - at*(height-top-bottom)
	}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s"><text x="%d" y="16" class="title">%s</text>`, width, height, template.HTMLEscapeString(p.title), left, template.HTMLEscapeString(p.title))
	for _, v := range p.ticks(low, high) {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="y" x="%d" y="%.1f">%s</text>`, left, width-right, y(v), y(v), left-6, y(v)+4, p.yLabel(v))
	}
	for i := range 5 {
		v := end * float64(i) / 4
		fmt.Fprintf(&b, `<text class="x" x="%.1f" y="%d">%s</text>`, x(v), height-bottom+16, p.xLabel(v))
	}
	for _, e := range p.events {
		fmt.Fprintf(&b, `<line class="event" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s</title></line>`, x(min(e.At, end)), x(min(e.At, end)), top, height-bottom, template.HTMLEscapeString(e.What))
	}
	names := float64(left)
	for i, l := range p.lines {
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

// bounds gives the lowest and the highest value to show, and the end of the x axis.
func (p plot) bounds() (low, high, end float64) {
	low, end = math.Inf(1), 1
	for _, l := range p.lines {
		for j := range l.x {
			end = max(end, l.x[j])
			if !p.log || l.y[j] > 0 {
				low, high = min(low, l.y[j]), max(high, l.y[j])
			}
		}
	}
	if !p.log {
		return 0, max(high*1.05, 0.1), end
	}
	if math.IsInf(low, 1) {
		low = 1
	}
	low = math.Pow(10, math.Floor(math.Log10(low)))
	return low, max(math.Pow(10, math.Ceil(math.Log10(max(high, low)))), low*10), end
}

// ticks are the values at which a horizontal line is drawn.
func (p plot) ticks(low, high float64) []float64 {
	var all []float64
	if p.log {
		for v := low; v <= high*1.001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10(high)))
	for high/step < 3 {
		step /= 2
	}
	for v := 0.0; v <= high; v += step {
		all = append(all, v)
	}
	return all
}

// yLabel is the text of a value on the y axis.
func (p plot) yLabel(v float64) string {
	if p.unit == "µs" {
		return roundLatency(int64(v)).String()
	}
	return fmt.Sprintf("%.4g %s", v, strings.TrimPrefix(p.unit, "a second"))
}

// xLabel is the text of a value on the x axis: seconds, or with dots a rate.
func (p plot) xLabel(v float64) string {
	if p.dots {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.0f s", v)
}

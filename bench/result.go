package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Result is what a run found, in the form that --json keeps in a file. Latencies are in microseconds. Times of a series are in
// seconds since its part began.
type Result struct {
	Format   int       `json:"format"` // of this document; this program writes and reads 1
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Commit   string    `json:"commit"`
	Command  string    `json:"command,omitempty"` // the command line, without passwords
	Machine  Machine   `json:"machine"`
	Settings Settings  `json:"settings"`
	Ramp     Part      `json:"ramp"`            // making every subscription
	Load     Part      `json:"load"`            // the measured load
	Steps    []Step    `json:"steps,omitempty"` // of a search only
	Verdict  Verdict   `json:"verdict"`
	Outcomes []Outcome `json:"conditions,omitempty"` // of --fail-if
}

// Machine is where a run ran.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Part is one measured part of a run: the ramp or the load.
type Part struct {
	Seconds    float64     `json:"seconds"`
	Operations []Operation `json:"operations"`
	Samples    []Sample    `json:"samples"`
	Events     []Event     `json:"events,omitempty"`
	Offered    int64       `json:"offered"`           // arrivals that the schedule had; 0 in the ramp, which has none
	Window     float64     `json:"window_seconds"`    // for how long arrivals came; 0 in the ramp
	Late       int64       `json:"generator_late_us"` // how far the generator was behind its schedule at most
	Blocked    int64       `json:"blocked"`           // arrivals that were left out, because they found no extension without a call or command
}

// Operation is one kind of request, or "told": from the change of a lamp until the edge of its last watcher has the NOTIFY.
type Operation struct {
	Name      string     `json:"name"`
	Count     int64      `json:"count"`
	Failed    int64      `json:"failed"`
	Repeated  int64      `json:"repeated"`
	Mean      float64    `json:"mean_us"`
	Quantiles []Quantile `json:"quantiles"`
	Max       int64      `json:"max_us"`
	Series    []Point    `json:"series"`
	Seconds   float64    `json:"seconds,omitempty"`   // in which they were done
	Curve     []Quantile `json:"curve,omitempty"`     // latencies up to the last
	Histogram []Bar      `json:"histogram,omitempty"` // of the latencies
}

// Bar is how many latencies lie up to a bound, above that of the bar before.
type Bar struct {
	UpTo  int64 `json:"up_to_us"`
	Count int64 `json:"count"`
}

// Quantile is the latency that this share of the operations (0.99) stayed within.
type Quantile struct {
	Of float64 `json:"of"`
	US int64   `json:"us"`
}

// Point is one second of an operation.
type Point struct {
	At    float64 `json:"at"`
	Count int64   `json:"count"`
	P50   int64   `json:"p50_us"`
	P99   int64   `json:"p99_us"`
	P999  int64   `json:"p999_us"`
	Max   int64   `json:"max_us"`
}

// Event is something that the run did to a node.
type Event struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// Step is one rate that a search tried. Why says why it did not meet the objective.
type Step struct {
	Rate     float64 `json:"rate"`
	Latency  int64   `json:"latency_us"`
	Met      bool    `json:"met"`
	Why      string  `json:"why,omitempty"`
	Achieved float64 `json:"achieved"`
}

// Verdict is what the checks found. The run is wrong if any number from Never to Mistakes is above 0; the last three numbers are
// normal.
type Verdict struct {
	Watchers   int      `json:"watchers"`
	Never      int      `json:"never_told"`         // watchers that got no NOTIFY at all
	Stuck      int      `json:"stuck"`              // watchers whose last NOTIFY is not what their lamp shows
	OutOfOrder int64    `json:"out_of_order"`       // NOTIFYs whose Sequence went back
	Duplicates int64    `json:"duplicates"`         // NOTIFYs with a Sequence that the watcher already had, in messages that were not repeated
	Missing    int      `json:"missing"`            // subscriptions that no listing shows
	Twice      int      `json:"listed_twice"`       // subscriptions that listings show more than once
	Failed     int64    `json:"failed"`             // requests that were refused, or not acknowledged in time
	Mistakes   int64    `json:"mistakes"`           // answers, NOTIFYs and node failures that must not happen
	Examples   []string `json:"examples,omitempty"` // some of the above, in words

	SentAgain int64 `json:"sent_again"` // NOTIFY messages that came twice under the same Edge-Seq, as docs/contract/nats.md allows
	Fenced    int64 `json:"fenced"`     // NOTIFY messages of former owners, which the edges dropped
	Replaced  int64 `json:"replaced"`   // changes that a newer one replaced before all watchers were told
}

// Right says whether nothing was wrong.
func (v *Verdict) Right() bool {
	return v.Never+v.Stuck+v.Missing+v.Twice == 0 && v.OutOfOrder+v.Duplicates+v.Failed+v.Mistakes == 0
}

// rate is how many of an operation were done in a second, over the time in which they were. The part as a whole lasts longer: the
// last calls still ring and talk when no new ones come, and a run of some seconds would seem to be much slower than it was.
func (p *Part) rate(o *Operation) float64 {
	seconds := o.Seconds
	if seconds == 0 { // a result of an earlier release
		seconds = p.Seconds
	}
	return float64(o.Count) / max(seconds, 1e-3)
}

// offered is how many of an operation were begun in a second, done or not; 0: the part had no schedule.
func (p *Part) offered(o *Operation) float64 {
	window := p.Window
	if o.Name == stormed {
		window = o.Seconds
	}
	if window == 0 {
		return 0
	}
	return float64(o.Count+o.Failed) / window
}

// arrivals says in words how many arrivals a second there were to be, and how many there were. dropped says how many were left out;
// "": none.
func (r *Result) arrivals() (rates, dropped string) {
	p := &r.Load
	if p.Window == 0 {
		return "", ""
	}
	achieved := 0.0
	for _, name := range firstOperations[r.Settings.Scenario] {
		if o := p.operation(name); o != nil {
			achieved += p.rate(o)
		}
	}
	rates = fmt.Sprintf("offered %.1f %s a second, achieved %.1f", float64(p.Offered)/p.Window, r.Settings.unit(), achieved)
	if p.Blocked > 0 {
		dropped = fmt.Sprintf("%d of %d arrivals were dropped (%.1f %%), because they found no extension without a call or command: use more --extensions or a lower --rate",
			p.Blocked, p.Offered, 100*float64(p.Blocked)/float64(max(p.Offered, 1)))
	}
	return rates, dropped
}

// operation gives a part's operation by name, or nil.
func (p *Part) operation(name string) *Operation {
	for i := range p.Operations {
		if p.Operations[i].Name == name {
			return &p.Operations[i]
		}
	}
	return nil
}

// quantile gives one of the operation's quantiles in µs, or 0 if it has no such quantile.
func (o *Operation) quantile(of float64) int64 {
	for _, q := range o.Quantiles {
		if q.Of == of {
			return q.US
		}
	}
	return 0
}

// Save writes the result as JSON.
func (r *Result) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// maxResult bounds the size of a result's file in bytes. A day of samples stays below it.
const maxResult = 256 << 20

// Load reads a result that Save wrote.
func Load(file string) (*Result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxResult))
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is not a result of lamplight bench (--json): %w", file, err)
	}
	if r.Format != 1 {
		return nil, fmt.Errorf("%s has format %d, and this program reads format 1 only", file, r.Format)
	}
	return r, nil
}

func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	for line := range strings.Lines(readText("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	_, _ = fmt.Sscanf(readText("/proc/meminfo"), "MemTotal: %d kB", &m.Memory)
	m.Memory *= 1024
	m.Kernel = strings.TrimSpace(readText("/proc/sys/kernel/osrelease"))
	return m
}

// readText reads a file; a file that cannot be read is empty.
func readText(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

// commit gives the revision that the program was built from, or "" if the build does not say.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return revision + dirty
}

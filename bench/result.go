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

// Result is what a run found, as it is kept in a file. Latencies are in microseconds, times of a series in seconds since
// its part began.
type Result struct {
	Format   int       `json:"format"` // of this document: 1
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Commit   string    `json:"commit"`
	Machine  Machine   `json:"machine"`
	Settings Settings  `json:"settings"`
	Ramp     Part      `json:"ramp"`            // until every subscription was there
	Load     Part      `json:"load"`            // the measured part
	Steps    []Step    `json:"steps,omitempty"` // of a search
	Verdict  Verdict   `json:"verdict"`
}

// Machine is where it ran.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Part is one measured part of a run.
type Part struct {
	Seconds    float64     `json:"seconds"`
	Operations []Operation `json:"operations"`
	Samples    []Sample    `json:"samples"`
	Events     []Event     `json:"events,omitempty"`
	Late       int64       `json:"generator_late_us"` // the most that the generator itself was behind its schedule
	Blocked    int64       `json:"blocked"`           // arrivals that found every extension busy
}

// Operation is one kind of request, or "told": a change until the last of its watchers' edges has it.
type Operation struct {
	Name      string     `json:"name"`
	Count     int64      `json:"count"`
	Failed    int64      `json:"failed"`
	Repeated  int64      `json:"repeated"`
	Mean      float64    `json:"mean_us"`
	Quantiles []Quantile `json:"quantiles"`
	Max       int64      `json:"max_us"`
	Series    []Point    `json:"series"`
}

// Quantile is a latency that this part of the operations stayed within.
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

// Event is something that was done to the cluster.
type Event struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// Step is one rate that a search tried.
type Step struct {
	Rate     float64 `json:"rate"`
	Latency  int64   `json:"latency_us"`
	Met      bool    `json:"met"`
	Why      string  `json:"why,omitempty"`
	Achieved float64 `json:"achieved"`
}

// Verdict is what the checks found. Anything but zeroes in the first part is wrong.
type Verdict struct {
	Watchers   int      `json:"watchers"`
	Never      int      `json:"never_told"`         // watchers that got no NOTIFY at all
	Stuck      int      `json:"stuck"`              // watchers that were last told something else than their lamp shows
	OutOfOrder int64    `json:"out_of_order"`       // NOTIFYs whose Sequence went back
	Duplicates int64    `json:"duplicates"`         // NOTIFYs that came twice under numbers of their own
	Missing    int      `json:"missing"`            // acknowledged subscriptions that no listing shows
	Twice      int      `json:"listed_twice"`       // subscriptions that the listings show more than once
	Failed     int64    `json:"failed"`             // requests that were refused or never acknowledged
	Mistakes   int64    `json:"mistakes"`           // other answers and NOTIFYs that must not be
	Examples   []string `json:"examples,omitempty"` // of all these

	SentAgain int64 `json:"sent_again"` // messages that came twice under the same number, as the contract allows
	Fenced    int64 `json:"fenced"`     // messages of former owners, which the edges dropped
	Replaced  int64 `json:"replaced"`   // changes that a newer one replaced before all watchers were told
}

// Right says that nothing was wrong.
func (v *Verdict) Right() bool {
	return v.Never+v.Stuck+v.Missing+v.Twice == 0 && v.OutOfOrder+v.Duplicates+v.Failed+v.Mistakes == 0
}

// operation gives a part's operation by name.
func (p *Part) operation(name string) *Operation {
	for i := range p.Operations {
		if p.Operations[i].Name == name {
			return &p.Operations[i]
		}
	}
	return nil
}

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

// maxResult bounds a result's file: a day of samples stays below it.
const maxResult = 256 << 20

// Load reads what Save wrote.
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
		return nil, fmt.Errorf("%s is no result of lamplight bench: %w", file, err)
	}
	if r.Format != 1 {
		return nil, fmt.Errorf("%s has format %d; this program reads 1", file, r.Format)
	}
	return r, nil
}

func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	for line := range strings.Lines(slurp("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	_, _ = fmt.Sscanf(slurp("/proc/meminfo"), "MemTotal: %d kB", &m.Memory)
	m.Memory *= 1024
	m.Kernel = strings.TrimSpace(slurp("/proc/sys/kernel/osrelease"))
	return m
}

func slurp(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}

// commit is what the program was built from, as far as the build says.
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

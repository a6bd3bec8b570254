package bench

import (
	"context"
	"io"
	"net/http"
	"sort"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	names "github.com/prometheus/common/model"
)

// Sample is what the processes used, at one time.
type Sample struct {
	At        float64 `json:"at"`
	Nodes     []Usage `json:"nodes"`
	Generator Usage   `json:"generator"`
}

// Usage is one process's.
type Usage struct {
	Name  string  `json:"name"`
	Gone  bool    `json:"gone,omitempty"` // it didn't answer
	CPU   float64 `json:"cpu"`            // cores, since the last sample
	RSS   int64   `json:"rss_bytes"`
	Heap  int64   `json:"heap_bytes"`
	Stage []Stage `json:"stages,omitempty"`
}

// Stage is what one stage of the way from a request to its NOTIFYs took on average, since the last sample.
type Stage struct {
	Name  string  `json:"name"`
	Count float64 `json:"count"`
	US    float64 `json:"mean_us"`
}

// sampler asks the nodes for their metrics.
type sampler struct {
	urls   []string
	client *http.Client
	last   []counters // of the nodes
	self   time.Duration
	when   time.Time
}

// counters are metrics of a node that only grow.
type counters struct {
	at     time.Time
	cpu    float64
	stages map[string]sum
}

type sum struct{ count, seconds float64 }

func newSampler(urls []string, client *http.Client) *sampler {
	s := &sampler{urls: urls, client: client, last: make([]counters, len(urls))}
	s.sample(0)
	return s
}

func (s *sampler) sample(at time.Duration) Sample {
	now := time.Now()
	out := Sample{At: at.Seconds()}
	for i, u := range s.urls {
		out.Nodes = append(out.Nodes, s.node(i, u))
	}
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	self := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	if !s.when.IsZero() {
		out.Generator = Usage{Name: "generator", CPU: float64(self-s.self) / float64(now.Sub(s.when)), RSS: used.Maxrss * 1024}
	}
	s.self, s.when = self, now
	return out
}

func (s *sampler) node(i int, url string) Usage {
	u := Usage{Name: url}
	families, err := s.ask(url)
	if err != nil {
		u.Gone = true
		return u
	}
	now := counters{at: time.Now(), cpu: value(families["process_cpu_seconds_total"]), stages: map[string]sum{}}
	u.RSS, u.Heap = int64(value(families["process_resident_memory_bytes"])), int64(value(families["go_memstats_heap_inuse_bytes"]))
	if f := families["lamplight_stage_seconds"]; f != nil {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "stage" {
					now.stages[l.GetValue()] = sum{float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()}
				}
			}
		}
	}
	before := s.last[i]
	s.last[i] = now
	if before.at.IsZero() || now.cpu < before.cpu { // the first time, or it is a new process
		return u
	}
	u.CPU = (now.cpu - before.cpu) / now.at.Sub(before.at).Seconds()
	for name, n := range now.stages {
		if count := n.count - before.stages[name].count; count > 0 {
			u.Stage = append(u.Stage, Stage{name, count, (n.seconds - before.stages[name].seconds) / count * 1e6})
		}
	}
	sort.Slice(u.Stage, func(a, b int) bool { return u.Stage[a].Name < u.Stage[b].Name })
	return u
}

func (s *sampler) ask(url string) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	a, err := s.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	parser := expfmt.NewTextParser(names.UTF8Validation)
	return parser.TextToMetricFamilies(io.LimitReader(a.Body, 4<<20))
}

// value is the sum of a family's plain metrics.
func value(f *dto.MetricFamily) float64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return total
}

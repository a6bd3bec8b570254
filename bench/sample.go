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

// Sample is what the nodes and the generator used, at one time.
type Sample struct {
	At        float64 `json:"at"`
	Nodes     []Usage `json:"nodes"`
	Generator Usage   `json:"generator"`
}

// Usage is what one process used.
type Usage struct {
	Name  string  `json:"name"`
	Gone  bool    `json:"gone,omitempty"` // it did not answer within 500 ms
	CPU   float64 `json:"cpu"`            // cores on average since the last sample
	RSS   int64   `json:"rss_bytes"`      // now; of the generator: at most so far
	Heap  int64   `json:"heap_bytes"`
	Stage []Stage `json:"stages,omitempty"`
}

// Stage is how long one stage on the way from a request to its NOTIFYs took on average since the last sample: one value of the
// label stage of lamplight_stage_seconds.
type Stage struct {
	Name  string  `json:"name"`
	Count float64 `json:"count"`
	US    float64 `json:"mean_us"`
}

// sampler reads the metrics of the nodes (/metrics).
type sampler struct {
	urls      []string
	client    *http.Client
	last      []counters // of each node
	selfCPU   time.Duration
	sampledAt time.Time
}

// counters are metrics of a node that only grow while it lives.
type counters struct {
	at     time.Time
	cpu    float64
	stages map[string]stageTotal
}

// stageTotal is what a node's histogram of one stage has counted since the node started.
type stageTotal struct{ count, seconds float64 }

func newSampler(urls []string, client *http.Client) *sampler {
	s := &sampler{urls: urls, client: client, last: make([]counters, len(urls))}
	s.sample(0)
	return s
}

// sample takes a sample. at is the time since the part began.
func (s *sampler) sample(at time.Duration) Sample {
	now := time.Now()
	out := Sample{At: at.Seconds()}
	for i, u := range s.urls {
		out.Nodes = append(out.Nodes, s.nodeUsage(i, u))
	}
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	self := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	if !s.sampledAt.IsZero() {
		out.Generator = Usage{Name: "generator", CPU: float64(self-s.selfCPU) / float64(now.Sub(s.sampledAt)), RSS: used.Maxrss * 1024}
	}
	s.selfCPU, s.sampledAt = self, now
	return out
}

// nodeUsage is what node i used since its last sample.
func (s *sampler) nodeUsage(i int, url string) Usage {
	u := Usage{Name: url}
	families, err := s.scrape(url)
	if err != nil {
		u.Gone = true
		return u
	}
	now := counters{at: time.Now(), cpu: value(families["process_cpu_seconds_total"]), stages: map[string]stageTotal{}}
	u.RSS, u.Heap = int64(value(families["process_resident_memory_bytes"])), int64(value(families["go_memstats_heap_inuse_bytes"]))
	if f := families["lamplight_stage_seconds"]; f != nil {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "stage" {
					now.stages[l.GetValue()] = stageTotal{float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()}
				}
			}
		}
	}
	before := s.last[i]
	s.last[i] = now
	if before.at.IsZero() || now.cpu < before.cpu { // the first sample of this process
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

// scrape reads a node's metrics. It waits 500 ms at most.
func (s *sampler) scrape(url string) (map[string]*dto.MetricFamily, error) {
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

// value is the sum of a family's counters and gauges.
func value(f *dto.MetricFamily) float64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return total
}

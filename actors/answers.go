package actors

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
)

// countAnswersEvery is how often a shard counts the watchers that do not answer. It looks at each of its subscriptions for that: NOTIFYs to an edge
// that reports no answers are never answered, so the extensions that may have such watchers can be most of all. Tests count more often.
var countAnswersEvery = 15 * time.Second

// answers is what a count has found of an edge.
type answers struct {
	watchers   int
	unanswered int // those that were told and have not answered for some seconds, or have answered with a failure
	ever       int // those that have ever answered
}

// add returns the sum of two counts.
func (a answers) add(b answers) answers {
	return answers{a.watchers + b.watchers, a.unanswered + b.unanswered, a.ever + b.ever}
}

// countAnswers counts the watchers that do not answer, if the last count is long enough ago.
func (s *shard) countAnswers(now time.Time) {
	if now.Sub(s.answersCounted) < countAnswersEvery {
		return
	}
	s.answersCounted = now
	by := map[string]answers{}
	for _, x := range s.extensions {
		for _, w := range x.state.Subscriptions() {
			a := by[w.Edge()]
			a.watchers++
			if since, told := w.Lags(now); told && !since.IsZero() {
				a.unanswered++
			}
			if w.Acked() > 0 || w.Reply() != 0 {
				a.ever++
			}
			by[w.Edge()] = a
		}
	}
	if len(by) == 0 {
		s.answersBy.Store(nil)
	} else {
		s.answersBy.Store(&by)
	}
}

// answerMetrics shows the newest counts by edge. It implements prometheus.Collector.
type answerMetrics struct{ sys *System }

var (
	edgeWatchers = prometheus.NewDesc("lamplight_edge_watchers",
		"Watchers by edge: of the 20 edges with the most that do not answer, and of all others together. They are counted every 15 s.", []string{"edge"}, nil)
	edgeUnanswered = prometheus.NewDesc("lamplight_edge_watchers_unanswered",
		"Watchers that have not answered a NOTIFY for 4 s, or answered with a failure, of the same edges. It is 0 for an edge of which no watcher has ever answered, because some proxies report no answers, unless nobody listens for it.", []string{"edge"}, nil)
)

// Describe implements prometheus.Collector.
func (answerMetrics) Describe(to chan<- *prometheus.Desc) { to <- edgeWatchers; to <- edgeUnanswered }

// Collect implements prometheus.Collector.
func (m answerMetrics) Collect(to chan<- prometheus.Metric) {
	all := map[string]answers{}
	for _, sh := range m.sys.shards {
		if sh == nil {
			continue // the System has not been started
		}
		if by := sh.answersBy.Load(); by != nil {
			for edge, a := range *by {
				all[edge] = all[edge].add(a)
			}
		}
	}
	now := time.Now()
	for edge, a := range all {
		if is := m.sys.cfg.EdgeState(edge, now).Listens; a.ever == 0 && is != presence.EdgeNobody && is != presence.EdgeDown {
			a.unanswered = 0
			all[edge] = a
		}
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b].unanswered, all[a].unanswered), cmp.Compare(all[b].watchers, all[a].watchers), cmp.Compare(a, b))
	})
	shown := map[string]answers{}
	for i, name := range names {
		label := edgeLabel(i, name)
		shown[label] = shown[label].add(all[name])
	}
	for label, a := range shown {
		to <- prometheus.MustNewConstMetric(edgeWatchers, prometheus.GaugeValue, float64(a.watchers), label)
		to <- prometheus.MustNewConstMetric(edgeUnanswered, prometheus.GaugeValue, float64(a.unanswered), label)
	}
}

// edgeLabel is the label of an edge that is the i-th by the number of its watchers that are in trouble.
func edgeLabel(i int, name string) string {
	if i >= maxBehindEdges {
		return otherEdges
	}
	return cmp.Or(strings.ToValidUTF8(name, "?"), noEdge)
}

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

// countAnswersEvery is how often a shard counts the watchers that do not answer. Tests count more often.
var countAnswersEvery = 15 * time.Second

// awaitAnswers notes an extension if some of its watchers have not answered yet. countAnswers looks only at the extensions that are noted. Some edges report
// no answers of their watchers. An extension that has only such watchers is not noted.
func (s *shard) awaitAnswers(x *extension) {
	x.state.Unanswered(time.Time{}, func(edge string, _ bool) {
		if !s.edges.answered(edge) {
			return
		}
		if s.unanswered == nil {
			s.unanswered = map[*extension]struct{}{}
		}
		s.unanswered[x] = struct{}{}
	})
}

// noteAnswer notes that an edge reports answers: the edge of the watcher that has sent the reply. After the first reply from an edge, all shards look
// for other watchers behind it that have not answered.
func (s *shard) noteAnswer(x *extension, reply *presence.Notified) {
	edge, ok := x.state.Answers(reply)
	if !ok {
		return
	}
	if of, known := s.edges.names[edge]; known && !of.node.answered.Swap(true) {
		s.sys.forBehind(edgeAnswered{edge}, edge)
	}
}

// countAnswers counts the watchers that do not answer, if the last count is long enough ago. It drops the extensions whose watchers have all answered.
func (s *shard) countAnswers(now time.Time) {
	if now.Sub(s.answersCounted) < countAnswersEvery {
		return
	}
	s.answersCounted = now
	by := map[string]int{}
	for x := range s.unanswered {
		awaits := false
		x.state.Unanswered(now, func(edge string, late bool) {
			if !s.edges.answered(edge) {
				return
			}
			if awaits = true; late {
				by[edge]++
			}
		})
		if !awaits {
			delete(s.unanswered, x)
		}
	}
	if len(s.unanswered) == 0 {
		s.unanswered = nil // an empty map keeps the memory of its largest size
	}
	if len(by) == 0 {
		s.unansweredBy.Store(nil)
	} else {
		s.unansweredBy.Store(&by)
	}
}

// answerMetrics shows the newest counts by edge. It implements prometheus.Collector.
type answerMetrics struct{ sys *System }

var (
	edgeWatchers = prometheus.NewDesc("lamplight_edge_watchers",
		"Watchers by edge: of the 20 edges with the most that do not answer, and of all others together.", []string{"edge"}, nil)
	edgeUnanswered = prometheus.NewDesc("lamplight_edge_watchers_unanswered",
		"Watchers that have not answered a NOTIFY for 4 s, or answered with a failure, of the same edges, counted every 15 s. It is 0 for an edge of which no watcher has ever answered, because some proxies report no answers; when nobody listens for such an edge, it is all its watchers.", []string{"edge"}, nil)
)

// Describe implements prometheus.Collector.
func (answerMetrics) Describe(to chan<- *prometheus.Desc) { to <- edgeWatchers; to <- edgeUnanswered }

// Collect implements prometheus.Collector.
func (m answerMetrics) Collect(to chan<- prometheus.Metric) {
	watchers, unanswered := m.sys.edges.totals(), map[string]int{}
	for _, sh := range m.sys.shards {
		if sh == nil {
			continue // the System has not been started
		}
		if by := sh.unansweredBy.Load(); by != nil {
			for edge, n := range *by {
				unanswered[edge] += n
			}
		}
	}
	now := time.Now()
	for edge, n := range watchers {
		if is := m.sys.cfg.EdgeState(edge, now).Listens; (is == presence.EdgeNobody || is == presence.EdgeDown) && !m.sys.edges.answered(edge) {
			unanswered[edge] = n
		}
	}
	names := slices.SortedFunc(maps.Keys(watchers), func(a, b string) int {
		return cmp.Or(cmp.Compare(unanswered[b], unanswered[a]), cmp.Compare(watchers[b], watchers[a]), cmp.Compare(a, b))
	})
	shownWatchers, shownUnanswered := map[string]int{}, map[string]int{}
	for i, name := range names {
		label := edgeLabel(i, name)
		shownWatchers[label] += watchers[name]
		shownUnanswered[label] += unanswered[name]
	}
	for label, n := range shownWatchers {
		to <- prometheus.MustNewConstMetric(edgeWatchers, prometheus.GaugeValue, float64(n), label)
		to <- prometheus.MustNewConstMetric(edgeUnanswered, prometheus.GaugeValue, float64(shownUnanswered[label]), label)
	}
}

// edgeLabel is the label of an edge that is the i-th by the number of its watchers that are in trouble.
func edgeLabel(i int, name string) string {
	if i >= maxBehindEdges {
		return otherEdges
	}
	return cmp.Or(strings.ToValidUTF8(name, "?"), noEdge)
}

package actors

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// countBehindEvery is how often a shard counts the watchers that are behind: those that should know more than they were
// told.
const countBehindEvery = 500 * time.Millisecond

// suspect notes that watchers of an extension may be behind. Only the extensions that are noted are counted, so that a
// count does not cost a look at all extensions of the shard.
func (s *shard) suspect(x *extension) {
	if len(x.state.Subscriptions()) == 0 {
		return
	}
	if s.suspects == nil {
		s.suspects = map[*extension]struct{}{}
	}
	s.suspects[x] = struct{}{}
}

// behind is what a count has found: the number of watchers that are behind, and since when the first of them is, in Unix ns.
type behind struct {
	watchers int
	oldest   int64 // 0: none is
}

// add adds what was found elsewhere.
func (b behind) add(more behind) behind {
	b.watchers += more.watchers
	if b.oldest == 0 || more.oldest != 0 && more.oldest < b.oldest {
		b.oldest = more.oldest
	}
	return b
}

// seconds is how long the first watcher has been behind.
func (b behind) seconds() float64 {
	if b.oldest == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, b.oldest)).Seconds(), 0)
}

// countBehind counts the watchers that are behind, if the last count is long enough ago. It drops the extensions that
// have none. Whoever of the watchers was told may still have to answer.
func (s *shard) countBehind(now time.Time) {
	if now.Sub(s.counted) < countBehindEvery {
		return
	}
	s.counted = now
	var by map[string]behind
	for x := range s.suspects {
		s.awaitAnswers(x)
		is := false
		x.state.Behind(func(edge string, since time.Time) {
			if is = true; by == nil {
				by = map[string]behind{}
			}
			by[edge] = by[edge].add(behind{1, since.UnixNano()})
		})
		if !is {
			delete(s.suspects, x)
		}
	}
	if len(s.suspects) == 0 {
		s.suspects = nil // an empty map keeps the memory of its largest size
	}
	s.showBehind(by)
}

// showBehind makes a count known to the metrics. by is what it has found of each edge; nobody may change it any more.
func (s *shard) showBehind(by map[string]behind) {
	watchers := 0
	for _, b := range by {
		watchers += b.watchers
	}
	s.sys.metrics.behind.Add(float64(watchers - s.behind))
	s.behind = watchers
	if by == nil {
		s.behindBy.Store(nil)
	} else {
		s.behindBy.Store(&by)
	}
}

// behindByEdge returns the newest counts of all shards, by edge. "" is the edge of the watchers that name none.
func (s *System) behindByEdge() map[string]behind {
	all := map[string]behind{}
	for _, sh := range s.shards {
		if sh == nil {
			continue // the System has not been started
		}
		if by := sh.behindBy.Load(); by != nil {
			for edge, b := range *by {
				all[edge] = all[edge].add(b)
			}
		}
	}
	return all
}

// behindFor is how long the watcher that has been behind for the longest time has been so, in seconds.
func (s *System) behindFor() float64 {
	var total behind
	for _, b := range s.behindByEdge() {
		total = total.add(b)
	}
	return total.seconds()
}

const (
	maxBehindEdges = 20      // edges that the metrics name: those with the most watchers that are behind, or do not answer
	otherEdges     = "other" // the name of all further ones together
	noEdge         = "any"   // the name of the edge of watchers that name none; edges share its subject (docs/contract/nats.md, "NOTIFY")
)

// behindMetrics shows the counts by edge. It implements prometheus.Collector. An edge that has no watcher behind is left out.
type behindMetrics struct{ sys *System }

var (
	edgeBehind = prometheus.NewDesc("lamplight_edge_watchers_behind",
		"Watchers that should know more than they were told, by edge: of the 20 edges with the most of them, and of all others together. Edges without any are left out.", []string{"edge"}, nil)
	edgeBehindSeconds = prometheus.NewDesc("lamplight_edge_watchers_behind_seconds",
		"How long the watcher of that edge that has been behind for the longest time has been so, in seconds.", []string{"edge"}, nil)
)

// Describe implements prometheus.Collector.
func (behindMetrics) Describe(to chan<- *prometheus.Desc) { to <- edgeBehind; to <- edgeBehindSeconds }

// Collect implements prometheus.Collector.
func (m behindMetrics) Collect(to chan<- prometheus.Metric) {
	all := m.sys.behindByEdge()
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b].watchers, all[a].watchers), cmp.Compare(a, b))
	})
	shown := map[string]behind{}
	for i, name := range names {
		label := edgeLabel(i, name)
		shown[label] = shown[label].add(all[name])
	}
	for label, b := range shown {
		to <- prometheus.MustNewConstMetric(edgeBehind, prometheus.GaugeValue, float64(b.watchers), label)
		to <- prometheus.MustNewConstMetric(edgeBehindSeconds, prometheus.GaugeValue, b.seconds(), label)
	}
}

package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/ownership"
)

type metrics struct {
	unknown, fenced, busy, claims, expelled, takeovers, unreadable, carried prometheus.Counter
	takeover                                                                prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_journal_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	takeover := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lamplight_journal_takeover_seconds", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		Help: "Seconds from the first claim of a range of shards until this node had read its records and opened the shards."})
	r.MustRegister(takeover)
	return &metrics{
		takeover: takeover,
		unknown:  counter("unknown_total", "Groups of writes of which one got no answer; for each, the shard is claimed again."),
		fenced:   counter("fenced_total", "Groups of writes refused because another node has claimed the shard."),
		busy:     counter("busy_total", "Groups of writes that NATS refused for a moment; they are written again."),
		claims: counter("claims_total", "Claims of this node that were accepted: of shards that it took over, and "+
			"of shards that it claimed again."),
		unreadable: counter("unreadable_total", "Leases and claims that could not be read and that the nodes replace. Only nodes "+
			"may write these; any other value than 0 needs an explanation, which the log helps to find."),
		carried:   counter("carried_total", "Records that were written once more so that old slots can be written again."),
		takeovers: counter("takeovers_total", "Shards that this node took over and loaded."),
		expelled: counter("expelled_total", "Expulsions by this node. A silent node is expelled in each of the "+
			"journal's streams."),
	}
}

// registerGauges registers what the claims show this node, in numbers, and how far the journal is behind.
func (j *Journal) registerGauges(r prometheus.Registerer) {
	began := boottime()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_journal_heartbeat_age_seconds",
		Help: "Seconds since this node sent the last heartbeat that the journal has accepted, of the stream where that is longest ago. The node sends five a second. Past 0.8 it does not answer from memory any more."},
		func() float64 {
			sent := boottime()
			for _, s := range j.streams {
				last := began
				if until := time.Duration(s.answerUntil.Load()); until != 0 {
					last = until - ownership.Validity
				}
				sent = min(sent, last)
			}
			return (boottime() - sent).Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_journal_in_flight", Help: "Records that this node has written and the journal has not acknowledged yet."},
			func() (n float64) {
				for _, s := range j.streams {
					s.mu.Lock()
					n += float64(s.inFlight)
					s.mu.Unlock()
				}
				return n
			}))
	gauge := func(name, help string, value func() int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_shards_" + name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("open", "Shards that this node serves.", j.OpenShards)
	gauge("claimed", "Shards that this node holds the claim of.", func() (n int) {
		for shard := range j.places {
			if j.Holder(shard) == j.cfg.Node {
				n++
			}
		}
		return n
	})
	gauge("unowned", "Shards that no node holds, as this node sees it.", func() int {
		owned, _ := j.Held()
		return len(j.places) - owned
	})
}

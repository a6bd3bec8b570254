package shadow

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of a comparison.
type metrics struct {
	extensions  *prometheus.GaugeVec
	open        prometheus.Gauge
	differences *prometheus.CounterVec
	later       *prometheus.GaugeVec
	listings    *prometheus.CounterVec
	unreadable  *prometheus.CounterVec
	connected   *prometheus.GaugeVec

	counted map[string]int // the differences that the counter has, by cause
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{counted: map[string]int{}}
	m.extensions = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lamplight_shadow_extensions",
		Help: "Extensions by result: agreed; waiting for the grace time or the next listing; differ; unwatched are lit at Lamplight, and the running system says nothing of them."}, []string{"result"})
	m.open = prometheus.NewGauge(prometheus.GaugeOpts{Name: "lamplight_shadow_open_differences", Help: "Differences of lamps and subscriptions that last."})
	m.differences = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_shadow_differences_total", Help: "Differences that were found, by likely cause."}, []string{"cause"})
	m.later = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lamplight_shadow_later_seconds",
		Help: "By how much a side was later than the other with changes that both told, since the command began, by quantile; 1 is the most."}, []string{"side", "quantile"})
	m.listings = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_shadow_listings_total",
		Help: "Listings that a side was asked for, by result. While none is complete, what a side does not list is not taken for dark or gone."}, []string{"side", "result"})
	m.unreadable = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_shadow_unreadable_total", Help: "Documents and NOTIFYs of the running system of which nothing could be made, by reason. The log has samples."}, []string{"reason"})
	m.connected = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lamplight_shadow_connected", Help: "1 while a side is reached, else 0. What the other side says meanwhile is not compared."}, []string{"side"})
	r.MustRegister(m.extensions, m.open, m.differences, m.later, m.listings, m.unreadable, m.connected)
	return m
}

// show shows a summary.
func (m *metrics) show(s *Summary) {
	for result, n := range map[string]int{"agreed": s.Extensions.Agreed, "waiting": s.Extensions.Waiting, "differ": s.Extensions.Differ, "unwatched": s.Extensions.Unwatched} {
		m.extensions.WithLabelValues(result).Set(float64(n))
	}
	m.open.Set(float64(s.Differences.Open))
	for cause, n := range s.Differences.ByCause {
		m.differences.WithLabelValues(cause).Add(float64(n - m.counted[cause]))
		m.counted[cause] = n
	}
	for i, l := range []Later{s.Later.Lamplight, s.Later.Running} {
		for quantile, ms := range map[string]int64{"0.5": l.P50, "0.9": l.P90, "0.99": l.P99, "1": l.Most} {
			m.later.WithLabelValues(names[i], quantile).Set(float64(ms) / 1000)
		}
	}
}

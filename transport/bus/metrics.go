package bus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/transport/kazoo"
)

// kinds are the documents and control requests that a node takes, by the Event-Name that they must have. Metrics have these values of
// the label document, and other for those whose kind is not known.
var kinds = [...]string{"subscription", "dialog_update", "update", "mwi_update", "reg_success", "publication", "notify", "source_up", "edge_up", "notified",
	"credentials", "edge_secret", "search_req", "show_req", "set", "reset", "probe", "switch_gone", "other"}

// metrics are what a Bus counts.
type metrics struct {
	kinds     map[string]kind
	refused   *prometheus.CounterVec
	anonymous prometheus.Counter
}

// kind is what is counted of one kind of document.
type kind struct {
	came    prometheus.Counter
	seconds prometheus.Observer
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{kinds: map[string]kind{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_documents_refused_total",
			Help: "Documents, watchers' replies and control requests that this node answered with an error or passed over, by kind of document and by the Reason of the error. The log has a sample of each kind every minute."},
			[]string{"document", "reason"}),
		anonymous: prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_documents_anonymous_total",
			Help: "Documents and control requests that came without App-Name, App-Version or Msg-ID. They are taken; the script that sends them should be completed."})}
	came := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_documents_total",
		Help: "Documents and control requests that came over NATS to this node, by kind: the Event-Name."}, []string{"document"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lamplight_document_seconds", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
		Help: "Seconds from the moment at which this node read a document until it was done and could be acknowledged, by kind of document. Those that were refused are left out."}, []string{"document"})
	for _, name := range kinds {
		m.kinds[name] = kind{came.WithLabelValues(name), seconds.WithLabelValues(name)}
	}
	r.MustRegister(m.refused, m.anonymous, came, seconds)
	return m
}

// came counts a document that has come, and notes the time.
func (m *metrics) came(f *kazoo.Document) *kazoo.Document {
	f.Came = time.Now()
	if m.kinds[f.Kind].came == nil {
		f.Kind = "other"
	}
	m.kinds[f.Kind].came.Inc()
	return f
}

// noDocument is for a request that is no kazoo.Document.
func (m *metrics) noDocument(kind string) *kazoo.Document { return m.came(&kazoo.Document{Kind: kind}) }

// done counts a document that was answered, or refused with err.
func (m *metrics) done(f *kazoo.Document, err error) {
	if err == nil {
		m.kinds[f.Kind].seconds.Observe(time.Since(f.Came).Seconds())
		return
	}
	_, reason := codeOf(err)
	m.refused.WithLabelValues(f.Kind, reason).Inc()
}

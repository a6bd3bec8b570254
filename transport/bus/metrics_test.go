package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	dto "github.com/prometheus/client_model/go"

	"lamplight/actors"
	"lamplight/cluster/subject"
)

// observed returns how many documents of a kind were done.
func observed(t *testing.T, b *bed, kind string) uint64 {
	t.Helper()
	var m dto.Metric
	if err := b.bus.metrics.kinds[kind].seconds.(interface{ Write(*dto.Metric) error }).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram().GetSampleCount()
}

// Documents are counted by kind: those that came, those that were done, and those that were refused by reason. A document that can't be
// read counts for the kind that its subject takes, whatever it says that it is.
func TestDocumentsAreCountedByKind(t *testing.T) {
	b := newBed(t)
	ask := func(topic, document string) {
		t.Helper()
		if _, err := b.conn.RequestMsg(&nats.Msg{Subject: topic, Data: []byte(document)}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	good := `{` + headers + `"Event-Name":"subscription","User":"1001@acme.test","Expires":60,"Call-ID":"c"}`
	ask(subject.Subscription("acme.test", "1001"), good)
	ask(subject.Subscription("acme.test", "1001"), good)
	ask(subject.Subscription("acme.test", "1001"), `{`+headers+`"Event-Name":"a name of the sender's","User":"1001@acme.test"}`)
	ask(subject.Subscription("acme.test", "1001"), `no JSON`)
	b.router.mu.Lock()
	b.router.answer = actors.Answer{Err: actors.ErrUnavailable}
	b.router.mu.Unlock()
	ask(subject.Subscription("acme.test", "1001"), good)
	ask(subject.Set("acme.test", "1001"), `{`+headers+`"Event-Name":"set","Realm":"acme.test","Username":"1001","State":"early"}`)
	for what, is := range map[string]struct{ got, want float64 }{
		"subscriptions that came":                 {counted(t, b.bus.metrics.kinds["subscription"].came), 5},
		"subscriptions done":                      {float64(observed(t, b, "subscription")), 2},
		"wrong subscriptions":                     {counted(t, b.bus.metrics.refused.WithLabelValues("subscription", "validation error")), 2},
		"subscriptions unanswered by their owner": {counted(t, b.bus.metrics.refused.WithLabelValues("subscription", "datastore_unreachable")), 1},
		"sets that came":                          {counted(t, b.bus.metrics.kinds["set"].came), 1},
		"sets refused":                            {counted(t, b.bus.metrics.refused.WithLabelValues("set", "datastore_unreachable")), 1},
	} {
		if is.got != is.want {
			t.Errorf("%s: %v, want %v", what, is.got, is.want)
		}
	}
}

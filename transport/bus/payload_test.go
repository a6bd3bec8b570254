package bus

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/natsd/natstest"
)

// A message that is larger than the NATS server carries is counted and logged.
func TestMessageTooLarge(t *testing.T) {
	conn := natstest.Connect(t, natstest.StartWith(t, &server.Options{Port: -1, MaxPayload: 1024}))
	var log strings.Builder
	registry := prometheus.NewRegistry()
	f := NewFanout(FanoutConfig{Conn: conn, Node: "n", Log: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry})
	counted := func() float64 {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.GetName() == "lamplight_notify_too_large_total" {
				return m.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return -1
	}
	f.send(&edge{subject: "lamplight.notify.a", reply: "_INBOX.x"}, numbered{1, make([]byte, 1024)})
	if n := counted(); n != 0 || log.Len() > 0 {
		t.Errorf("a message that fits is counted %v times: %s", n, log.String())
	}
	f.send(&edge{subject: "lamplight.notify.a", reply: "_INBOX.x"}, numbered{2, make([]byte, 1025)})
	if n := counted(); n != 1 || !strings.Contains(log.String(), "max_payload") {
		t.Errorf("a message that is too large is counted %v times: %s", n, log.String())
	}
}

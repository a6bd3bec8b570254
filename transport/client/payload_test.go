package client

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/subject"
)

// A NATS server that carries too small messages is refused, with words that say what is right.
func TestPayload(t *testing.T) {
	for most, good := range map[int32]bool{64 << 10: false, subject.MinPayload - 1: false, subject.MinPayload: true} {
		conn := natstest.Connect(t, natstest.StartWith(t, &server.Options{Port: -1, MaxPayload: most}))
		err := Watch(conn, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "at least 524288") {
			t.Errorf("max_payload %d: %v", most, err)
		}
	}
}

package journal

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
)

func BenchmarkHolder(b *testing.B) {
	j := New(Config{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	to := actors.Address{Realm: "acme.test", User: "1001"}
	b.ReportAllocs()
	for b.Loop() {
		_ = j.Holder(actors.ShardOf(to))
	}
}

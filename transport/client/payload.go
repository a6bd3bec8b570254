package client

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/subject"
)

// CheckPayload returns an error if the connected NATS server carries smaller messages than nodes and edges send.
func CheckPayload(conn *nats.Conn) error {
	if most := conn.MaxPayload(); most < subject.MinPayload {
		return fmt.Errorf("the NATS server %s carries messages of at most %d bytes (max_payload), and larger ones would be lost: set it to at least %d there",
			conn.ConnectedUrlRedacted(), most, subject.MinPayload)
	}
	return nil
}

// WatchPayload does as CheckPayload does now, and after each reconnect logs and counts that the server carries too little.
func WatchPayload(conn *nats.Conn, log *slog.Logger, r prometheus.Registerer) error {
	small := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_nats_payload_too_small_total",
		Help: "Reconnects to a NATS server that carries smaller messages than nodes and edges send. Raise its max_payload: what is larger is lost."})
	if err := r.Register(small); err != nil {
		return err
	}
	conn.SetReconnectHandler(func(conn *nats.Conn) {
		if err := CheckPayload(conn); err != nil {
			small.Inc()
			log.Error("the NATS server that was found after a reconnect cannot carry all messages; watchers may miss changes", "err", err)
		}
	})
	return CheckPayload(conn)
}

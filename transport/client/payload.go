package client

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/age"
	"lamplight/cluster/loglimit"
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

// Watch registers the metrics of a connection, and logs when the connection is lost and found. It returns the error of CheckPayload, which
// it also logs and counts after each reconnect. It sets the connection's handlers for these.
func Watch(conn *nats.Conn, log *slog.Logger, r prometheus.Registerer) error {
	small := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_nats_payload_too_small_total",
		Help: "Reconnects to a NATS server that carries smaller messages than nodes and edges send. Raise its max_payload: what is larger is lost."})
	losses := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_nats_disconnects_total", Help: "How often the connection to NATS was lost."})
	connected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_nats_connected", Help: "1 while this process has a connection to a NATS server, else 0."}, func() float64 {
		if conn.IsConnected() {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{small, losses, connected} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	log = loglimit.Limit(log)
	var lost age.Mark
	conn.SetDisconnectErrHandler(func(conn *nats.Conn, err error) {
		if conn.IsClosed() {
			return
		}
		losses.Inc()
		lost.Set(time.Now())
		log.Warn("the connection to NATS is lost, and is tried again until a server answers; look whether the NATS server runs and can be reached", "err", err)
	})
	conn.SetReconnectHandler(func(conn *nats.Conn) {
		log.Warn("the connection to NATS is back", "server", conn.ConnectedUrlRedacted(), "after", (age.Of(time.Now()) - lost.Age()).Round(time.Millisecond))
		if err := CheckPayload(conn); err != nil {
			small.Inc()
			log.Error("the NATS server that was found after a reconnect cannot carry all messages; watchers may miss changes", "err", err)
		}
	})
	return CheckPayload(conn)
}

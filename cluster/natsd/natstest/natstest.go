// Package natstest starts a plain NATS server in the process of a test. It is for tests only; the server has no settings
// of Lamplight's.
package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Start starts a server on a free port of the loopback address and stops it when the test ends. JetStream keeps its data
// in the directory data; with "" there is no JetStream.
func Start(t testing.TB, data string) *server.Server {
	t.Helper()
	return StartWith(t, &server.Options{JetStream: data != "", StoreDir: data})
}

// StartWith is Start with the options of the caller. It fills in the address and port where they are missing, and
// switches the server's log and signal handlers off.
func StartWith(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.NoLog, o.NoSigs = true, true
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	return s
}

// Connect opens a connection to a server and closes it when the test ends.
func Connect(t testing.TB, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	c, err := nats.Connect(s.ClientURL(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

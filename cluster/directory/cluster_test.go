package directory

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

// servers starts three NATS servers that are one cluster.
func servers(t *testing.T) (all []*server.Server) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		_ = l.Close()
	}
	for i := range 3 {
		o := &server.Options{ServerName: fmt.Sprint("nats", i), JetStream: true, StoreDir: t.TempDir(), Routes: routes}
		o.Cluster.Name, o.Cluster.Host, o.Cluster.Port = "test", "127.0.0.1", ports[i]
		all = append(all, natstest.StartWith(t, o))
	}
	return all
}

// With three replicas the changes of nodes at different NATS servers are one after the other, too.
func TestChangesOnThreeReplicas(t *testing.T) {
	var nodes []*Directory
	for _, s := range servers(t) {
		conn, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		d := New(Config{Conn: conn, Replicas: 3, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Stop(context.Background()) })
		nodes = append(nodes, d)
	}
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = add(t, nodes[i%3], fmt.Sprintf("r%d.test", i), nil)
	}
	for round := range 20 {
		realm := fmt.Sprintf("round%d.test", round)
		errs := atOnce(len(ids), func(i int) error { return put(t.Context(), nodes[i%3], ids[i], map[string]any{"realm": realm}) })
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d accounts have the realm", round, n)
		}
	}
	account := fill(t, nodes[0], "large.test", 3*maxBatch)
	e, err := nodes[1].Get(t.Context(), Accounts, account, account)
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Delete(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	until(t, "the devices were never removed", func() bool {
		nodes[2].mu.RLock()
		defer nodes[2].mu.RUnlock()
		return len(nodes[2].groups[group{Devices, account}]) == 0 && len(nodes[2].removing) == 0
	})
}

package main

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/route/wire"
)

// A second process with the name of a running node is refused. Until then it answers no request of other nodes: with a "not mine"
// of the second process, another node would repeat a command that the first has done.
func TestSameNameTwice(t *testing.T) {
	t.Parallel()
	s := externalNATS(t, t.TempDir(), -1)
	p := serve(t, t.TempDir(), "--nats", s.ClientURL())
	var answered, refused atomic.Int64
	if _, err := p.conn.Subscribe("lamplight.answers.asker.0", func(m *nats.Msg) {
		_, parts, err := wire.ReadParts(nil, m.Data)
		if err != nil {
			t.Error(err)
		}
		for i := range parts {
			a, err := wire.ReadAnswer(parts[i].Body)
			if err != nil {
				t.Error(err)
			}
			answered.Add(1)
			if errors.Is(a.Err, actors.ErrNotMine) {
				refused.Add(1)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	second := start(t, t.TempDir(), "--nats", s.ClientURL())
	ended := make(chan error, 1)
	go func() {
		_, ready := <-second.ready
		if ready {
			t.Error("two processes of one name are ready")
		}
		ended <- second.cmd.Wait()
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for id := uint64(1); ; id++ {
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(second.stderr.String(), "another live process") {
				t.Errorf("the second process: %v: %s", err, second.stderr.String())
			}
			if answered.Load() == 0 || refused.Load() > 0 {
				t.Errorf("of %d answers %d are not from the owner", answered.Load(), refused.Load())
			}
			return
		case <-tick.C:
			call := wire.Call{ID: id, Deadline: 10_000, Request: actors.Request{To: actors.Address{Realm: realm, User: strconv.FormatUint(id, 10)}, Message: actors.Show{}}}
			b := wire.AppendNow(wire.AppendCall(wire.AppendHead(nil, 1, "asker"), call), 1, 1)
			if err := p.conn.Publish("lamplight.node.box", b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

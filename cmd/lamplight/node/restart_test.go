package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
)

// After a restart the node has everything that was acknowledged, and its Sequences are above the earlier ones, whether it was
// stopped or killed.
func TestAcknowledgedMeansKept(t *testing.T) {
	for _, gently := range []bool{true, false} {
		t.Run(fmt.Sprintf("gently=%v", gently), func(t *testing.T) {
			data := t.TempDir()
			n, notifies := startWithEdge(t, data)
			to := actors.Address{Realm: "acme.example.com", User: "1001"}
			ask(t, n, to, presence.Subscribe{CallID: "c1", From: "1002@acme.example.com", ServerID: "edge", Expires: 1800})
			ask(t, n, to, presence.CallEvent{CallID: "k1", State: presence.Early})
			ask(t, n, actors.Address{Realm: "acme.example.com", User: "1003"}, presence.SetManual{State: presence.Confirmed})
			before := max(sequence(t, notifies), sequence(t, notifies)) // of the subscription and of the call
			if gently {
				if err := n.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			} else {
				n.Kill()
			}

			n, notifies = startWithEdge(t, data)
			a := ask(t, n, to, actors.Show{Explain: true})
			if a.View.State != presence.Early || len(a.Subscriptions) != 1 {
				t.Fatalf("after the restart: %v with %d subscriptions", a.View.State, len(a.Subscriptions))
			}
			ask(t, n, to, presence.CallEvent{CallID: "k1", State: presence.Confirmed})
			if after := sequence(t, notifies); after <= before {
				t.Errorf("Sequence went from %d back to %d", before, after)
			}
			if a := ask(t, n, actors.Address{Realm: "acme.example.com", User: "1003"}, actors.Show{}); a.View.State != presence.Confirmed {
				t.Errorf("manual state is %v", a.View.State)
			}
		})
	}
}

// startWithEdge starts a node whose realm has an account, and listens to the NOTIFY messages for the edge named edge.
func startWithEdge(t *testing.T, data string) (*node.Node, *nats.Subscription) {
	t.Helper()
	n := nodetest.Start(t, nodetest.Config("a", data))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": "acme.example.com"}}}); err != nil {
		t.Fatal(err)
	}
	notifies, err := n.Conn().SubscribeSync(subject.Notify("edge"))
	if err != nil {
		t.Fatal(err)
	}
	return n, notifies
}

// sequence returns the Sequence of the next NOTIFY message.
func sequence(t *testing.T, notifies *nats.Subscription) int {
	t.Helper()
	m, err := notifies.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatalf("no NOTIFY: %v", err)
	}
	var notify struct{ Sequence int }
	if err := json.Unmarshal(m.Data, &notify); err != nil {
		t.Fatal(err)
	}
	return notify.Sequence
}

// ask makes a request that must succeed.
func ask(t *testing.T, n *node.Node, to actors.Address, m actors.Message) actors.Answer {
	t.Helper()
	a := n.Router().Request(t.Context(), actors.Request{To: to, Message: m, Deadline: time.Now().Add(10 * time.Second)})
	if a.Err != nil {
		t.Fatalf("%v to %v: %v", m, to, a.Err)
	}
	return a
}

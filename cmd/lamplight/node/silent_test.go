package node_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/client"
)

// A thousand sources fall silent at the same time, such as when the network between the switches and the nodes is cut. All their lamps go out,
// and the node answers meanwhile.
func TestManySourcesFallSilentTogether(t *testing.T) {
	const sources, expires = 1000, 6
	n := nodetest.Start(t, nodetest.Config("a", t.TempDir()))
	if _, err := n.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": "acme.test"}}}); err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Config{Conn: n.Conn(), App: "test", AppVersion: "1"})
	tell := func(topic, event string, fields client.Fields) {
		if err := c.Ask(t.Context(), topic, event, fields, func(client.Answer) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	lit := func() (count int) {
		cover, err := n.Router().List(t.Context(), actors.Query{Realm: "acme.test", Lit: true}, func(actors.SubscriptionView) error { count++; return nil })
		if err != nil || len(cover.Missing) > 0 {
			t.Fatal(cover, err)
		}
		return count
	}
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := worker; i < sources; i += 16 {
				uri, call := fmt.Sprintf("sip:10.1.%d.%d:11000", i/250, i%250), fmt.Sprint("k", i)
				tell(subject.SourceUp(fmt.Sprint("s", i)), "source_up", client.Fields{"Source": fmt.Sprint("s", i), "Switch-URI": uri, "Incarnation": "1", "Expires": expires})
				tell(subject.DialogUpdate("acme.test", call), "dialog_update", client.Fields{"From": fmt.Sprint(20000+i, "@acme.test"), "To": "1@acme.test", "Call-ID": call, "State": "confirmed", "Switch-URI": uri})
			}
		})
	}
	all.Wait()
	begun := time.Now()
	if lit() == 0 {
		t.Error("not even the lamps of the last sources are lit")
	}
	for end := time.Now().Add(2 * time.Minute); lit() > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d lamps are still lit", lit())
		}
	}
	t.Logf("the last lamp went out %v after the last source spoke", time.Since(begun).Round(time.Millisecond))
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

type told struct {
	notify
	Node, Incarnation, Presentity string
	Shard, Generation             int
}

func (p *process) told(s *nats.Subscription) (n told) {
	p.t.Helper()
	m, err := s.NextMsg(10 * time.Second)
	if err != nil {
		p.t.Fatalf("no NOTIFY: %v", err)
	}
	if err := json.Unmarshal(m.Data, &n.notify); err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *process) say(subject string, doc any) {
	p.t.Helper()
	b, _ := json.Marshal(doc)
	if err := p.conn.Publish(subject, b); err != nil {
		p.t.Fatal(err)
	}
	_ = p.conn.Flush()
}

// An edge that missed something gets it again; one that knows nothing gets the newest state of its watchers.
func TestEdgeMissesNothing(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	s := p.edge("edge1")
	p.tell(subject1001, "subscription", subscription("c1"))
	first := p.told(s)
	for i, state := range []string{"early", "confirmed", "terminated"} {
		p.tell("presence.dialog.acme%2Eexample%2Ecom.k", "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": state})
		if n := p.told(s); n.EdgeSeq != first.EdgeSeq+i+1 {
			t.Fatalf("Edge-Seq %d after %d", n.EdgeSeq, first.EdgeSeq+i)
		}
	}
	p.say("lamplight.edge.up.edge1", map[string]any{"Edge": "edge1", "Incarnation": "e1", "Seen": map[string]int{first.Node + "/" + first.Incarnation: first.EdgeSeq + 1}})
	for _, want := range []int{first.EdgeSeq + 2, first.EdgeSeq + 3} {
		if n := p.told(s); n.EdgeSeq != want {
			t.Fatalf("sent again: Edge-Seq %d, want %d", n.EdgeSeq, want)
		}
	}
	p.say("lamplight.edge.up.edge1", map[string]any{"Edge": "edge1", "Incarnation": "e2", "Seen": map[string]int{}})
	newest := p.told(s)
	if newest.EdgeSeq != first.EdgeSeq+4 || newest.State != "terminated" || newest.Targets[0]["Call-ID"] != "c1" {
		t.Fatalf("the newest state: %+v", newest)
	}
	// What the watchers answered.
	p.say("lamplight.notified."+newest.Node+".edge1", map[string]any{"Edge": "edge1", "Replies": []any{map[string]any{
		"Presentity": "1001@" + realm, "Event-Package": "dialog", "Call-ID": "c1", "Sequence": newest.Sequence, "Reply": 486}}})
	eventually(t, "the reply in the listing", 5*time.Second, func() bool {
		b, _ := json.Marshal(p.get("/presence/1001"))
		return strings.Contains(string(b), `"reply":486`) && strings.Contains(string(b), fmt.Sprintf(`"sequence":%d`, newest.Sequence))
	})
}

// `?wait=true` answers when the watchers did.
func TestWaitForWatchers(t *testing.T) {
	p := serve(t, t.TempDir())
	p.sample()
	s := p.edge("edge1")
	p.tell(subject1001, "subscription", subscription("c1"))
	p.told(s)
	go func() {
		m, err := s.NextMsg(10 * time.Second)
		if err != nil {
			return
		}
		var n told
		_ = json.Unmarshal(m.Data, &n.notify)
		b, _ := json.Marshal(map[string]any{"Edge": "edge1", "Replies": []any{map[string]any{"Presentity": "1001@" + realm, "Event-Package": "dialog",
			"Call-ID": "c1", "Sequence": n.Sequence, "Reply": 200}}})
		_ = p.conn.Publish("lamplight.notified.box.edge1", b)
	}()
	a := p.shell(`curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"set","state":"early"}}' 'BASE/presence/1001?wait=8s'`)
	if string(a.Data) != `{"notified":1,"acked":1,"failed":0}` {
		t.Errorf("wait: %s %s", a.Status, a.Data)
	}
}

// Rapid changes: the first at once, then at most five a second, and the last always.
func TestCoalescing(t *testing.T) {
	p := serve(t, t.TempDir())
	p.sample()
	s := p.edge("edge1")
	p.tell(subject1001, "subscription", subscription("c1"))
	p.told(s)
	begun := time.Now()
	for i := range 50 {
		state := []string{"early", "confirmed"}[i%2]
		p.tell("presence.set.acme%2Eexample%2Ecom.1001", "set", map[string]any{"Realm": realm, "Username": "1001", "State": state})
	}
	took := time.Since(begun)
	count, last := 0, told{}
	for {
		m, err := s.NextMsg(time.Second)
		if err != nil {
			break
		}
		_ = json.Unmarshal(m.Data, &last.notify)
		count++
	}
	if most := 2 + int(took/(200*time.Millisecond)); count > most || last.State != "confirmed" {
		t.Errorf("%d NOTIFYs in %v (at most %d), the last says %s", count, took, most, last.State)
	}
}

// An account that goes takes its subscriptions with it.
func TestAccountGone(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	s := p.edge("edge1")
	p.tell(subject1001, "subscription", subscription("c1"))
	p.told(s)
	if a := p.shell(`curl -s -X DELETE -H "X-Auth-Token: {AUTH_TOKEN}" BASE`); a.Status != "success" {
		t.Fatalf("DELETE: %+v", a)
	}
	if n := p.told(s); n.Targets[0]["Subscription-State"] != "terminated;reason=noresource" {
		t.Errorf("the last NOTIFY: %+v", n)
	}
	if a := p.request(subject1001, "subscription", subscription("c2")); a["Status"] != "error" {
		t.Errorf("a subscription to a realm that is gone: %v", a)
	}
}

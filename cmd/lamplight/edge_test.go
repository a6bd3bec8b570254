package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// An edge that missed messages gets them again. One that was started again gets the newest state of its watchers.
func TestEdgeMissesNothing(t *testing.T) {
	t.Parallel()
	p, s, first := serveWatched(t)
	for i, state := range []string{"early", "confirmed", "terminated"} {
		p.send(subject.DialogUpdate(realm, "k"), "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": state})
		if n := p.next(s); n.EdgeSeq != first.EdgeSeq+i+1 {
			t.Fatalf("Edge-Seq %d after %d", n.EdgeSeq, first.EdgeSeq+i)
		}
	}
	p.publish("lamplight.edge.up.edge1", map[string]any{"Edge": "edge1", "Incarnation": "e1", "Seen": map[string]int{first.Node + "/" + first.Incarnation: first.EdgeSeq + 1}})
	for _, want := range []int{first.EdgeSeq + 2, first.EdgeSeq + 3} {
		if n := p.next(s); n.EdgeSeq != want {
			t.Fatalf("sent again: Edge-Seq %d, want %d", n.EdgeSeq, want)
		}
	}
	p.publish("lamplight.edge.up.edge1", map[string]any{"Edge": "edge1", "Incarnation": "e2", "Seen": map[string]int{}})
	newest := p.next(s)
	if newest.EdgeSeq != first.EdgeSeq+4 || newest.State != "terminated" || newest.Targets[0]["Call-ID"] != "c1" {
		t.Fatalf("the newest state: %+v", newest)
	}
	// What the watchers answered.
	p.publish("lamplight.notified."+newest.Node+".edge1", map[string]any{"Edge": "edge1", "Replies": []any{map[string]any{
		"Presentity": "1001@" + realm, "Event-Package": "dialog", "Call-ID": "c1", "Sequence": newest.Sequence, "Reply": 486}}})
	eventually(t, "the reply in the listing", 5*time.Second, func() bool {
		b, _ := json.Marshal(p.get("/presence/1001"))
		return strings.Contains(string(b), `"reply":486`) && strings.Contains(string(b), fmt.Sprintf(`"sequence":%d`, newest.Sequence))
	})
}

// A set with ?wait is answered once the watchers have replied.
func TestWaitForWatchers(t *testing.T) {
	p, s, _ := serveWatched(t)
	go func() {
		m, err := s.NextMsg(10 * time.Second)
		if err != nil {
			return
		}
		p.reply(m, func(string) int { return 200 })
	}()
	a := p.shell(`curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"set","state":"early"}}' 'BASE/presence/1001?wait=8s'`)
	if string(a.Data) != `{"notified":1,"acked":1,"failed":0}` {
		t.Errorf("wait: %s %s", a.Status, a.Data)
	}
}

// Of rapid changes a watcher is told at most five a second, and always the last.
func TestCoalescing(t *testing.T) {
	p, s, _ := serveWatched(t)
	begun := time.Now()
	for i := range 50 {
		state := []string{"early", "confirmed"}[i%2]
		p.set("1001", state)
	}
	took := time.Since(begun)
	count, last := 0, notify{}
	for {
		m, err := s.NextMsg(time.Second)
		if err != nil {
			break
		}
		_ = json.Unmarshal(m.Data, &last)
		count++
	}
	if most := 2 + int(took/(200*time.Millisecond)); count > most || last.State != "confirmed" {
		t.Errorf("%d NOTIFYs in %v (at most %d), the last says %s", count, took, most, last.State)
	}
}

// When an account is removed, its subscriptions end.
func TestAccountGone(t *testing.T) {
	t.Parallel()
	p, s, _ := serveWatched(t)
	if a := p.shell(`curl -s -X DELETE -H "X-Auth-Token: {AUTH_TOKEN}" BASE`); a.Status != "success" {
		t.Fatalf("DELETE: %+v", a)
	}
	if n := p.next(s); n.Targets[0]["Subscription-State"] != "terminated;reason=noresource" {
		t.Errorf("the last NOTIFY: %+v", n)
	}
	if a := p.request(subject.Subscription(realm, "1001"), "subscription", subscription("c2")); a["Status"] != "error" {
		t.Errorf("a subscription to a realm that is gone: %v", a)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
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

// What Kazoo's park, queues, voicemail and phones send, over a running node: lamps that go off come on again.
func TestWhatSwitchesSend(t *testing.T) {
	t.Parallel()
	p, s, _ := serveWatched(t)
	watch := func(user string) {
		t.Helper()
		doc := subscription("of " + user)
		doc["User"] = user + "@" + realm
		p.subscribe(user, doc)
		p.next(s)
	}
	told := func(user, state string, within ...string) {
		t.Helper()
		n := p.next(s)
		if n.Presentity != user+"@"+realm || n.State != state {
			t.Fatalf("told %s of %s, want %s of %s", n.State, n.Presentity, state, user)
		}
		for _, text := range within {
			if !strings.Contains(n.Body, text) {
				t.Fatalf("%s: no %s in\n%s", user, text, n.Body)
			}
		}
	}
	watch("*3101")
	watch("2000")
	watch("*981001")
	watch("7001")
	for range 2 { // the same call is parked again at once
		for _, state := range []string{"early", "terminated"} {
			p.send(subject.DialogUpdate(realm, "k-1"), "dialog_update", map[string]any{"App-Name": "park", "Presence-ID": "%2A3101@" + realm, "From": "sip:*3101@" + realm,
				"To": "sip:2125550100@" + realm, "To-User": "Ada", "To-URI": "sip:*3101@" + realm, "From-Tag": "A", "To-Tag": "B", "State": state, "Direction": "recipient",
				"Call-ID": "k-1", "Expires": 3600})
			if state == "early" {
				told("*3101", state, `call-id="k-1" local-tag="A" remote-tag="B"`, `<identity display="Ada">sip:2125550100@`, `<target uri="sip:*3101@`+realm+`"/></remote>`)
			} else {
				told("*3101", state)
			}
		}
	}
	for _, state := range []string{"early", "terminated", "confirmed", "terminated"} { // a queue: the md5 of its id without realm
		p.send(subject.Update(realm, "q"), "update", map[string]any{"Presence-ID": "2000@" + realm, "State": state, "Call-ID": presence.RegisterName("2000")})
		told("2000", state)
	}
	for _, state := range []string{"early", "terminated"} { // a script that says no direction in the end
		fields := map[string]any{"From": "2000@" + realm, "To": "x@" + realm, "State": state}
		if state == "early" {
			fields["Direction"] = "recipient"
		}
		p.send(subject.DialogUpdate(realm, "k-2"), "dialog_update", fields)
		told("2000", state)
	}
	box := func(extended string) {
		t.Helper()
		p.send(subject.MailboxUpdate(realm, "1001"), "mwi_update", map[string]any{"To": "1001@" + realm, "Messages-New": 1, "Messages-Saved": 0, "Extended-Presence-ID": extended})
	}
	box("7001")
	for range 2 {
		if n := p.next(s); n.State != "confirmed" || n.Presentity != "*981001@"+realm && n.Presentity != "7001@"+realm {
			t.Fatalf("%+v", n)
		}
	}
	box("7002")
	told("7001", "terminated")
	p.send(subject.Reset(realm, "*981001"), "reset", map[string]any{"Realm": realm, "Username": "*981001@" + realm})
	told("*981001", "terminated")

	fetch := subscription("fetch")
	fetch["Expires"], fetch["Event-Package"] = 0, "dialog;id=7"
	p.subscribe("1001", fetch)
	if n := p.next(s); n.Targets[0]["Call-ID"] != "fetch" || n.Targets[0]["Subscription-State"] != "terminated;reason=timeout" || n.Body == "" {
		t.Fatalf("a fetch: %+v", n)
	}
	p.set("1001", "early")
	n := p.next(s)
	reply := func(edge string) {
		p.publish("lamplight.notified."+n.Node+"."+edge, map[string]any{"Edge": edge, "Replies": []any{map[string]any{
			"Presentity": "1001@" + realm, "Event-Package": "dialog", "Call-ID": "c1", "Sequence": n.Sequence, "Reply": 481}}})
	}
	reply("edge2") // not the watcher's edge
	p.set("1001", "confirmed")
	if n = p.next(s); n.State != "confirmed" || n.Targets[0]["Subscription-State"] != "active" {
		t.Fatalf("after a stranger's word: %+v", n)
	}
	reply("edge1")
	if n := p.next(s); n.Targets[0]["Call-ID"] != "c1" || n.Targets[0]["Subscription-State"] != "terminated;reason=timeout" {
		t.Fatalf("after a final answer: %+v", n)
	}
}

// The id of a REST request is in the NOTIFY of the change that it caused.
func TestRequestIDReachesTheEdge(t *testing.T) {
	t.Parallel()
	p, messages, _ := serveWatched(t)
	p.shell(`curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -H "X-Request-ID: ticket-4711" -d '{"data":{"action":"set","state":"early"}}' BASE/presence/1001`)
	m, err := messages.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := kazoo.ReadNotify(m.Data); err != nil || n.RequestID != "ticket-4711" || n.State != "early" {
		t.Errorf("%v: %s", err, m.Data)
	}
}

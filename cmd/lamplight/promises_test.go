package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// A set of a user with ?wait counts the replies for all extensions of the user. A watcher that does not reply counts neither as
// acked nor as failed.
func TestWaitSums(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--request-timeout", "2s")
	p.sample()
	s := p.edge("edge1")
	reply := map[string]int{"ok": 200, "busy": 486, "silent": 0}
	for id, user := range map[string]string{"ok": "1002", "busy": "2001", "silent": "2001"} { // what user 1002 acts on
		doc := subscription(id)
		doc["User"], doc["Contact"] = user+"@"+realm, "<sip:"+id+"@10.0.0.9>"
		p.subscribe(user, doc)
		p.next(s)
	}
	go func() {
		for {
			m, err := s.NextMsg(10 * time.Second)
			if err != nil {
				return
			}
			p.reply(m, func(callID string) int { return reply[callID] })
		}
	}()
	const line = `curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"set","state":"early"}}' 'BASE/users/{USER_ID}/presence?wait=%s'`
	if a := p.shell(fmt.Sprintf(line, "1s")); string(a.Data) != `{"notified":3,"acked":1,"failed":1}` {
		t.Errorf("wait: %s %s", a.Status, a.Data)
	}
	// A wait as long as the request may take is still answered in time.
	if a := p.shell(`curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"reset"}}' 'BASE/presence/2001?wait=2s'`); a.Status != "success" {
		t.Errorf("the longest wait: %s %s", a.Status, a.Data)
	}
}

// When the realm of an account changes, the subscriptions of the old realm end, and the new realm begins empty.
func TestRealmChanges(t *testing.T) {
	t.Parallel()
	p, s, _ := serveWatched(t)
	if a := p.shell(`curl -s -X PATCH -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"realm":"New.example.com"}}' BASE`); a.Status != "success" || !strings.Contains(string(a.Data), `"new.example.com"`) {
		t.Fatalf("PATCH: %+v", a)
	}
	if n := p.next(s); n.Targets[0]["Subscription-State"] != "terminated;reason=noresource" {
		t.Errorf("the last NOTIFY: %+v", n)
	}
	if a := p.request(subject.Subscription(realm, "1001"), "subscription", subscription("c2")); a["Code"] != "404" || a["Reason"] != "bad_identifier" {
		t.Errorf("a subscription in the old realm: %v", a)
	}
	doc := subscription("c3")
	doc["User"] = "1001@new.example.com"
	p.send(subject.Subscription("new.example.com", "1001"), "subscription", doc)
	if m := p.get("/presence?summary=true"); fmt.Sprint(m) != "map[subscriptions:map[1001:map[dialog:1]]]" {
		t.Errorf("the new realm: %v", m)
	}
}

// When an extension has more long calls than a NOTIFY may hold, the watchers are told of the most important ones.
func TestManyLongCalls(t *testing.T) {
	t.Parallel()
	p, s, _ := serveWatched(t)
	long := strings.Repeat("&", 3000)
	for i := range 100 {
		state := "confirmed"
		if i == 60 {
			state = "early"
		}
		p.send(subject.DialogUpdate(realm, "k"), "dialog_update", map[string]any{"From": "1001@" + realm, "To": "sip:" + long + "@x", "Call-ID": fmt.Sprintf("k%d", i),
			"Presence-ID": "1001@" + realm, "State": state, "From-Tag": long})
	}
	for end := time.Now().Add(10 * time.Second); ; {
		m, err := s.NextMsg(time.Until(end))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Data) > 256<<10 {
			t.Fatalf("a NOTIFY of %d bytes", len(m.Data))
		}
		if strings.Contains(string(m.Data), `call-id=\"k60\"`) {
			break
		}
	}
}

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// A phone that registers makes its extension open and its device registered, until the registration ends or lapses, also after a restart.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	watched, err := p.conn.SubscribeSync(subject.AnyWatched)
	if err != nil || p.conn.Flush() != nil {
		t.Fatal(err)
	}
	messages := p.edge("edge1")
	doc := subscription("c1")
	doc["Event-Package"] = "presence"
	p.subscribe("1001", doc)
	m, err := watched.NextMsg(10 * time.Second)
	if err != nil || m.Subject != "lamplight.watched.presence.acme%2Eexample%2Ecom.1001" {
		t.Fatalf("%v %v", err, m)
	}
	var first map[string]any
	if err := json.Unmarshal(m.Data, &first); err != nil || first["Username"] != "1001" || first["Realm"] != realm || first["Event-Package"] != "presence" {
		t.Errorf("%v %v", err, first)
	}
	second := subscription("c2")
	second["Event-Package"], second["From"] = "presence", "sip:1002@"+realm
	p.subscribe("1001", second)
	if _, err := watched.NextMsg(50 * time.Millisecond); err == nil {
		t.Error("a second watcher was said to be the first")
	}
	register := func(expires int, status string) {
		t.Helper()
		p.send(subject.Registration(realm, "1001"), "reg_success", map[string]any{"Event-Category": "directory", "Username": "1001", "Realm": realm,
			"Expires": expires, "Status": status, "Contact": "<sip:1001@10.0.0.9:5060>"})
	}
	registered := func(is bool) {
		t.Helper()
		a := p.shell("curl -s -H 'X-Auth-Token: " + p.token + "' " + p.http + "/v2/accounts/" + account + "/devices/status")
		if got := strings.Contains(string(a.Data), `"registered":true`); got != is || a.Status != "success" {
			t.Errorf("registered %v: %+v", got, a)
		}
	}
	until := func(basic string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			if strings.Contains(p.next(messages).Body, "<basic>"+basic+"</basic>") {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("never told %s", basic)
			}
		}
	}
	until("open")
	registered(false)
	register(3600, "Registered")
	registered(true)
	register(3600, "Unregistered(UDP)")
	until("closed")
	registered(false)
	register(2, "")
	until("open")
	until("closed") // it lapses
	registered(false)
	register(3600, "")
	token := p.token
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p = serve(t, p.data)
	p.token = token
	registered(true)
	if a := p.request(subject.Registration(realm, "1001"), "reg_success", map[string]any{"Username": "1001", "Realm": realm, "Expires": 60}); a["Code"] != "400" {
		t.Errorf("the category presence is answered %v", a)
	}
}

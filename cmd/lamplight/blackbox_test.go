package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

func TestDocumentedLines(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	for _, l := range []struct{ line, want string }{
		{`curl -v -X GET -H "X-Auth-Token: {AUTH_TOKEN}" BASE/presence`, `{"subscriptions":{}}`},
		{`curl -v -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data": {"action": "reset"}}' BASE/presence/{EXTENSION}`, `"reset command sent for extension *3101"`},
		{`curl -v -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"reset"}}' 'BASE/devices/{DEVICE_ID}/presence'`, `"command sent"`},
		{`curl -v -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"set","state":"{PRESENCE_STATE}"}}' 'BASE/devices/{DEVICE_ID}/presence'`, `"command sent"`},
		{`curl -v -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"reset"}}' 'BASE/users/{USER_ID}/presence'`, `"command sent"`},
		{`curl -v -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"reset","state":"{PRESENCE_STATE}"}}' 'BASE/users/{USER_ID}/presence'`, `"command sent"`},
	} {
		if a := p.shell(l.line); a.Status != "success" || string(a.Data) != l.want {
			t.Errorf("%s\n got %s %s", l.line, a.Status, a.Data)
		}
	}
	for extension, want := range map[string]string{"1001": "confirmed", "1002": "confirmed", "2001": "confirmed", "*3101": "terminated", "%2A3101": "terminated"} {
		if m := p.get("/presence/" + extension); m["state"] != want {
			t.Errorf("%s is %v, want %s", extension, m["state"], want)
		}
	}
	if a := p.shell(`curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data": {"action": "reset"}' BASE/presence/{EXTENSION}`); a.Error != "400" || !strings.Contains(string(a.Data), "}") {
		t.Errorf("the documented typing error: %+v", a)
	}
}

func TestKazooDocuments(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	edge := p.edge("edge1")
	doc := subscription("c1")
	doc["Msg-ID"] = "m1"
	ack := p.send(subject1001, "subscription", doc)
	if ack["Msg-ID"] != "m1" {
		t.Errorf("Msg-ID of the ack: %v", ack)
	}
	first := p.next(edge)
	if first.State != "terminated" || first.EdgeSeq != 1 || len(first.Targets) != 1 || first.Targets[0]["Call-ID"] != "c1" {
		t.Fatalf("first NOTIFY: %+v", first)
	}
	call := map[string]any{"From": "1001@" + realm, "To": "1002@" + realm, "Call-ID": "k1", "Direction": "recipient", "State": "early"}
	p.send("presence.dialog.acme%2Eexample%2Ecom.k1", "dialog_update", call)
	ringing := p.next(edge)
	if ringing.State != "early" || ringing.Sequence <= first.Sequence || !strings.Contains(ringing.Body, "<state>early</state>") ||
		!strings.Contains(ringing.Body, fmt.Sprintf(`version="%d"`, ringing.Sequence)) {
		t.Fatalf("NOTIFY of the call: %+v", ringing)
	}
	call["State"] = "terminated"
	p.send("presence.dialog.acme%2Eexample%2Ecom.k1", "dialog_update", call)
	if n := p.next(edge); n.State != "terminated" {
		t.Fatalf("NOTIFY of the end: %+v", n)
	}
	call["State"] = "confirmed" // late news
	p.send("presence.dialog.acme%2Eexample%2Ecom.k1", "dialog_update", call)
	if m := p.get("/presence/1001"); m["state"] != "terminated" {
		t.Errorf("late news revived a call: %v", m)
	}
	// Parking: a register, on and off again.
	slot := map[string]any{"Presence-ID": "*3101@" + realm, "State": "confirmed"}
	p.send("presence.update.acme%2Eexample%2Ecom.x", "update", slot)
	if m := p.get("/presence/*3101"); m["state"] != "confirmed" {
		t.Errorf("parking slot: %v", m)
	}
	slot["State"] = "terminated"
	p.send("presence.update.acme%2Eexample%2Ecom.x", "update", slot)
	// Voicemail.
	p.send("presence.mwi_updates.acme%2Eexample%2Ecom.1001", "mwi_update", map[string]any{"To": "1001@" + realm, "Messages-New": "2", "Messages-Saved": 1, "Extended-Presence-ID": "vm1@" + realm})
	for _, lamp := range []string{"*981001", "vm1"} {
		if m := p.get("/presence/" + lamp); m["state"] != "confirmed" {
			t.Errorf("message lamp %s: %v", lamp, m)
		}
	}
	// The watcher's answer shows in the listing.
	p.send("omnipresence.notify.acme%2Eexample%2Ecom.1001", "notify", map[string]any{"To": "1002@" + realm, "From": "1001@" + realm, "Call-ID": "c1", "Reply": 200})
	list := p.get("/presence")["subscriptions"].(map[string]any)
	row := list["1001"].(map[string]any)["dialog"].(map[string]any)["c1"].(map[string]any)
	if row["expires"] != 1820.0 || row["stalker"] != "edge1" || row["from"] != "1002@"+realm || row["version"] != 1.0 {
		t.Errorf("listing: %v", row)
	}
	if n := row["notify"].(map[string]any); n["reply"] != 200.0 || n["sequence"].(float64) < 1 {
		t.Errorf("notify of the listing: %v", n)
	}
	// Control over NATS.
	p.send("presence.set.acme%2Eexample%2Ecom.1001", "set", map[string]any{"Realm": realm, "Username": "1001", "State": "confirmed"})
	if a := p.request("presence.show.acme%2Eexample%2Ecom.1001", "show_req", map[string]any{"Realm": realm, "Username": "1001"}); a["state"] != "confirmed" {
		t.Errorf("show: %v", a)
	}
	p.send("presence.reset.acme%2Eexample%2Ecom.%2A", "reset", map[string]any{"Realm": realm, "Username": "*"})
	if m := p.get("/presence/1001"); m["state"] != "terminated" {
		t.Errorf("after the realm's reset: %v", m)
	}
	if out := p.lamplight("presence", "list", "--account", account, "--nats", p.nats); !strings.Contains(out, "c1") {
		t.Errorf("presence list: %s", out)
	}
}

func TestBadDocuments(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	with := func(k string, v any) map[string]any {
		m := subscription("c1")
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
		return m
	}
	for name, doc := range map[string]map[string]any{
		"no User": with("User", nil), "no Expires": with("Expires", nil), "negative Expires": with("Expires", -1), "absurd Expires": with("Expires", 86401),
		"Expires no number": with("Expires", "soon"), "User a number": with("User", 5), "another realm": with("User", "1001@other.example.com"),
		"bare asterisk": with("User", "*@"+realm), "long name": with("User", strings.Repeat("*", 1400)+"@"+realm), "long field": with("Contact", strings.Repeat("x", 5000)),
		"edge any": with("Server-ID", "any"),
	} {
		if a := p.request(subject1001, "subscription", doc); a["Status"] != "error" || a["Code"] != "400" || a["Reason"] == "" {
			t.Errorf("%s: %v", name, a)
		}
	}
	if a := p.request("omnipresence.subscribe.other%2Eexample%2Ecom.1001", "subscription", with("User", "1001@other.example.com")); a["Status"] != "error" {
		t.Errorf("unknown realm: %v", a)
	}
	for name, raw := range map[string]string{"duplicate key": `{"Event-Name":"subscription","Event-Name":"x"}`, "not JSON": `{`, "invalid UTF-8": "{\"User\":\"\xff\"}", "empty": ""} {
		m, err := p.conn.Request(subject1001, []byte(raw), 5*time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"Status":"error"`) {
			t.Errorf("%s: %v %s", name, err, m.Data)
		}
	}
	if m := p.get("/presence"); len(m["subscriptions"].(map[string]any)) != 0 {
		t.Errorf("something bad was kept: %v", m)
	}
}

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data)
	p.sample()
	edge := p.edge("edge1")
	p.send(subject1001, "subscription", subscription("first"))
	before := p.next(edge).Sequence
	p.set("1003", "early")
	var acked []string
	for i := range 3000 {
		id := fmt.Sprintf("load-%d", i)
		if i == 2000 {
			time.AfterFunc(20*time.Millisecond, func() { _ = p.cmd.Process.Signal(syscall.SIGKILL) })
		}
		doc := subscription(id)
		doc["User"] = fmt.Sprintf("%d@%s", 5000+i, realm)
		m, err := p.conn.Request(subject.Subscription(realm, fmt.Sprint(5000+i)), document("subscription", doc), time.Second)
		if err != nil {
			break
		}
		if strings.Contains(string(m.Data), `"Status":"ok"`) {
			acked = append(acked, fmt.Sprint(5000+i))
		}
	}
	_ = p.cmd.Wait()
	if len(acked) < 2000 {
		t.Fatalf("only %d were acknowledged before the kill", len(acked))
	}
	p = serve(t, data)
	p.token = p.lamplight("token", "--account", account, "--data", data)
	list := p.get("/presence?summary=true")["subscriptions"].(map[string]any)
	for _, user := range append(acked, "1001") {
		if list[user] == nil {
			t.Fatalf("the acknowledged subscription to %s is lost", user)
		}
	}
	if m := p.get("/presence/1003"); m["state"] != "early" {
		t.Errorf("the manual state is lost: %v", m)
	}
	edge = p.edge("edge1")
	p.send("presence.dialog.acme%2Eexample%2Ecom.k9", "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": "early"})
	for {
		if n := p.next(edge); n.Presentity == "1001@"+realm && n.State == "early" {
			if n.Sequence <= before {
				t.Errorf("Sequence went from %d back to %d", before, n.Sequence)
			}
			break
		}
	}
}

func TestDrainAndRefusals(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data)
	second := exec.Command(binary, "serve", "--data", data, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0")
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("a second process on the same data directory: %v %s", err, out)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v: %s", err, p.stderr.String())
	}
	for want, args := range map[int][]string{2: {"serve", "--sync", "never"}, 1: {"token", "--account", account, "--data", filepath.Join(data, "none")}, 0: {"version"}} {
		c := exec.Command(binary, args...)
		_ = c.Run()
		if c.ProcessState.ExitCode() != want {
			t.Errorf("%v: exit %d, want %d", args, c.ProcessState.ExitCode(), want)
		}
	}
}

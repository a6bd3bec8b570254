package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// An operator sees why a lamp is as it is, also after the node was killed: who set it and in which request, which phone answered 481, and which one does
// not answer. The audit has each command.
func TestWhy(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data)
	p.sample()
	audit, err := p.conn.SubscribeSync(subject.Audit(realm, "1001"))
	if err != nil {
		t.Fatal(err)
	}
	_ = p.conn.Flush()
	edge := p.edge("edge1")
	p.subscribe("1001", subscription("c1"))
	m, err := edge.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p.reply(m, func(string) int { return 481 })
	a := p.shell(`curl -s -H "X-Auth-Token: {AUTH_TOKEN}" -H "X-Request-ID: ticket-4711" -H "Content-Type: application/json" -d '{"data":{"action":"set","state":"confirmed"}}' 'BASE/presence/1001'`)
	if a.Status != "success" {
		t.Fatalf("%+v", a)
	}
	m, err = audit.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var told map[string]string
	if err := json.Unmarshal(m.Data, &told); err != nil {
		t.Fatal(err)
	}
	if told["Action"] != "set" || told["State"] != "confirmed" || told["By"] != "a token of account "+account || told["Request-ID"] != "ticket-4711" || told["Result"] != "done" || told["Address"] != "127.0.0.1" {
		t.Errorf("%s", m.Data)
	}
	if log := p.stderr.String(); !strings.Contains(log, "a command came") || !strings.Contains(log, "ticket-4711") {
		t.Errorf("the log does not have the command: %s", log)
	}
	check := func(more ...string) {
		t.Helper()
		eventually(t, "the explanation is whole", 20*time.Second, func() bool {
			out := p.lamplight("presence", "show", "1001", "--realm", realm, "--explain", "--nats", p.nats)
			for _, part := range append(more, "\n- manual_state: The manual state confirmed was set at", "\nWhat to do about each of these is in docs/runbook.md", "\n- subscription_ended: ", "by a token of account "+account+" from 127.0.0.1 (request ticket-4711)", "confirmed  manual",
				"answered 481 to a NOTIFY at", "1002@"+realm) {
				if !strings.Contains(out, part) {
					return false
				}
			}
			return true
		})
	}
	check("\n- no_watchers: No phone watches this extension")
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p = serve(t, data)
	check("No phone watches this extension")

	// Nobody listens for edge1 now, and this node has never heard it.
	p.subscribe("1001", subscription("c2"))
	check("\n- edge_down: Nobody listens for the edge edge1: NATS knew no subscription")
}

// A reset by the command line keeps a report of what it makes forget, which is read over HTTP with a token of the account.
func TestReportOfResetOverNATS(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	p.set("1001", "confirmed")
	for _, c := range [][2]string{{"1001", `"1001@` + realm + `":{"extension":"1001","state":"confirmed"`}, {"*", `"lamps":{"1003":{"state":"early"`}} {
		var a struct {
			Report string `json:"Report-ID"`
		}
		p.set("1003", "early")
		if err := json.Unmarshal([]byte(p.lamplight("presence", "reset", c[0], "--yes", "--realm", realm, "-o", "json", "--nats", p.nats)), &a); err != nil || len(a.Report) != 32 {
			t.Fatalf("%v: the report %q", err, a.Report)
		}
		out, err := exec.Command("curl", "-s", "-H", "X-Auth-Token: "+p.token, p.http+"/v2/accounts/"+account+"/presence/report-"+a.Report).Output()
		if err != nil || !strings.Contains(string(out), `"account_id":"`+account+`","realm":"`+realm+`","action":"reset"`) || !strings.Contains(string(out), `"by":"lamplight-cli"`) || !strings.Contains(string(out), c[1]) {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// lamplight watchers, the HTTP API and explain say of each edge whether anybody listens for its NOTIFYs: one that says edge.up, one that did and is
// gone, one that never did and listens, and one that nobody has ever seen.
func TestWhoListens(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.lamplight("import", "../../docs/examples/acme.json", "--nats", p.nats) // sample would listen to everything, and so for every edge
	watch := func(user, edge string) {
		d := subscription("c-" + edge)
		d["User"], d["Server-ID"] = "sip:"+user+"@"+realm, edge
		p.subscribe(user, d)
	}
	up := func(edge string) {
		p.publish(subject.EdgeUp(edge), map[string]any{"Edge": edge, "Incarnation": "1", "Seen": map[string]int{}})
	}
	p.edge("alive")
	p.edge("mute")
	gone := p.edge("gone")
	for i, edge := range []string{"alive", "mute", "gone", "noone"} {
		watch(fmt.Sprint(1001+i), edge)
	}
	up("gone")
	p.next(gone)
	if err := gone.Unsubscribe(); err != nil || p.conn.Flush() != nil {
		t.Fatal(err)
	}
	p.dialog("1003", "k", "early")
	var top accountView
	if err := json.Unmarshal([]byte(p.lamplight("account", "create", "--master", "--realm", "carrier.example.com", "-o", "json", "--nats", p.nats)), &top); err != nil {
		t.Fatal(err)
	}
	master := p.lamplight("token", "--account", top.ID, "--data", p.data)
	saw := ""
	defer func() {
		if t.Failed() {
			t.Log(saw)
		}
	}()
	eventually(t, "each edge is described", 20*time.Second, func() bool {
		up("alive")
		saw = p.lamplight("watchers", "--nats", p.nats) + "\n"
		for _, want := range []string{`alive +listening +1`, `mute +never said edge\.up +1`, `gone +down since \S+ +1`, `noone +nobody at \S+ +1`} {
			if !regexp.MustCompile("(?m)^" + want).MatchString(saw) {
				return false
			}
		}
		out, err := exec.Command("curl", "-s", "-H", "X-Auth-Token: "+master, p.http+"/v2/cluster?watchers=true").Output()
		if saw += string(out) + "\n"; err != nil {
			return false
		}
		for _, want := range []string{`"edge":"alive","listens":"listening"`, `"edge":"mute","listens":"never_up","watchers":1`, `"edge":"gone","listens":"down","listens_at":"`, `"edge":"noone","listens":"nobody","listens_at":"`} {
			if !strings.Contains(string(out), want) {
				return false
			}
		}
		for user, want := range map[string]string{"1002": "The edge has never said edge.up to this node", "1003": "Nobody has listened for the edge gone since", "1004": "Nobody listens for the edge noone"} {
			out := p.lamplight("presence", "show", user, "--realm", realm, "--explain", "--nats", p.nats)
			if saw += out + "\n"; !strings.Contains(out, want) {
				return false
			}
		}
		return true
	})
	if alive := p.lamplight("presence", "show", "1001", "--realm", realm, "--explain", "--nats", p.nats); strings.Contains(alive, "listens for") || strings.Contains(alive, "edge.up") {
		t.Errorf("of an edge that lives: %s", alive)
	}
}

package main

import (
	"encoding/json"
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
			for _, part := range append(more, "The manual state confirmed was set at", "by a token of account "+account+" from 127.0.0.1 (request ticket-4711)", "confirmed  manual",
				"answered 481 to a NOTIFY at", "1002@"+realm) {
				if !strings.Contains(out, part) {
					return false
				}
			}
			return true
		})
	}
	check("No phone watches this extension")
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p = serve(t, data)
	check("No phone watches this extension")

	// Nobody listens for edge1 now: the watchers behind it do not answer.
	p.subscribe("1001", subscription("c2"))
	check("behind the edge edge1 has not answered NOTIFY")
}

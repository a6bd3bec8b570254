package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/loglevel"
)

// log-level changes what a running node logs, for one part or all, and says what is wrong with a level, a part or a node.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--log-format", "json")
	p.sample()
	levels := func(args ...string) map[string]string {
		t.Helper()
		var all []loglevel.Answer
		out := p.lamplight(append([]string{"log-level", "--nats", p.nats, "-o", "json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0].Node != "box" || len(all[0].Levels) != len(loglevel.Parts) {
			t.Fatalf("%v: %s", err, out)
		}
		return all[0].Levels
	}
	if l := levels(); l["documents"] != "info" || l["node"] != "info" {
		t.Errorf("at first: %v", l)
	}
	if l := levels("error", "--part", "documents", "--node", "box"); l["documents"] != "error" || l["node"] != "info" {
		t.Errorf("error for documents: %v", l)
	}
	refused := func(topic, name string) {
		t.Helper()
		if a := p.request(topic, name, map[string]any{"Call-ID": "k"}); a["Status"] != "error" {
			t.Errorf("%s: %v", name, a)
		}
	}
	const line = "was refused; its sender has to correct it"
	refused("presence.dialog.acme%2Eexample%2Ecom.k", "dialog_update")
	if strings.Contains(p.stderr.String(), line) {
		t.Error("a warning was logged at the level error")
	}
	if l := levels("warn"); l["documents"] != "warn" || l["node"] != "warn" {
		t.Errorf("warn for all: %v", l)
	}
	refused("presence.dialog.acme%2Eexample%2Ecom.k", "dialog_update")
	eventually(t, "the refused document is logged", 20*time.Second, func() bool { return strings.Contains(p.stderr.String(), line) })
	for l := range strings.Lines(p.stderr.String()) {
		if !json.Valid([]byte(l)) {
			t.Errorf("a line that is no JSON: %s", l)
		}
	}
	if out := p.lamplight("log-level", "--nats", p.nats); !strings.Contains(out, "box   documents  warn") {
		t.Errorf("%s", out)
	}
	fails(t, `level is "loud"; it must be one of debug, info, warn, error`, "log-level", "loud", "--nats", p.nats)
	fails(t, `part is "disk"; it must be one of actors`, "log-level", "debug", "--part", "disk", "--nats", p.nats)
	fails(t, "no level is given", "log-level", "--part", "journal", "--nats", p.nats)
	fails(t, "nobody did not answer", "log-level", "debug", "--node", "nobody", "--nats", p.nats, "--timeout", "100ms")
	m, err := p.conn.Request("lamplight.log_level", []byte(`{"level":"loud"}`), 10*time.Second)
	if err != nil || !strings.Contains(string(m.Data), `"error":"level is \"loud\"`) {
		t.Errorf("a wrong level: %v, %s", err, m.Data)
	}
	if m, err = p.conn.Request("lamplight.log_level", []byte(strings.Repeat(" ", 2000)), 10*time.Second); err != nil || !strings.Contains(string(m.Data), "it may have at most 1024") {
		t.Errorf("a long document: %v, %s", err, m.Data)
	}
}

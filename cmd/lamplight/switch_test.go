package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// lit says whether an extension's lamp is lit.
func (p *process) lit(user string) bool {
	p.t.Helper()
	return p.get("/presence/" + user)["state"] != "terminated"
}

// The calls of a switch that died go out by the command line, over HTTP and because its source is silent. Those of others stay, and a call
// that is told again lives. A restart forgets none of it.
func TestSwitchesThatAreGone(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	call := func(user, on string) {
		t.Helper()
		p.send(subject.DialogUpdate(realm, "k-"+user), "dialog_update", map[string]any{"From": user + "@" + realm, "To": "2001@" + realm, "Call-ID": "k-" + user,
			"Direction": "recipient", "State": "confirmed", "Switch-URI": on, "Timestamp": time.Now().UnixMicro()})
	}
	call("1001", "sip:one")
	call("1002", "sip:two")
	call("1003", "sip:three")
	ended := p.lamplight("presence", "reset", "--switch", "sip:one", "--nats", p.nats)
	if ended != "ended 1 calls of sip:one" || p.lit("1001") || !p.lit("1002") || !p.lit("1003") {
		t.Fatalf("%s: %v %v %v", ended, p.lit("1001"), p.lit("1002"), p.lit("1003"))
	}
	if again := p.lamplight("presence", "reset", "--switch", "sip:two", "--before", "10m", "--nats", p.nats); again != "ended 0 calls of sip:two" {
		t.Errorf("%s", again)
	}
	p.send(subject.SourceUp("s2"), "source_up", map[string]any{"Source": "s2", "Switch-URI": "sip:two", "Incarnation": "i1", "Expires": 2})
	if list := p.lamplight("sources", "--nats", p.nats); !strings.Contains(list, "s2") || !strings.Contains(list, " up ") || !strings.Contains(list, "sip:three") {
		t.Errorf("%s", list)
	}
	for end := time.Now().Add(20 * time.Second); p.lit("1002"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lamp of a silent source's call stays lit")
		}
	}
	if list := p.lamplight("sources", "--nats", p.nats, "-o", "json"); !strings.Contains(list, `"silent": true`) {
		t.Errorf("%s", list)
	}
	call("1002", "sip:two") // it is told again
	if !p.lit("1002") || !p.lit("1003") {
		t.Error("what was told since is dark")
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	token := p.token
	p = serve(t, p.data)
	p.token = token
	late := map[string]any{"From": "1001@" + realm, "To": "2001@" + realm, "Call-ID": "k-1001", "Direction": "recipient", "State": "confirmed", "Switch-URI": "sip:one",
		"Timestamp": time.Now().Add(-30 * time.Second).UnixMicro()}
	p.send(subject.DialogUpdate(realm, "k-1001"), "dialog_update", late)
	if p.lit("1001") || !p.lit("1002") || !p.lit("1003") {
		t.Errorf("after a restart: %v %v %v", p.lit("1001"), p.lit("1002"), p.lit("1003"))
	}
	if out := p.lamplight("presence", "reset", "--switch", "sip:three", "--nats", p.nats, "-o", "json"); !strings.Contains(out, fmt.Sprintf(`"Ended": %d`, 1)) || p.lit("1003") {
		t.Errorf("%s", out)
	}
}

package bus

import (
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// A reset over NATS keeps the report that one over HTTP keeps, for the account that has the realm. The answer and the audit name it. A set keeps none.
func TestResetKeepsReport(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct{ topic, event, fields, user, has string }{
		{"presence.reset.acme%2Etest.1001", "reset", `"Realm":"acme.test","Username":"1001"`, "1001", `"extensions":{"1001@acme.test":{"extension":"1001",`},
		{"presence.reset.acme%2Etest.%2A", "reset", `"Realm":"acme.test","Username":"*"`, "*", `"lamps":{`},
	} {
		a := b.request(c.topic, c.event, c.fields)[0]
		report, last := b.router.lastReport()
		if a.text("Status") != "ok" || a.text("Report-ID") == "" || last.Report != a.text("Report-ID") || last.User != c.user {
			t.Errorf("%s: %v, the audit has %+v", c.topic, a, last)
		}
		for _, want := range []string{"account of acme.test {", `"account_id":"account of acme.test","realm":"acme.test","action":"reset",`, `"by":"test"`, `"request_id":"m1"`, c.has} {
			if !strings.Contains(report, want) {
				t.Errorf("%s: no %s in %s", c.topic, want, report)
			}
		}
	}
	// The question for the report goes out before the reset, and both before whatever follows.
	if kept := b.router.requests(); len(kept) < 2 || kept[0].Message != (actors.Show{Explain: true}) || kept[1].Message != (presence.Reset{}) {
		t.Errorf("the extension was asked for %+v", kept)
	}
	if a := b.request("presence.set.acme%2Etest.1001", "set", `"Realm":"acme.test","Username":"1001","State":"early"`)[0]; a.text("Status") != "ok" || a["Report-ID"] != nil || len(b.router.reports) != 2 {
		t.Errorf("a set: %v", a)
	}
}

// A report that can't be kept takes a part of the time of a reset, and the reset is done. When too many resets wait for theirs, one more is done
// without.
func TestResetWithoutReport(t *testing.T) {
	b := newBed(t)
	b.router.hangs = true
	begun := time.Now()
	for topic, user := range map[string]string{"presence.reset.acme%2Etest.1001": "1001", "presence.reset.acme%2Etest.%2A": "*"} {
		if a := b.request(topic, "reset", `"Realm":"acme.test","Username":"`+user+`"`)[0]; a.text("Status") != "ok" || a["Report-ID"] != nil {
			t.Errorf("%s: %v", topic, a)
		}
	}
	if time.Since(begun) < time.Second {
		t.Error("nothing was waited for: the test shows nothing")
	}
	for range maxReporting {
		b.bus.reporting <- struct{}{}
	}
	if a := b.request("presence.reset.acme%2Etest.1002", "reset", `"Realm":"acme.test","Username":"1002"`)[0]; a.text("Status") != "ok" {
		t.Errorf("%v", a)
	}
	kept := b.router.requests()
	if last := kept[len(kept)-1]; last.To.User != "1002" || last.Message != (presence.Reset{}) {
		t.Errorf("%+v", last)
	}
}

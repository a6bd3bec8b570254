package bus

import (
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Each command is told to the audit with what the document says of its sender. News is not told, and neither is a command that is refused because
// of its form. The router gets the sender with both.
func TestAudit(t *testing.T) {
	b := newBed(t)
	who := presence.Origin{By: "panel", From: "host-1", Request: "m-7"}
	head := `"App-Name":"panel","Node":"host-1","Msg-ID":"m-7","Event-Category":"presence",`
	ask := func(subject, document string) {
		t.Helper()
		if _, err := b.conn.Request(subject, []byte(document), 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	ask("presence.set.acme%2Etest.1001", `{`+head+`"Event-Name":"set","Realm":"acme.test","Username":"1001","State":"early"}`)
	ask("presence.reset.acme%2Etest.1001", `{`+head+`"Event-Name":"reset","Realm":"acme.test","Username":"1001"}`)
	ask("presence.reset.acme%2Etest.%2A", `{`+head+`"Event-Name":"reset","Realm":"acme.test","Username":"*"}`)
	ask("presence.switch_gone", `{`+head+`"Event-Name":"switch_gone","Switch-URI":"sip:one"}`)
	ask("presence.set.acme%2Etest.1001", `{`+head+`"Event-Name":"set","Realm":"acme.test","Username":"1001","State":"blue"}`)
	ask("presence.dialog.acme%2Etest.k", `{`+head+`"Event-Name":"dialog_update","State":"early","Call-ID":"k","From":"sip:1001@acme.test","To":"sip:2@acme.test","Direction":"inbound"}`)
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	var got []string
	for _, a := range b.router.audited {
		got = append(got, a.Action+" "+a.State+" "+a.Realm+" "+a.User+" "+a.Switch)
		if a.Origin != who || a.Err != nil {
			t.Errorf("%+v", a)
		}
	}
	want := []string{"set early acme.test 1001 ", "reset  acme.test 1001 ", "reset  acme.test * ", "switch_gone    sip:one"}
	if len(got) != len(want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("told %q, want %q", got[i], want[i])
		}
	}
	for _, q := range b.router.kept {
		if _, show := q.Message.(actors.Show); !show && q.Origin != who { // a Show is the question for a report
			t.Errorf("the router got %+v with %T", q.Origin, q.Message)
		}
	}
}

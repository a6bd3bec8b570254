package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// switch_gone passes the switch and the moment on, and answers how many calls have ended.
func TestSwitchGone(t *testing.T) {
	b := newBed(t)
	b.router.cover.Extensions = 7
	before := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		fields, code string
		want         presence.SwitchGone
	}{
		{`"Switch-URI":"sip:10.0.0.5:11000"`, "", presence.SwitchGone{Switch: "sip:10.0.0.5:11000"}},
		{`"Switch-URI":"sip:one","Before":1795860000`, "", presence.SwitchGone{Switch: "sip:one", Before: before}},
		{`"Switch-URI":"sip:one","Before":"63963079200"`, "", presence.SwitchGone{Switch: "sip:one", Before: before}},
		{`"Before":1795860000`, "400", presence.SwitchGone{}},
		{`"Switch-URI":"` + strings.Repeat("s", 257) + `"`, "400", presence.SwitchGone{}},
		{`"Switch-URI":"","Before":1795860000`, "400", presence.SwitchGone{}},
		{`"Switch-URI":"sip:one","Before":-1`, "400", presence.SwitchGone{}},
		{`"Switch-URI":"sip:one","Before":"yesterday"`, "400", presence.SwitchGone{}},
	} {
		b.router.gone = nil
		a := b.request("presence.switch_gone", "switch_gone", c.fields)
		if len(a) != 1 || c.code != "" && (a[0].text("Code") != c.code || b.router.gone != nil) {
			t.Fatalf("%s is answered %v", c.fields, a)
		}
		if c.code != "" {
			continue
		}
		if got := b.router.gone; len(got) != 1 || got[0].Switch != c.want.Switch || !got[0].Before.Equal(c.want.Before) || string(a[0]["Ended"]) != "7" {
			t.Errorf("%s: %+v, answered %v", c.fields, got, a)
		}
	}
	b.router.goneErr = actors.ErrUnknown
	if a := b.request("presence.switch_gone", "switch_gone", `"Switch-URI":"sip:one"`); len(a) != 1 || a[0].text("Code") != "503" {
		t.Errorf("answered %v", a)
	}
}

// source.up reaches the shard that watches over the source. What contradicts its subject, or lacks something, is refused.
func TestSourceUp(t *testing.T) {
	b := newBed(t)
	ask := func(text string) doc {
		t.Helper()
		m, err := b.conn.Request("lamplight.source.up.fs%2E1", []byte(text), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var d doc
		if err := json.Unmarshal(m.Data, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, wrong := range []string{`{}`, `[]`, `{"Source":"fs.2","Switch-URI":"s","Incarnation":"i","Expires":30}`, `{"Source":"fs.1","Incarnation":"i","Expires":30}`,
		`{"Source":"fs.1","Switch-URI":"s","Expires":30}`, `{"Source":"fs.1","Switch-URI":"s","Incarnation":"i"}`, `{"Source":"fs.1","Switch-URI":"s","Incarnation":"i","Expires":3601}`} {
		if a := ask(wrong); a.text("Code") != "400" {
			t.Errorf("%s is answered %v", wrong, a)
		}
	}
	if a := ask(`{"Source":"fs.1","Switch-URI":"sip:one","Incarnation":"i","Expires":30}`); a.text("Status") != "ok" || a.text("Event-Name") != "source_up_ack" {
		t.Errorf("answered %v", a)
	}
	all := b.router.requests()
	want := presence.SourceUp{Source: "fs.1", Switch: "sip:one", Incarnation: "i", Expires: 30}
	if len(all) != 1 || all[0].Message != want || all[0].To != actors.SourceAddress("fs.1") {
		t.Errorf("requested %+v", all)
	}
}

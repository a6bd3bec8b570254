package shadow

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors/presence"
)

// The lamp that a NOTIFY shows is that of its most important dialog, whatever stands around the document.
func TestReadDialogs(t *testing.T) {
	const open = `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:1001@acme.example.com">`
	dialog := func(id, state string) string {
		return `<dialog id="` + id + `" call-id="c-` + id + `" direction="recipient"><state>` + state + `</state></dialog>`
	}
	for text, want := range map[string]struct {
		state presence.State
		call  string
	}{
		open + `</dialog-info>`:                             {dark, ""},
		`<?xml version="1.0"?>` + open[:len(open)-1] + `/>`: {dark, ""},
		"Hostname : kam1\r\nNOTIFY sip:a SIP/2.0\r\n\r\n" + open + dialog("1", "early") + "</dialog-info>\nResponse 200 OK": {early, "c-1"},
		open + dialog("1", "confirmed") + dialog("2", "Early") + `</dialog-info>`:                                           {early, "c-2"},
		open + dialog("1", "terminated") + dialog("2", "confirmed") + `</dialog-info>`:                                      {confirmed, "c-2"},
		open + dialog("1", "terminated") + `</dialog-info>`:                                                                 {dark, "c-1"},
		open + dialog("1", "Trying") + `</dialog-info>`:                                                                     {dark, ""},
		open + `<dialog id="x"><state>confirmed</state></dialog></dialog-info>`:                                             {confirmed, "x"},
	} {
		if state, call, err := readDialogs(text); err != nil || state != want.state || call != want.call {
			t.Errorf("%s: %v %q %v; it should be %v", text, state, call, err, want)
		}
	}
	for _, text := range []string{"", "<dialog-info", open, open + "<dialog></dialog-info>", "</dialog-info><dialog-info", "<dialog-info/>", open + dialog("1", "asleep") + "</dialog-info>"} {
		if state, _, err := readDialogs(text); err == nil || state != presence.None {
			t.Errorf("%s is taken for %v", text, state)
		}
	}
}

// Numbers and times come in several forms.
func TestMoment(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{`1795856400`: at, `"1795856400"`: at, `1795856400000`: at, `1795856400000000`: at, `63963075600`: at,
		`null`: {}, `"soon"`: {}, `-1`: {}, `1e300`: {}, `"NaN"`: {}, ``: {}, `{}`: {}} {
		if got := moment(jsontext.Value(text)); !got.Equal(want) {
			t.Errorf("%s is %v and not %v", text, got, want)
		}
	}
	for text, want := range map[string]int{`200`: 200, `"500"`: 500, `0`: 0, `99`: 0, `700`: 0, `"OK"`: 0, `null`: 0} {
		if got := code(jsontext.Value(text)); got != want {
			t.Errorf("%s is %d and not %d", text, got, want)
		}
	}
}

// A listing is complete when all nodes that have the presence role have ended their answer. A node that is silent does not count any more.
func TestAllNodes(t *testing.T) {
	now := time.Now()
	roles := map[string]time.Time{"kam1": now.Add(time.Second), "kam2": now.Add(time.Second)}
	for _, c := range []struct {
		ended map[string]bool
		later time.Duration
		want  bool
	}{{map[string]bool{}, 0, false}, {map[string]bool{"kam1": true}, 0, false}, {map[string]bool{"kam1": true, "kam2": true, "kam3": true}, 0, true}, {map[string]bool{"kam1": true}, time.Minute, false}} {
		if got := all(maps.Clone(roles), c.ended, now.Add(c.later)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	roles["kam2"] = now.Add(-time.Second)
	if !all(roles, map[string]bool{"kam1": true}, now) {
		t.Error("a node that has fallen silent is waited for")
	}
}

// No document ends the program or gives a lamp that is none.
func FuzzReadNotify(f *testing.F) {
	good, _ := json.Marshal(map[string]any{"To": "sip:1001@acme.example.com", "From": "sip:1002@acme.example.com", "Reply": 200, "Sent": "1795856400", "Event-Package": "dialog",
		"Body": `x <dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" state="full"><dialog id="1"><state>early</state></dialog></dialog-info> y`})
	for _, seed := range []string{string(good), `{}`, `[]`, `{"To":7}`, `{"To":"1001","Body":"<dialog-info/>"}`, `{"To":"1001","Body":"</dialog-info><dialog-info>"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := readNotify(body)
		if err == nil && (n.user == "" || n.state != presence.None && n.state != dark && !isLit(n.state) || n.code != 0 && (n.code < 100 || n.code > 699)) {
			t.Errorf("%q is %+v", body, n)
		}
	})
}

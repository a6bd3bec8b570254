package presence

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A document past its bound keeps the most important dialogs, the lamp's first, and stays whole XML.
func TestLargeDocumentKeepsTheMostImportant(t *testing.T) {
	v := &View{State: Early}
	for i := range 100 {
		state := Confirmed
		if i == 0 {
			state = Early
		}
		v.Dialogs = append(v.Dialogs, DialogView{ID: fmt.Sprint("d", i), CallID: fmt.Sprint("d", i), State: state, FromTag: strings.Repeat("&", 4000)})
	}
	b := string(Dialog.AppendDocument(nil, Address{Realm: "acme.test", User: "1001"}, v, 7))
	if n := strings.Count(b, "<dialog "); len(b) > maxDocument || n < 2 || n >= 100 || !strings.Contains(b, `id="d0"`) || !strings.HasSuffix(b, "</dialog-info>\n") {
		t.Errorf("%d dialogs in %d bytes", n, len(b))
	}
	v.Dialogs = v.Dialogs[:3]
	if b := string(Dialog.AppendDocument(nil, Address{Realm: "acme.test", User: "1001"}, v, 7)); strings.Count(b, "<dialog ") != 3 {
		t.Error("a small document lost something")
	}
}

// A View without parties has documents without the remote side, and shows all else (RFC 4235 §4.1.6).
func TestDocumentWithoutParties(t *testing.T) {
	s := newStage(t)
	ev := ring("c", Early)
	ev.FromTag, ev.ToTag, ev.FromName, ev.ToName, ev.ToURI = "lt", "rt", "Bob", "Ada", "sip:ada@10.0.0.9"
	s.do(ev).do(SetManual{Confirmed})
	v := s.e.View()
	text := string(Dialog.AppendDocument(nil, s.e.Address(), v.WithoutParties(), 1))
	if strings.Contains(text, "remote>") || strings.Contains(text, "1002") || strings.Contains(text, "Ada") || strings.Contains(text, "10.0.0.9") {
		t.Error(text)
	}
	for _, shown := range []string{`call-id="c" local-tag="lt" remote-tag="rt"`, "<state>early</state>", "<state>confirmed</state>", `<local><identity display="Bob">sip:1001@acme.example.com`} {
		if !strings.Contains(text, shown) {
			t.Errorf("%s is not in\n%s", shown, text)
		}
	}
	if v.Dialogs[0].To != "1002@acme.example.com" || Idle.WithoutParties() != Idle {
		t.Errorf("the View was changed: %+v", v.Dialogs)
	}
}

// A pickup cookie says which switch runs a call, and whether it waits in a parking slot.
func TestPickupCookies(t *testing.T) {
	s := newStage(t)
	ev := ring("c", Early)
	ev.SwitchURI = "sip:10.0.0.5:11000"
	slot := RegisterEvent{Name: "n", State: Early, Call: HeldCall{CallID: "parked", SwitchURI: "sip:10.0.0.6:11000"}}
	s.do(SetManual{Confirmed}).do(ev).pass(time.Second).do(slot).pass(time.Second).do(ring("d", Early))
	want := []string{"02" + RegisterName("sip:10.0.0.5:11000"), "01" + RegisterName("sip:10.0.0.6:11000"), "", ""}
	if got := s.e.View().PickupCookies(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	var none *View
	if Idle.PickupCookies() != nil || none.PickupCookies() != nil {
		t.Error("there are cookies of nothing")
	}
	if got := s.do(Reset{}).do(ring("e", Early)).e.View().PickupCookies(); got != nil {
		t.Errorf("%q without a switch", got)
	}
}

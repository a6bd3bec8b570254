package sip

import (
	"net/netip"
	"testing"
	"time"

	"lamplight/actors/body"
	"lamplight/actors/presence"
	"lamplight/transport/sip/message"
	"lamplight/transport/sip/profile"
)

// someNotify is a NOTIFY to a phone behind a proxy, and the server that sends it.
func someNotify() (*Server, *outgoing) {
	to := presence.Address{Realm: "acme.example.com", User: "1001"}
	v := &presence.View{State: presence.Early, Dialogs: []presence.DialogView{{ID: "k-1@10.0.0.5", CallID: "k-1@10.0.0.5", State: presence.Early,
		Direction: presence.Recipient, From: "1001@acme.example.com", To: "2125550100@acme.example.com", FromTag: "lt-1", ToTag: "rt-1"}}}
	told := &Told{To: to, Package: presence.Dialog, Sequence: 7, ContentType: body.ContentTypeDialogInfo, Made: time.Now(),
		Body: presence.Dialog.AppendDocument(nil, to, v, 7),
		Targets: []Target{{CallID: "a84b4c76e66710@192.0.2.9", From: "1002@acme.example.com", FromTag: "8f", ToTag: "ZKbEYUYt9pQzLmEn", Expires: 600,
			Contact: `<sip:1002@192.0.2.9:5062;line=7>;+sip.instance="<urn:uuid:0-1>";reg-id=1`,
			Route:   "<sip:udp.0.10.0.0.1:5060@lamplight;profile=yealink;id=7;lr>,<sip:10.0.0.1;lr;ftag=8f>,<sip:10.0.0.2;transport=tcp;lr>"}}}
	o := &outgoing{key: subscription{told.Targets[0].CallID, to, presence.Dialog}, told: told, number: 1 << 40,
		hop: flow{listener: &listener{transport: UDP, advertise: "10.0.0.9:5060"}, remote: netip.MustParseAddrPort("10.0.0.1:5060")}}
	return &Server{cfg: Config{Profiles: profile.Default()}}, o
}

// A NOTIFY is built without an allocation, and every phone and proxy can read it (RFC 6665 §4.1.3).
func TestNotifyIsBuiltInPlace(t *testing.T) {
	s, o := someNotify()
	text := s.appendNotify(nil, o, 3)
	var m message.Message
	if err := m.Read(text); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	index, slot, number, ok := readBranch(m.Via().Branch)
	if !ok || index != 3 || slot != 0 || number != o.number || string(m.RequestURI()) != "sip:1002@192.0.2.9:5062;line=7" || m.CSeq != 7 ||
		string(m.Header(message.Event)) != "dialog;id=7" || string(m.Header(message.Route)) != "<sip:10.0.0.1;lr;ftag=8f>,<sip:10.0.0.2;transport=tcp;lr>" ||
		string(m.Header(message.SubscriptionState)) != "active;expires=600" || string(m.Body) != string(o.told.Body) {
		t.Errorf("the NOTIFY is\n%s", text)
	}
	buffer := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buffer = s.appendNotify(buffer[:0], o, 3) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNotify(b *testing.B) {
	s, o := someNotify()
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buffer = s.appendNotify(buffer[:0], o, 3)
	}
}

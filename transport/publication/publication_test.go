package publication

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lamplight/actors/body"
	"lamplight/actors/presence"
)

// dialogInfo wraps dialogs in a full document.
func dialogInfo(dialogs string) string {
	return `<?xml version="1.0"?>` + "\n" + `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:1001@acme.example.com">` + dialogs + `</dialog-info>`
}

// pidf wraps elements in a presence document.
func pidf(inner string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:1001@acme.example.com">` + inner + `</presence>`
}

func read(t *testing.T, p presence.Package, data string) presence.Publish {
	t.Helper()
	ev := presence.Publish{Package: p}
	if err := Read(&ev, p.ContentType(), []byte(data)); err != nil {
		t.Fatal(err)
	}
	return ev
}

// RFC 4235: what switches and proxies publish.
func TestDialogInfo(t *testing.T) {
	// kamailio is a dialog as Kamailio's module pua_dialoginfo writes it: white space stands around the state.
	kamailio := func(id, tags, direction, state string) string {
		return dialogInfo("\n  <dialog id=\"" + id + `" call-id="k-1@10.0.0.9"` + tags + ` direction="` + direction + `">` + "\n    <state> " + state + " </state>\n" +
			"    <remote>\n      <identity>sip:1002@acme.example.com</identity>\n      <target uri=\"sip:1002@10.0.0.7:5060\"/>\n    </remote>\n" +
			"    <local>\n      <identity display=\"Ada\">sip:1001@acme.example.com</identity>\n      <target uri=\"sip:1001@10.0.0.8:5060\"/>\n    </local>\n  </dialog>\n")
	}
	party := presence.CallEvent{ID: "padi-1", CallID: "k-1@10.0.0.9", From: "1001@acme.example.com", To: "1002@acme.example.com", FromName: "Ada",
		FromURI: "sip:1001@10.0.0.8:5060", ToURI: "sip:1002@10.0.0.7:5060"}
	want := func(direction presence.Direction, state presence.State, tags ...string) []presence.CallEvent {
		d := party
		if d.Direction, d.State = direction, state; len(tags) == 2 {
			d.FromTag, d.ToTag = tags[0], tags[1]
		}
		return []presence.CallEvent{d}
	}
	const tags = ` local-tag="lt" remote-tag="rt"`
	for name, c := range map[string]struct {
		body    string
		partial bool
		want    []presence.CallEvent
	}{
		"Kamailio, caller trying":     {kamailio("padi-1", "", "initiator", "Trying"), false, want(presence.Initiator, presence.Trying)},
		"Kamailio, caller confirmed":  {kamailio("padi-1", tags, "initiator", "confirmed"), false, want(presence.Initiator, presence.Confirmed, "lt", "rt")},
		"Kamailio, callee early":      {kamailio("padi-1", tags, "recipient", "early"), false, want(presence.Recipient, presence.Early, "lt", "rt")},
		"Kamailio, without tags":      {kamailio("padi-1", "", "recipient", "confirmed"), false, want(presence.Recipient, presence.Confirmed)},
		"Kamailio, callee terminated": {kamailio("padi-1", "", "recipient", "TERMINATED"), false, want(presence.Recipient, presence.Terminated)},
		"OpenSIPS, partial": {`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="partial" entity="sip:1001@acme.example.com">` +
			`<dialog id="k-2.01" call-id="k-2" direction="recipient"><state>early</state><local><identity display="Ada B.">sip:1001@acme.example.com</identity></local></dialog></dialog-info>`, true,
			[]presence.CallEvent{{ID: "k-2.01", CallID: "k-2", Direction: presence.Recipient, State: presence.Early, From: "1001@acme.example.com", FromName: "Ada B."}}},
		"Asterisk, ringing": {dialogInfo(`<dialog id="1001" direction="recipient"><state>early</state><remote><identity display="B">sip:1002@acme.example.com</identity><target uri="sip:1002@acme.example.com"/></remote></dialog>`), false,
			[]presence.CallEvent{{ID: "1001", Direction: presence.Recipient, State: presence.Early, To: "1002@acme.example.com", ToName: "B", ToURI: "sip:1002@acme.example.com"}}},
		"Asterisk, on hold": {dialogInfo(`<dialog id="1001"><state>confirmed</state><local><target uri="sip:1001@acme.example.com"><param pname="+sip.rendering" pvalue="no"/></target></local></dialog>`), false,
			[]presence.CallEvent{{ID: "1001", Direction: presence.Recipient, State: presence.Confirmed, From: "1001@acme.example.com", FromURI: "sip:1001@acme.example.com"}}},
		"FreeSWITCH, a slot": {dialogInfo(`<dialog id="7001" direction="initiator"><state>confirmed</state></dialog>`), false,
			[]presence.CallEvent{{ID: "7001", State: presence.Confirmed}}},
		"several, without ids": {dialogInfo(`<dialog call-id="a"><state>proceeding</state></dialog><dialog call-id="b" local-tag="x"><state event="cancelled">terminated</state></dialog>`), false,
			[]presence.CallEvent{{CallID: "a", Direction: presence.Recipient, State: presence.Trying}, {CallID: "b", FromTag: "x", Direction: presence.Recipient, State: presence.Terminated}}},
		"none":                {dialogInfo(""), false, nil},
		"prefixed":            {`<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:x@y"><d:dialog id="q"><d:state>early</d:state></d:dialog></d:dialog-info>`, false, []presence.CallEvent{{ID: "q", Direction: presence.Recipient, State: presence.Early}}},
		"of other namespaces": {dialogInfo(`<x:dialog xmlns:x="urn:x" id="no"><x:state>early</x:state></x:dialog><dialog id="q"><x:state xmlns:x="urn:x">early</x:state><state>trying</state></dialog>`), false, []presence.CallEvent{{ID: "q", Direction: presence.Recipient, State: presence.Trying}}},
		"escaped":             {dialogInfo(`<dialog id="a&amp;b&#x41;"><state><![CDATA[early]]></state></dialog>`), false, []presence.CallEvent{{ID: "a&bA", Direction: presence.Recipient, State: presence.Early}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, presence.Dialog, c.body)
			if d := cmp.Diff(presence.Publish{HasBody: true, Partial: c.partial, Dialogs: c.want}, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// RFC 3863: pua_usrloc's tuple has no id, linphone's has a contact and a note. What a person does is passed over.
func TestBasicStatus(t *testing.T) {
	tuple := func(basic string) string { return `<tuple id=""><status><basic>` + basic + `</basic></status></tuple>` }
	linphone := `<tuple id="a1b2"><status><basic>Closed</basic></status><contact priority="0.8">sip:1001@10.0.0.8</contact><timestamp>2026-11-28T10:00:00Z</timestamp></tuple>`
	person := `<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" id="p"><r:activities xmlns:r="urn:ietf:params:xml:ns:pidf:rpid"><r:on-the-phone/></r:activities></dm:person>`
	for body, want := range map[string]presence.State{pidf(tuple("open")): presence.Online, pidf(tuple("closed")): presence.Offline, pidf(linphone + person): presence.Offline,
		pidf(linphone + tuple("open")): presence.Online, pidf(tuple("open") + linphone): presence.Online, pidf(person): presence.None, pidf(""): presence.None} {
		if got := read(t, presence.Presence, body); got.Basic != want || !got.HasBody {
			t.Errorf("%s says %v", body, got.Basic)
		}
	}
	for status, want := range map[string]presence.State{"open": presence.Online, "inuse": presence.Online, "closed": presence.Offline} {
		ev := presence.Publish{Package: presence.Presence}
		doc := `<?xml version="1.0"?><presence><presentity uri="sip:1001@acme.example.com"/><atom id="1"><address uri="sip:1001@10.0.0.8"><status status="` + status + `"/></address></atom></presence>`
		if err := Read(&ev, xpidf, []byte(doc)); err != nil || ev.Basic != want {
			t.Errorf("%s: %v, %v", status, ev.Basic, err)
		}
	}
}

// RFC 3842 §5.2.
func TestMessageSummary(t *testing.T) {
	for body, want := range map[string]presence.Messages{
		"Messages-Waiting: yes\r\nMessage-Account: sip:1001@acme.example.com\r\nVoice-Message: 2/8 (1/0)\r\n": {New: 2, Saved: 8, UrgentNew: 1, Account: "1001@acme.example.com"},
		"messages-waiting:no\nvoice-message: 0/3\n":                                                           {Saved: 3},
		"Messages-Waiting: yes":        {New: 1},
		"\r\nMessages-Waiting: no\r\n": {},
		"Messages-Waiting: yes\r\nFax-Message: 4/8\r\nVoice-Message: 1/0 ": {New: 1},
		"Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n\r\nTo: x":         {New: 1},
		"Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n\r\nno header":     {New: 1},
	} {
		if got := read(t, presence.MessageSummary, body); got.Messages == nil || *got.Messages != want {
			t.Errorf("%q says %+v", body, got.Messages)
		}
	}
}

// The error says what is wrong. Only a content type that the package does not have is unsupported.
func TestRefused(t *testing.T) {
	deep := strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1)
	for _, c := range []struct {
		pkg               presence.Package
		kind, body, words string
	}{
		{presence.Dialog, body.ContentTypePIDF, pidf(""), "application/dialog-info+xml"},
		{presence.Presence, "text/plain", "x", "application/pidf+xml, application/xpidf+xml"},
		{presence.Dialog, "", dialogInfo(""), "content type"},
		{presence.Dialog, body.ContentTypeDialogInfo, pidf(""), `root element is "presence"`},
		{presence.Dialog, body.ContentTypeDialogInfo, `<dialog-info version="0" state="full"/>`, "namespace"},
		{presence.Dialog, body.ContentTypeDialogInfo, "hello", "too early"},
		{presence.Dialog, body.ContentTypeDialogInfo, "<a></b>", "can't be read"},
		{presence.Dialog, body.ContentTypeDialogInfo, `<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, "DTD"},
		{presence.Dialog, body.ContentTypeDialogInfo, `<a>&x;</a>`, "can't be read"},
		{presence.Dialog, body.ContentTypeDialogInfo, `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, "can't be read"},
		{presence.Dialog, body.ContentTypeDialogInfo, deep, "deep"},
		{presence.Dialog, body.ContentTypeDialogInfo, "<a>" + strings.Repeat("<b/>", maxElements) + "</a>", "elements"},
		{presence.Dialog, body.ContentTypeDialogInfo, "<a/><a/>", "more than one root"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(strings.Repeat(`<dialog id="x"><state>early</state></dialog>`, presence.MaxPublished+1)), "dialogs"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(`<dialog id="x"/>`), "state of the dialog"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(`<dialog id="x"><state>online</state></dialog>`), "state of the dialog"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(`<dialog id="x" direction="up"><state>early</state></dialog>`), "direction"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(`<dialog id="x" call-id="` + strings.Repeat("y", presence.MaxText+1) + `"><state>early</state></dialog>`), "at most 4096"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(`<dialog id="x&#10;y"><state>early</state></dialog>`), "control character"},
		{presence.Dialog, body.ContentTypeDialogInfo, strings.Replace(dialogInfo(""), "full", "some", 1), "full or partial"},
		{presence.Dialog, body.ContentTypeDialogInfo, dialogInfo(strings.Repeat(" ", MaxBody)), "bytes"},
		{presence.Presence, body.ContentTypePIDF, pidf(`<tuple><status><basic>maybe</basic></status></tuple>`), "open or closed"},
		{presence.Presence, xpidf, `<presence><atom><address><status status="x"/></address></atom></presence>`, "inuse"},
		{presence.MessageSummary, body.ContentTypeMessageSummary, "Voice-Message: 1/0", "Messages-Waiting"},
		{presence.MessageSummary, body.ContentTypeMessageSummary, "Messages-Waiting: yes\nVoice-Message: many", "new/old"},
		{presence.MessageSummary, body.ContentTypeMessageSummary, "Messages-Waiting: yes\nVoice-Message: 1/2 (3", "new/old"},
		{presence.MessageSummary, body.ContentTypeMessageSummary, "Messages-Waiting: yes\nVoice-Message: 99999999999/2", "new/old"},
		{presence.MessageSummary, body.ContentTypeMessageSummary, "nonsense", "no header"},
	} {
		ev := presence.Publish{Package: c.pkg}
		err := Read(&ev, c.kind, []byte(c.body))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.words) || e.Unsupported != strings.Contains(err.Error(), "content type") {
			t.Errorf("%s %.100s: %+v", c.kind, c.body, err)
		}
	}
}

// A request without a body has no document, whatever its content type says.
func TestNoBody(t *testing.T) {
	ev := presence.Publish{Package: presence.Dialog}
	if err := Read(&ev, "text/plain", nil); err != nil || ev.HasBody {
		t.Errorf("%+v, %v", ev, err)
	}
	if err := Read(&ev, "Application/Dialog-Info+XML; charset=utf-8", []byte(dialogInfo(""))); err != nil || !ev.HasBody {
		t.Errorf("%+v, %v", ev, err)
	}
}

// While a mailbox has new messages, it lights the extension whose name is *98 and the user of the mailbox. Extensions that the mailbox lit before and lights
// no more go dark.
func TestLamps(t *testing.T) {
	to := presence.Address{Realm: "acme.example.com", User: "1001"}
	if all := Lamps(to, &presence.Publish{}, nil); all != nil {
		t.Error(all)
	}
	all := Lamps(to, &presence.Publish{Messages: &presence.Messages{New: 1}}, []string{"7001"})
	if got := fmt.Sprint(all[0].To, all[1].To); len(all) != 2 || got != "*981001@acme.example.com 7001@acme.example.com" {
		t.Errorf("%v", all)
	}
}

// Our own documents can be read, and whatever is read is a Publish that the domain takes or refuses without harm.
func FuzzRead(f *testing.F) {
	to := presence.Address{Realm: "acme.example.com", User: "1001"}
	v := &presence.View{State: presence.Early, Dialogs: []presence.DialogView{{ID: "d", CallID: "c", State: presence.Early, From: "1001@acme.example.com"}}, Closed: true, HasMessages: true}
	for p := range presence.LastPackage + 1 {
		f.Add(byte(p), p.ContentType(), p.AppendDocument(nil, to, v, 1))
	}
	f.Add(byte(presence.Presence), xpidf, []byte(`<presence><atom><address><status status="open"/></address></atom></presence>`))
	rules := &presence.Rules{MaxCalls: 10}
	f.Fuzz(func(t *testing.T, p byte, kind string, data []byte) {
		ev := presence.Publish{Package: presence.Package(p) % (presence.LastPackage + 1), Publisher: "p", Tag: "t", Expires: 60}
		if err := Read(&ev, kind, data); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		e := presence.New(to.Realm, to.User, rules)
		eff, err := e.Apply(ev, time.Unix(1e9, 0))
		if err != nil && !errors.Is(err, presence.ErrTooManyCalls) && !(errors.Is(err, presence.ErrInvalid) && !ev.HasBody) {
			t.Fatalf("%+v: %v", ev, err)
		}
		again := presence.New(to.Realm, to.User, rules)
		for _, r := range eff.Records {
			if err := again.Load(r.Kind, r.Data); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// RFC 4235 §4.1.6: the target of the extension says whether the dialog is held, that of the other party says nothing of it.
func TestHeldDialog(t *testing.T) {
	for target, want := range map[string]presence.Rendering{
		`<local><target uri="sip:1001@10.0.0.8"><param pname="+sip.rendering" pval="no"/></target></local>`:                                            presence.NotRendered,
		`<local><target uri="sip:1001@10.0.0.8"><param pname="+sip.automata" pval="true"/><param pname="sip.rendering" pval=" NO "/></target></local>`: presence.NotRendered,
		`<local><target uri="sip:1001@10.0.0.8"><param pname="+sip.rendering" pval="yes"/></target></local>`:                                           presence.Rendered,
		`<local><target uri="sip:1001@10.0.0.8"><param pname="+sip.rendering" pval="unknown"/></target></local>`:                                       presence.RenderingUnknown,
		`<local><target uri="sip:1001@10.0.0.8"/></local>`:                                                                                             presence.RenderingUnknown,
		`<remote><target uri="sip:1002@10.0.0.9"><param pname="+sip.rendering" pval="no"/></target></remote>`:                                          presence.RenderingUnknown,
	} {
		ev := presence.Publish{Package: presence.Dialog}
		body := dialogInfo(`<dialog id="d" call-id="k"><state>confirmed</state>` + target + `</dialog>`)
		if err := Read(&ev, "application/dialog-info+xml", []byte(body)); err != nil || ev.Dialogs[0].Rendering != want {
			t.Errorf("%s: %+v, %v", target, ev.Dialogs, err)
		}
	}
}

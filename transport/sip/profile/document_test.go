package profile

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lamplight/actors/body"
	"lamplight/actors/presence"
)

var extension = presence.Address{Realm: "acme.example.com", User: "1001"}

// The Views of the tests: the extension is idle; it rings and talks.
var (
	idle  = presence.Idle
	calls = &presence.View{State: presence.Early, Dialogs: []presence.DialogView{
		{ID: "k-1", CallID: "k-1", State: presence.Early, Direction: presence.Recipient, From: "1001@acme.example.com", To: "2125550100@acme.example.com",
			FromTag: "lt-1", ToTag: "rt-1", FromName: "Bob", ToName: "Ada \"the\" first"},
		{ID: "k-2", CallID: "k-2", State: presence.Confirmed, From: "1001@acme.example.com", To: "1002@acme.example.com"},
	}}
)

// The parts of the documents of these Views.
const (
	root = `<?xml version="1.0" encoding="UTF-8"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="full" entity="sip:1001@acme.example.com">
`
	rings = `<dialog id="k-1" call-id="k-1" local-tag="lt-1" remote-tag="rt-1" direction="recipient">
<state>early</state>
<local><identity display="Bob">sip:1001@acme.example.com</identity><target uri="sip:1001@acme.example.com"/></local>
<remote><identity display="Ada &quot;the&quot; first">sip:2125550100@acme.example.com</identity><target uri="sip:2125550100@acme.example.com"/></remote>
</dialog>
`
	talks = `<dialog id="k-2" call-id="k-2" direction="initiator">
<state>confirmed</state>
<local><identity>sip:1001@acme.example.com</identity><target uri="sip:1001@acme.example.com"/></local>
<remote><identity>sip:1002@acme.example.com</identity><target uri="sip:1002@acme.example.com"/></remote>
</dialog>
`
	none = `<dialog id="none">
<state>terminated</state>
<local><identity>sip:1001@acme.example.com</identity><target uri="sip:1001@acme.example.com"/></local>
</dialog>
`
	end = "</dialog-info>\n"
)

// anonymous takes the display names out of dialogs.
var anonymous = strings.NewReplacer(` display="Bob"`, "", ` display="Ada &quot;the&quot; first"`, "")

// shown returns what phones of a profile are shown of a View.
func shown(p *Profile, of presence.Package, v *presence.View) (kind, text string) {
	document := of.AppendDocument(nil, extension, v, 7)
	before := string(document)
	kind, changed := p.Document(of.ContentType(), document, nil)
	if string(document) != before {
		panic("the nodes' document was changed")
	}
	return kind, string(changed)
}

// Each row of the table shows its phones this: RFC 4235 §4.
func TestDialogsOfEachRow(t *testing.T) {
	for agent, want := range map[string]struct{ idle, calls string }{
		"any phone":           {none, rings},
		"Yealink SIP-T46G":    {none, rings},
		"Grandstream GXP2135": {none, rings},
		"Linksys/SPA962":      {none, rings},
		"PolycomVVX-VVX_410":  {none, rings},
		"PJSUA v2.15":         {none, rings},
	} {
		p := Default().For([]byte(agent))
		for v, dialogs := range map[*presence.View]string{idle: want.idle, calls: want.calls} {
			if kind, got := shown(p, presence.Dialog, v); got != root+dialogs+end || kind != body.ContentTypeDialogInfo {
				t.Errorf("%s gets\n%s", agent, got)
			}
		}
	}
}

// An operator's row shows its phones this: RFC 4235 §4.
func TestDialogsOfEachField(t *testing.T) {
	hidden := func(dialog string) string {
		begin, rest, _ := strings.Cut(dialog, "<remote>")
		_, rest, _ = strings.Cut(rest, "</remote>\n")
		return begin + rest
	}
	for field, want := range map[string]struct{ idle, calls string }{
		"dialogs: all":                         {none, rings + talks},
		"idle: empty":                          {"", rings},
		"display: false":                       {none, anonymous.Replace(rings)},
		"hide-parties: true":                   {none, hidden(rings)},
		"{dialogs: all, hide-parties: true}":   {none, hidden(rings) + hidden(talks)},
		"{dialogs: all, display: false}":       {none, anonymous.Replace(rings) + talks},
		"{display: false, hide-parties: true}": {none, anonymous.Replace(hidden(rings))},
		"hold: false":                          {none, rings},
		"{dialogs: all, longest: 700}":         {none, rings},
		"{dialogs: all, longest: 200}":         {none, rings},
		"{dialogs: all, longest: 2000}":        {none, rings + talks},
		"{dialogs: all, longest: 65535}":       {none, rings + talks},
	} {
		fields := strings.Trim(field, "{}")
		table, err := Load(write(t, "- {name: one, agents: [one], "+fields+"}"))
		if err != nil {
			t.Fatal(err)
		}
		for v, dialogs := range map[*presence.View]string{idle: want.idle, calls: want.calls} {
			if _, got := shown(table.Named("one"), presence.Dialog, v); got != root+dialogs+end {
				t.Errorf("%s shows\n%s", field, got)
			}
		}
	}
}

func TestPresenceOfEachRow(t *testing.T) { // RFC 3863
	talking := &presence.View{State: presence.Confirmed}
	offline := &presence.View{State: presence.Terminated, Closed: true}
	xpidf := func(status, substatus string) string {
		return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">
<presence>
<presentity uri="sip:1001@acme.example.com;method=SUBSCRIBE"/>
<atom id="a1">
<address uri="sip:1001@acme.example.com;user=ip" priority="0.800000">
<status status="` + status + `"/>
<msnsubstatus substatus="` + substatus + `"/>
</address>
</atom>
</presence>
`
	}
	polycom := Default().For([]byte("PolycomVVX-VVX_410"))
	for v, want := range map[*presence.View]string{idle: xpidf("open", "online"), calls: xpidf("open", "online"), talking: xpidf("inuse", "onthephone"),
		offline: xpidf("closed", "offline")} {
		for _, p := range []*Profile{polycom, Default().For(nil).Accepting(false, true)} {
			if kind, got := shown(p, presence.Presence, v); kind != ContentTypeXPIDF || got != want {
				t.Errorf("%s gets %s\n%s", p.Name, kind, got)
			}
		}
		same := string(presence.Presence.AppendDocument(nil, extension, v, 7))
		for _, p := range append(Default().rows, polycom.Accepting(true, false)) {
			if kind, got := shown(p, presence.Presence, v); p != polycom && (kind != body.ContentTypePIDF || got != same || !strings.Contains(got, "<contact>")) {
				t.Errorf("%s gets %s\n%s", p.Name, kind, got)
			}
		}
	}
}

func TestMessageSummaryIsTheSameForAll(t *testing.T) { // RFC 3842
	v := &presence.View{State: presence.Terminated, HasMessages: true, Messages: presence.Messages{New: 2}}
	want := string(presence.MessageSummary.AppendDocument(nil, extension, v, 7))
	for _, p := range Default().rows {
		if kind, got := shown(p, presence.MessageSummary, v); kind != body.ContentTypeMessageSummary || got != want {
			t.Errorf("%s gets %s %q", p.Name, kind, got)
		}
	}
}

// parsed is a dialog-info document.
type parsed struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version uint32   `xml:"version,attr"`
	Entity  string   `xml:"entity,attr"`
	Dialogs []struct {
		ID     string `xml:"id,attr"`
		CallID string `xml:"call-id,attr"`
		State  string `xml:"state"`
		Local  *party `xml:"local"`
		Remote *party `xml:"remote"`
	} `xml:"dialog"`
}

type party struct {
	Identity struct {
		Display *string `xml:"display,attr"`
		URI     string  `xml:",chardata"`
	} `xml:"identity"`
	Target struct {
		URI   string `xml:"uri,attr"`
		Param *struct {
			Value string `xml:"pval,attr"`
		} `xml:"param"`
	} `xml:"target"`
}

func parse4235(t *rapid.T, text []byte) (d parsed) {
	if err := xml.Unmarshal(text, &d); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return d
}

// Whatever the nodes render, each profile makes a well-formed document of it with the right dialogs in the right order.
func TestEveryDocumentStaysWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			if rapid.Bool().Draw(t, name+" bytes") {
				return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, name))
			}
			return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "</remote>\n", "<remote>", " display=\"", "\n</dialog>\n", "]]>", `" entity="`, "<basic>closed</basic>"})).Draw(t, name)
		}
		v := &presence.View{State: presence.State(rapid.SampledFrom([]presence.State{presence.Early, presence.Confirmed, presence.Terminated}).Draw(t, "lamp")),
			Closed: rapid.Bool().Draw(t, "closed"), HasMessages: true, Messages: presence.Messages{New: 1, Account: text("account")}}
		for i := range rapid.IntRange(0, 4).Draw(t, "dialogs") {
			v.Dialogs = append(v.Dialogs, presence.DialogView{ID: fmt.Sprint(i, text("id")), CallID: text("callid"),
				State:     rapid.SampledFrom([]presence.State{presence.Early, presence.Confirmed, presence.Trying, presence.Terminated}).Draw(t, "state"),
				Direction: rapid.SampledFrom([]presence.Direction{presence.Initiator, presence.Recipient}).Draw(t, "direction"),
				From:      text("from"), To: text("to"), FromTag: text("tag"), ToTag: text("tag"), FromName: text("name"), ToName: text("name"),
				FromURI: text("uri"), ToURI: text("uri"), Held: rapid.Bool().Draw(t, "held")})
		}
		p := &Profile{Dialogs: rapid.SampledFrom([]string{One, All}).Draw(t, "profile dialogs"), Idle: rapid.SampledFrom([]string{Dialog, Empty}).Draw(t, "profile idle"),
			Display: rapid.Bool().Draw(t, "profile display"), HideParties: rapid.Bool().Draw(t, "profile hides"), Hold: rapid.Bool().Draw(t, "profile hold"), Presence: rapid.SampledFrom([]string{PIDF, XPIDF}).Draw(t, "profile presence"),
			Longest: rapid.SampledFrom([]int{0, 200, 900, 2000, 65535}).Draw(t, "profile longest")}
		to := presence.Address{Realm: "acme.example.com", User: text("user")}
		for _, of := range []presence.Package{presence.Dialog, presence.Presence, presence.MessageSummary} {
			document := of.AppendDocument(nil, to, v, 7)
			kind, changed := p.Document(of.ContentType(), bytes.Clone(document), nil)
			if of == presence.MessageSummary {
				if kind != of.ContentType() || !bytes.Equal(changed, document) {
					t.Fatalf("%s became %s", document, changed)
				}
				continue
			}
			if of == presence.Presence {
				checkPresence(t, p, v, kind, document, changed)
				continue
			}
			checkDialogs(t, p, parse4235(t, document), parse4235(t, changed), changed)
		}
	})
}

func checkPresence(t *rapid.T, p *Profile, v *presence.View, kind string, document, changed []byte) {
	if p.Presence == PIDF {
		if kind != body.ContentTypePIDF || !bytes.Equal(changed, document) {
			t.Fatalf("%s became %s", document, changed)
		}
		return
	}
	var old struct {
		Entity string `xml:"entity,attr"`
	}
	var now struct {
		XMLName    xml.Name `xml:"presence"`
		Presentity struct {
			URI string `xml:"uri,attr"`
		} `xml:"presentity"`
		Status struct {
			Status string `xml:"status,attr"`
		} `xml:"atom>address>status"`
	}
	if err := xml.Unmarshal(document, &old); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(changed, &now); err != nil {
		t.Fatalf("%v in\n%s", err, changed)
	}
	want := "open"
	if v.State == presence.Confirmed {
		want = "inuse"
	}
	if v.Closed {
		want = "closed"
	}
	if kind != ContentTypeXPIDF || now.Presentity.URI != old.Entity+";method=SUBSCRIBE" || now.Status.Status != want {
		t.Fatalf("%+v of %+v in\n%s", now, v, changed)
	}
}

func checkDialogs(t *rapid.T, p *Profile, old, now parsed, changed []byte) {
	if now.Entity != old.Entity || now.Version != old.Version {
		t.Fatalf("the root became\n%s", changed)
	}
	want := old.Dialogs
	switch {
	case len(want) == 0 && p.Idle == Dialog:
		if len(now.Dialogs) != 1 || now.Dialogs[0].ID != "none" || now.Dialogs[0].State != "terminated" || now.Dialogs[0].Local.Identity.URI != old.Entity {
			t.Fatalf("idle became\n%s", changed)
		}
		return
	case p.Dialogs == One:
		want = want[:min(len(want), 1)]
	case p.Longest != 0 && len(now.Dialogs) < len(want) && len(now.Dialogs) > 0:
		want = want[:len(now.Dialogs)]
	}
	if len(now.Dialogs) != len(want) || p.Longest != 0 && len(want) > 1 && len(changed) > p.Longest {
		t.Fatalf("%d dialogs in %d bytes became\n%s", len(old.Dialogs), len(changed), changed)
	}
	for i, d := range now.Dialogs {
		o := want[i]
		if d.ID != o.ID || d.CallID != o.CallID || d.State != o.State || d.Local.Identity.URI != o.Local.Identity.URI || d.Local.Target.URI != o.Local.Target.URI {
			t.Fatalf("%+v became %+v", o, d)
		}
		if p.HideParties && d.Remote != nil || !p.HideParties && (d.Remote == nil) != (o.Remote == nil) {
			t.Fatalf("the other party of\n%s", changed)
		}
		if held := o.Local.Target.Param != nil && p.Hold; held != (d.Local.Target.Param != nil) {
			t.Fatalf("held is %v in\n%s", held, changed)
		}
		if !p.Display && (d.Local.Identity.Display != nil || d.Remote != nil && d.Remote.Identity.Display != nil) {
			t.Fatalf("a display name in\n%s", changed)
		}
	}
}

// A document of another release's node, or of none, is passed as it is.
func TestUnknownDocumentsAreLeftAlone(t *testing.T) {
	p := &Profile{Dialogs: One, Idle: Dialog, HideParties: true, Presence: XPIDF, Longest: 200}
	for _, text := range []string{"", "x", root, root + "<dialog id=\"x\"/>\n" + end, root + rings + "<other/>\n" + end, root + rings, root + rings + end + "\n",
		strings.Replace(root, "<?xml", " <?xml", 1) + rings + end, strings.Replace(root, " entity=", " subject=", 1) + rings + end,
		strings.Replace(root+end, "version", "\n version", 1) + "x"} {
		for _, kind := range []string{body.ContentTypeDialogInfo, body.ContentTypePIDF, "text/plain"} {
			if k, got := p.Document(kind, []byte(text), nil); string(got) != text || k != kind {
				t.Errorf("%q became %s %q", text, k, got)
			}
		}
	}
	if kind, got := p.Document("text/plain", []byte(root+rings+end), nil); string(got) != root+rings+end || kind != "text/plain" {
		t.Errorf("a text became %s %s", kind, got)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(root+rings+talks+end, true, true, uint16(0))
	f.Add(root+end, false, false, uint16(700))
	f.Add(string(presence.Presence.AppendDocument(nil, extension, calls, 7)), true, false, uint16(0))
	f.Fuzz(func(t *testing.T, text string, one, display bool, longest uint16) {
		p := &Profile{Dialogs: All, Idle: Dialog, Display: display, HideParties: display != one, Presence: XPIDF, Longest: int(longest)}
		if one {
			p.Dialogs = One
		}
		for _, kind := range []string{body.ContentTypeDialogInfo, body.ContentTypePIDF} {
			if _, got := p.Document(kind, []byte(text), nil); len(got) > len(text)+1024+2*len(text) {
				t.Errorf("%d bytes became %d", len(text), len(got))
			}
		}
	})
}

// Document makes at most one allocation: the new document, and none when it stays as it is.
func TestDocumentAllocatesTheResultAlone(t *testing.T) {
	for text, want := range map[string]float64{root + rings + end: 0, root + end: 1, root + rings + talks + end: 1} {
		document, p := []byte(text), Default().For(nil)
		if n := testing.AllocsPerRun(100, func() { p.Document(body.ContentTypeDialogInfo, document, nil) }); n != want {
			t.Errorf("%v allocations, want %v, for\n%s", n, want, text)
		}
	}
	document, p := presence.Presence.AppendDocument(nil, extension, calls, 7), Default().Named("polycom")
	if n := testing.AllocsPerRun(100, func() { p.Document(body.ContentTypePIDF, document, nil) }); n != 1 {
		t.Errorf("%v allocations for xpidf", n)
	}
}

func BenchmarkDocument(b *testing.B) {
	document, p := []byte(root+rings+talks+end), Default().For(nil)
	b.ReportAllocs()
	for b.Loop() {
		p.Document(body.ContentTypeDialogInfo, document, nil)
	}
}

// RFC 4235 §4.1.6: the target of a call that is held says so, unless the profile leaves that out.
func TestHold(t *testing.T) {
	held := strings.Replace(talks, `<target uri="sip:1001@acme.example.com"/></local>`,
		`<target uri="sip:1001@acme.example.com"><param pname="+sip.rendering" pval="no"/></target></local>`, 1)
	v := &presence.View{State: presence.Confirmed, Dialogs: []presence.DialogView{calls.Dialogs[1]}}
	v.Dialogs[0].Held = true
	for fields, want := range map[string]string{"display: true": held, "hold: false": talks, "{dialogs: all, display: false, hold: false}": talks} {
		table, err := Load(write(t, "- {name: one, agents: [one], "+strings.Trim(fields, "{}")+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, got := shown(table.Named("one"), presence.Dialog, v); got != root+want+end {
			t.Errorf("%s shows\n%s", fields, got)
		}
	}
}

// A pickup cookie stands before the Call-ID of its dialog, for the profiles that have them.
func TestPickupCookie(t *testing.T) {
	cookies := []string{"0200000000000000000000000000000001", ""}
	document := presence.Dialog.AppendDocument(nil, extension, calls, 7)
	with := func(dialog string) string {
		return strings.Replace(dialog, ` call-id="k-1"`, ` call-id="kfp+0200000000000000000000000000000001@k-1"`, 1)
	}
	for fields, c := range map[string]struct {
		cookies []string
		want    string
	}{"dialogs: all": {cookies, rings + talks}, "pickup-cookie: true": {cookies, with(rings)}, "{dialogs: all, pickup-cookie: true}": {cookies, with(rings) + talks},
		"{dialogs: all, pickup-cookie: true, display: true}": {nil, rings + talks}, "{pickup-cookie: true, display: false}": {[]string{strings.Repeat("x", 65)}, anonymous.Replace(rings)}} {
		table, err := Load(write(t, "- {name: one, agents: [one], "+strings.Trim(fields, "{}")+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, got := table.Named("one").Document(body.ContentTypeDialogInfo, document, c.cookies); string(got) != root+c.want+end {
			t.Errorf("%s shows\n%s", fields, got)
		}
		if table.PickupCookies() != strings.Contains(fields, "pickup") || Default().PickupCookies() {
			t.Errorf("%s: wants pickup cookies: %v", fields, table.PickupCookies())
		}
	}
}

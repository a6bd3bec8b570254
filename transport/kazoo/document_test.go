package kazoo

import (
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
)

// headers are the fields that every document has, but for Event-Name.
const headers = `"App-Name":"test","App-Version":"1","Event-Category":"presence","Msg-ID":"m1",`

// read reads a document that Read must take.
func read(t *testing.T, doc string, names ...string) *Document {
	t.Helper()
	f, err := Read([]byte(doc), names...)
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return f
}

func TestNumbersComeAsStringsToo(t *testing.T) {
	for _, e := range []string{`1800`, `"1800"`, `1800.0`} {
		f := read(t, `{`+headers+`"Event-Name":"subscription","User":"sip:1001@acme.test","From":"a@acme.test","Expires":`+e+`,"CSeq":null}`, "subscription")
		a, err := f.Subscription()
		if s := a.Event.(presence.Subscribe); err != nil || s.Expires != 1800 || s.HasCSeq {
			t.Errorf("Expires %s: %+v %v", e, s, err)
		}
	}
	for _, e := range []string{`true`, `"x"`, `1.5`, `[]`, `1e400`, `"1800 "`} {
		if _, err := Read([]byte(`{`+headers+`"Event-Name":"subscription","Expires":`+e+`}`), "subscription"); err == nil {
			t.Errorf("Expires %s was taken", e)
		}
	}
}

func TestWhatEveryDocumentCarries(t *testing.T) {
	whole := map[string]string{"App-Name": "x", "App-Version": "1", "Event-Category": "presence", "Event-Name": "update", "Msg-ID": "m"}
	doc := func(without, value string) string {
		d := `{"x":[1]`
		for k, v := range whole {
			if k != without {
				d += `,"` + k + `":"` + v + `"`
			} else if value != "" {
				d += `,"` + k + `":` + value
			}
		}
		return d + `}`
	}
	read(t, doc("", ""), "update")
	for name := range whole {
		kazoo := name == "App-Name" || name == "App-Version" || name == "Msg-ID" // which Lamplight can do without
		for _, value := range []string{"", `""`, `null`, `5`} {
			f, err := Read([]byte(doc(name, value)), "update")
			if taken := err == nil; taken != (kazoo && value != "5") || taken && !f.Anonymous() {
				t.Errorf("a document whose %s is %q: %v", name, value, err)
			}
		}
	}
	if read(t, doc("", ""), "update").Anonymous() {
		t.Error("a whole document counts as anonymous")
	}
	for field, value := range map[string]string{"Contact": "<sip:a@b>\r\nVia: x", "From": "a\u0000@b", "User-Agent": strings.Repeat("x", MaxField+1)} {
		if _, err := Read([]byte(`{`+headers+`"Event-Name":"update","`+field+`":"`+value+`"}`), "update"); err == nil {
			t.Errorf("%s %.30q was taken", field, value)
		}
	}
}

func TestWhichExtension(t *testing.T) {
	for doc, want := range map[string]string{
		`"Presence-ID":"1@a.test","Presentity":"2@a.test","From":"3@a.test"`: "1@a.test",
		`"Presentity":"sip:2@A.test;user=phone","From":"3@a.test"`:           "2@a.test",
		`"From":"<sip:3@a.test:5060;transport=tcp>"`:                         "3@a.test",
		`"From":"SIPS:*3101@a.test"`:                                         "*3101@a.test",
	} {
		f := read(t, `{`+headers+`"Event-Name":"dialog_update","To":"9@a.test","State":"early",`+doc+`}`, "dialog_update")
		f.From = Text(strings.TrimSpace(string(f.From)))
		if f.From == "" {
			f.From = "3@a.test"
		}
		a, err := f.Update("k")
		if err != nil || a.To.String() != want {
			t.Errorf("%s: %v %v", doc, a.To, err)
		}
	}
}

// The parameters of the header Event are no part of the event package's name.
func TestEventPackageWithParameters(t *testing.T) {
	for value, want := range map[string]presence.Package{"dialog;sla": presence.Dialog, "dialog;id=77": presence.Dialog, "Presence ; x": presence.Presence, "message-summary": presence.MessageSummary} {
		p, named, err := read(t, `{`+headers+`"Event-Name":"probe","Event-Package":"`+value+`"}`, "probe").Package()
		if err != nil || !named || p != want {
			t.Errorf("%q: %v %v", value, p, err)
		}
	}
	for _, value := range []string{";sla", "dialogue", "dialog,sla"} {
		if p, _, err := read(t, `{`+headers+`"Event-Name":"probe","Event-Package":"`+value+`"}`, "probe").Package(); err == nil {
			t.Errorf("%q was read as %v", value, p)
		}
	}
}

// A control document names a user, or user@realm in the realm of its Realm.
func TestTargets(t *testing.T) {
	for username, want := range map[string]string{"1001": "1001@acme.test", "%2A3107": "*3107@acme.test", "1001@ACME.test": "1001@acme.test", "sip:1001@acme.test;x": "1001@acme.test", "*": "*@acme.test", "": "@acme.test"} {
		to, err := read(t, `{`+headers+`"Event-Name":"set","Realm":"Acme.test","Username":"`+username+`"}`, "set").Target()
		if err != nil || to.String() != want {
			t.Errorf("%q: %v %v", username, to, err)
		}
	}
	for _, username := range []string{"1001@other.test", "%2A", "tel:1"} {
		if to, err := read(t, `{`+headers+`"Event-Name":"set","Realm":"acme.test","Username":"`+username+`"}`, "set").Target(); err == nil {
			t.Errorf("%q names %v", username, to)
		}
	}
}

func TestRegisterOrCall(t *testing.T) {
	whole, bare, uri := presence.RegisterName("*3101@acme.test"), presence.RegisterName("*3101"), presence.RegisterName("sip:*3101@acme.test")
	for doc, register := range map[string]bool{
		`"Event-Name":"update","State":"confirmed"`:                              true,
		`"Event-Name":"update","State":"confirmed","Call-ID":"` + whole + `"`:    true,
		`"Event-Name":"update","State":"confirmed","Call-ID":"` + bare + `"`:     true, // Kazoo's queues and agents
		`"Event-Name":"update","State":"confirmed","Call-ID":"` + uri + `"`:      true,
		`"Event-Name":"update","State":"confirmed","Call-ID":"other"`:            false,
		`"Event-Name":"update","State":"offline","Call-ID":"other"`:              true,
		`"Event-Name":"dialog_update","State":"early","Call-ID":"other"`:         false,
		`"Event-Name":"dialog_update","State":"early"`:                           false,
		`"Event-Name":"dialog_update","State":"early","Call-ID":"` + bare + `"`:  true,
		`"Event-Name":"dialog_update","State":"early","Call-ID":"` + whole + `"`: true,
	} {
		for _, id := range []string{"*3101@acme.test", "sip:*3101@acme.test", "%2A3101@ACME.test"} {
			f := read(t, `{"Event-Category":"presence","Presence-ID":"`+id+`","From":"sip:*3101@acme.test","To":"sip:*3101@acme.test",`+doc+`}`, "update", "dialog_update")
			a, err := f.Update("k")
			_, is := a.Event.(presence.RegisterEvent)
			if err != nil || is != register || a.To.String() != "*3101@acme.test" {
				t.Errorf("%s %s: %T %v", id, doc, a.Event, err)
			}
		}
	}
}

// What Kazoo's application park sends (cf_park): the slot under the Call-ID of the call that is parked.
func TestParkedCall(t *testing.T) {
	f := read(t, `{"App-Name":"park","App-Version":"4.0.0","Event-Category":"presence","Event-Name":"dialog_update","Msg-ID":"m","Presence-ID":"*3101@acme.test",
		"From":"sip:*3101@acme.test","From-Tag":"A","To":"sip:2125550100@acme.test","To-User":"Ada","To-Tag":"B","To-URI":"sip:*3101@acme.test","State":"early","Direction":"recipient",
		"Call-ID":"k-1@10.0.0.5","Switch-URI":"sip:10.0.0.2:11000","Expires":3600}`, "dialog_update")
	a, err := f.Update("k-1@10.0.0.5")
	want := presence.RegisterEvent{Name: presence.RegisterName("*3101@acme.test"), State: presence.Early, Expires: 3600, From: "*3101@acme.test", To: "2125550100@acme.test", Source: "dialog_update",
		Call: presence.HeldCall{CallID: "k-1@10.0.0.5", Direction: presence.Recipient, FromTag: "A", ToTag: "B", ToName: "Ada", ToURI: "sip:*3101@acme.test", SwitchURI: "sip:10.0.0.2:11000"}}
	if err != nil || a.Event != want {
		t.Errorf("%+v %v", a.Event, err)
	}
}

// The sides of a call: names, and the targets that phones call (docs/contract/nats.md, "Calls").
func TestParties(t *testing.T) {
	for doc, want := range map[string][4]string{ // From, its name, To, its name
		`"From":"sip:1001@acme.test","To":"sip:2125550100@acme.test"`:                                           {"1001@acme.test", "", "2125550100@acme.test", ""},
		`"From":"sip:1001@acme.test","From-User":"Bob","To":"sip:+2125550100@acme.test","To-User":"Ada"`:        {"1001@acme.test", "Bob", "+2125550100@acme.test", "Ada"},
		`"From":"sip:1001@acme.test","From-User":"1001","To":"sip:ada@acme.test","To-User":"Other"`:             {"1001@acme.test", "", "ada@acme.test", ""},
		`"From":"sip:1001@acme.test","To":"\"Ada L\" <sip:Ada:pw@[::1]:5060;user=phone>;tag=1","To-User":"2"`:   {"1001@acme.test", "", "Ada@[::1]", "Ada L"},
		`"From":"sip:1001@acme.test","To":"tel:+2125550100","To-User":"2125550100","To-Realm":"acme.test"`:      {"1001@acme.test", "", "2125550100@acme.test", ""},
		`"From":"sip:1001@acme.test","To":"tel:+2125550100"`:                                                    {"1001@acme.test", "", "tel:+2125550100", ""},
		`"Presence-ID":"1001@acme.test","From":"unknown","To":"anonymous","To-Realm":"acme.test","To-User":"x"`: {"unknown", "", "x@acme.test", ""},
	} {
		a, err := read(t, `{`+headers+`"Event-Name":"dialog_update","State":"early",`+doc+`}`, "dialog_update").Update("k")
		c, _ := a.Event.(presence.CallEvent)
		if got := [4]string{c.From, c.FromName, c.To, c.ToName}; err != nil || got != want || !c.Undirected {
			t.Errorf("%s: %q %v", doc, got, err)
		}
	}
	a, err := read(t, `{`+headers+`"Event-Name":"dialog_update","From":"1@acme.test","To":"2@acme.test","To-URI":" <sip:1@10.0.0.2:5060;x=y>","From-URI":"sip:1@acme.test","Call-Direction":"outbound"}`, "dialog_update").Update("k")
	if c, _ := a.Event.(presence.CallEvent); err != nil || c.ToURI != "sip:1@10.0.0.2:5060;x=y" || c.FromURI != "sip:1@acme.test" || c.Undirected || c.Direction != presence.Recipient {
		t.Errorf("%+v %v", c, err)
	}
}

func TestTimestamps(t *testing.T) {
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, n := range []int64{at.Unix(), at.Unix() + Gregorian, at.UnixMicro()} {
		if got, err := timestamp("Timestamp", Number{n, true}); err != nil || !got.Equal(at) {
			t.Errorf("%d: %v %v", n, got, err)
		}
	}
}

func TestMailboxLamps(t *testing.T) {
	f := read(t, `{`+headers+`"Event-Name":"mwi_update","To":"1001@acme.test","Messages-New":"1","Messages-Saved":0,"Extended-Presence-ID":"vm"}`, "mwi_update")
	update, all, err := f.Mailbox()
	if err != nil || len(all) != 3 || all[1].To != (actors.Address{Realm: "acme.test", User: "*981001"}) || all[2].To.User != "vm" || update.Lamps([]string{"old", "vm"})[2].To != (actors.Address{Realm: "acme.test", User: "old"}) {
		t.Errorf("%+v %v", all, err)
	}
}

// Whatever document comes in, the events that it means are for extensions whose names are within their bounds.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{` + headers + `"Event-Name":"subscription","User":"1001@acme.test","Expires":"60","From":"x@y","Call-ID":"c"}`))
	f.Add([]byte(`{` + headers + `"Event-Name":"update","Presence-ID":"sip:a@b","State":"early","Timestamp":63606201099}`))
	f.Add([]byte(`{` + headers + `"Event-Name":"mwi_update","To":"a@b","Messages-New":1,"Messages-Saved":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(data, "subscription", "dialog_update", "update", "mwi_update", "notify")
		if d == nil {
			t.Fatal("no document")
		}
		if err != nil {
			return
		}
		_, all, _ := d.Mailbox()
		if a, err := d.Subscription(); err == nil {
			all = append(all, a)
		}
		if a, err := d.Update("k"); err == nil {
			all = append(all, a)
		}
		for _, a := range all {
			if a.To.User == "" || a.To.Realm == "" || a.To.User == "*" || len(a.To.User) > subject.MaxName || len(a.To.Realm) > subject.MaxName {
				t.Errorf("%q became %q", data, a.To)
			}
		}
	})
}

// What an edge writes of a SUBSCRIBE is what a node reads.
func TestSubscriptionRoundTrip(t *testing.T) {
	to := actors.Address{Realm: "acme.test", User: `front%20desk`}
	for _, want := range []presence.Subscribe{
		{CallID: "c", Expires: 0},
		{Package: presence.MessageSummary, CallID: `c"1@10.0.0.9`, From: "1002@acme.test", FromTag: "f", ToTag: "t", Contact: `"Ada" <sip:1002@10.0.0.9:5060;line=1>;expires=60`,
			ProxyRoute: "<sip:udp.0.192.0.2.9:5062@lamplight;profile=default;lr>,<sip:10.0.0.1;lr>", UserAgent: "Yealink SIP-T46S", SubscriptionID: "s", ServerID: "edge1", Queue: "q",
			CSeq: 1<<32 - 1, HasCSeq: true, Expires: 3600, MaxRate: 290, MinRate: 1, InDialog: true},
		{CallID: "c", MaxRate: 999_999, MinRate: 1_000_000, Expires: 60},
	} {
		f := read(t, string(AppendSubscription(nil, "0", to, &want)), "subscription")
		a, err := f.Subscription()
		if err != nil || a.To != to || a.Event != want || f.Anonymous() {
			t.Errorf("%v\n got %+v\nwant %+v", err, a.Event, want)
		}
	}
}

// Rendering says whether a call is held (RFC 4235 §4.1.6).
func TestRendering(t *testing.T) {
	const doc = `{"Event-Category":"presence","From":"1001@acme.test","To":"1002@acme.test","State":"confirmed",`
	for value, want := range map[string]presence.Rendering{`"Rendering":"no",`: presence.NotRendered, `"Rendering":"YES",`: presence.Rendered, `"Rendering":null,`: "", "": ""} {
		a, err := read(t, doc+value+`"Event-Name":"dialog_update","Call-ID":"k"}`, "dialog_update").Update("k")
		if c, _ := a.Event.(presence.CallEvent); err != nil || c.Rendering != want {
			t.Errorf("%s: %+v, %v", value, c, err)
		}
		a, err = read(t, doc+value+`"Event-Name":"update","Presence-ID":"1001@acme.test"}`, "update").Update("k")
		if r, _ := a.Event.(presence.RegisterEvent); err != nil || r.Call.Rendering != want {
			t.Errorf("%s: %+v, %v", value, r, err)
		}
	}
	const right = `Rendering is "held"; it must be yes or no`
	if _, err := read(t, doc+`"Event-Name":"dialog_update","Rendering":"held"}`, "dialog_update").Update("k"); err == nil || err.Error() != right {
		t.Errorf("held: %v", err)
	}
}

package body

import "testing"

const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func TestDialogInfo(t *testing.T) { // RFC 4235 §4
	full := `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="full" entity="sip:1001@acme.example.com">` + "\n"
	early := Dialog{ID: "c1", CallID: "c1", LocalTag: "a", RemoteTag: "b", Direction: "recipient", State: "early",
		Local: "1001@acme.example.com", Remote: "1002@acme.example.com"}
	confirmed := Dialog{ID: "m", CallID: "m", Direction: "initiator", State: "confirmed"}
	earlyText := `<dialog id="c1" call-id="c1" local-tag="a" remote-tag="b" direction="recipient">` + "\n<state>early</state>\n" +
		`<local><identity>sip:1001@acme.example.com</identity><target uri="sip:1001@acme.example.com"/></local>` + "\n" +
		`<remote><identity>sip:1002@acme.example.com</identity><target uri="sip:1002@acme.example.com"/></remote>` + "\n</dialog>\n"
	confirmedText := `<dialog id="m" call-id="m" direction="initiator">` + "\n<state>confirmed</state>\n" +
		`<local><identity>sip:1001@acme.example.com</identity><target uri="sip:1001@acme.example.com"/></local>` + "\n</dialog>\n"
	for _, c := range []struct {
		name string
		in   DialogInfo
		want string
	}{
		{"none", DialogInfo{}, ""},
		{"all", DialogInfo{Dialogs: []Dialog{confirmed, early}}, confirmedText + earlyText},
		{"strange state", DialogInfo{Dialogs: []Dialog{{ID: "x", State: " early\n", Local: "sip:a@b"}}},
			`<dialog id="x">` + "\n<state>terminated</state>\n" +
				`<local><identity>sip:a@b</identity><target uri="sip:a@b"/></local>` + "\n</dialog>\n"},
	} {
		c.in.Entity, c.in.Version = "1001@acme.example.com", 7
		if got := string(AppendDialogInfo(nil, c.in)); got != head+full+c.want+"</dialog-info>\n" {
			t.Errorf("%s:\n%s", c.name, got)
		}
	}
}

func TestPIDF(t *testing.T) { // RFC 3863 §4, RFC 4480 §3.2
	open := head + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:*3101@acme.example.com">` + "\n" +
		`<tuple id="t1"><status><basic>open</basic></status><contact>sip:*3101@acme.example.com</contact></tuple>` + "\n"
	const phone = `<dm:person id="p1"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>` + "\n"
	in := PIDF{Entity: "*3101@acme.example.com", State: "early"}
	if got := string(AppendPIDF(nil, in)); got != open+"</presence>\n" {
		t.Errorf("early:\n%s", got)
	}
	in.State = "confirmed"
	if got := string(AppendPIDF(nil, in)); got != open+phone+"</presence>\n" {
		t.Errorf("confirmed:\n%s", got)
	}
	in.Closed = true
	if got := parsePIDF(t, AppendPIDF(nil, in)); got != "closed" {
		t.Errorf("closed: %s", got)
	}
}

func TestMessageSummary(t *testing.T) { // RFC 3842 §5.2
	for _, c := range []struct {
		in   MessageSummary
		want string
	}{
		{MessageSummary{}, "Messages-Waiting: no\r\nVoice-Message: 0/0 (0/0)\r\n"},
		{MessageSummary{Account: "1001@acme.example.com", New: 2, Saved: 8, UrgentSaved: 2},
			"Messages-Waiting: yes\r\nMessage-Account: sip:1001@acme.example.com\r\nVoice-Message: 2/8 (0/2)\r\n"},
		{MessageSummary{Account: "a&b'c\r\nX: y@r", UrgentNew: 1},
			"Messages-Waiting: yes\r\nMessage-Account: sip:a&b'c%0D%0AX:%20y@r\r\nVoice-Message: 0/0 (1/0)\r\n"},
	} {
		if got := string(AppendMessageSummary(nil, c.in)); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

package body

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

type dialogXML struct {
	ID        string `xml:"id,attr"`
	CallID    string `xml:"call-id,attr"`
	LocalTag  string `xml:"local-tag,attr"`
	RemoteTag string `xml:"remote-tag,attr"`
	State     string `xml:"state"`
	Local     string `xml:"local>identity"`
	Remote    string `xml:"remote>identity"`
}

type dialogInfoXML struct {
	XMLName xml.Name    `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version uint32      `xml:"version,attr"`
	State   string      `xml:"state,attr"`
	Entity  string      `xml:"entity,attr"`
	Dialogs []dialogXML `xml:"dialog"`
}

type failer interface{ Fatalf(string, ...any) }

func parsePIDF(t failer, doc []byte) string {
	var p struct {
		XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf presence"`
		Basic   string   `xml:"tuple>status>basic"`
	}
	if err := xml.Unmarshal(doc, &p); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return p.Basic
}

// checkDocuments renders everything with these texts in it, and reads it back.
func checkDocuments(t failer, entity, id, tag, state, remote string, version uint32) {
	in := DialogInfo{Entity: entity, Version: version, Dialogs: []Dialog{
		{ID: id, CallID: id, LocalTag: tag, RemoteTag: tag, Direction: tag, State: state, Remote: remote},
		{ID: "second", State: "early", Local: remote},
	}}
	doc := AppendDialogInfo(nil, in)
	var got dialogInfoXML
	if err := xml.Unmarshal(doc, &got); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	if len(got.Dialogs) != 2 || got.Version != version || got.State != "full" {
		t.Fatalf("read back %+v from\n%s", got, doc)
	}
	if utf8.ValidString(id) && len(id) <= MaxText && !strings.ContainsFunc(id, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	}) && got.Dialogs[0].CallID != id {
		t.Fatalf("call-id %q became %q", id, got.Dialogs[0].CallID)
	}
	for _, d := range got.Dialogs {
		if d.State == "" || strings.ContainsAny(d.State, " \t\r\n") {
			t.Fatalf("state %q", d.State)
		}
	}
	if len(doc) > 64<<10 {
		t.Fatalf("%d bytes", len(doc))
	}
	parsePIDF(t, AppendPIDF(nil, PIDF{Entity: entity, State: state}))
	sum := AppendMessageSummary(nil, MessageSummary{Account: entity, New: version})
	lines := bytes.Split(bytes.TrimSuffix(sum, []byte("\r\n")), []byte("\r\n"))
	if len(lines) > 3 || bytes.Count(sum, []byte("\n")) != len(lines) || bytes.Count(sum, []byte("\r")) != len(lines) {
		t.Fatalf("summary %q", sum)
	}
}

func TestWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			if rapid.Bool().Draw(t, name+" bytes") {
				return string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, name))
			}
			return rapid.String().Draw(t, name)
		}
		checkDocuments(t, text("entity"), text("id"), text("tag"), text("state"), text("remote"), rapid.Uint32().Draw(t, "version"))
	})
}

func TestBounded(t *testing.T) {
	long := strings.Repeat("<é", 40_000)
	checkDocuments(t, long, long, long, long, long, 1)
}

func FuzzDocuments(f *testing.F) {
	f.Add("1001@acme.example.com", "call-1@10.0.0.9", "tag", "early", "sip:1002@acme.example.com", uint32(1))
	f.Add("*3101@a", "]]>", "&#0;\x00", "confirmed", "<\"'>\xff\ufffe", uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, entity, id, tag, state, remote string, version uint32) {
		checkDocuments(t, entity, id, tag, state, remote, version)
	})
}

func BenchmarkAppendDialogInfo(b *testing.B) {
	in := DialogInfo{Entity: "1001@acme.example.com", Version: 7, Dialogs: []Dialog{{ID: "call-1@10.0.0.9", CallID: "call-1@10.0.0.9",
		LocalTag: "abc", RemoteTag: "def", Direction: "initiator", State: "early", Local: "1001@acme.example.com", Remote: "1002@acme.example.com"}}}
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendDialogInfo(dst[:0], in)
	}
}

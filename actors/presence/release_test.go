package presence

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// testdata/schema-<n>-<release>.txt hold records of all kinds as a release wrote them, for ever: kind, key and bytes. A release
// that raises Schema adds its own file: go test ./actors/presence -run TestReleases -update. No file is written over.
var update = flag.Bool("update", false, "write the present schema's records, if they are not kept yet")

// releases plays what brings forth a record of each kind, with all of its fields, and one that has ended where there is such.
func releases(t *testing.T, rules *Rules) *stage {
	s := newStage(t)
	if rules != nil {
		s.rules, s.e = rules, New("acme.example.com", "1001", rules)
	}
	sub := Subscribe{Package: Dialog, CallID: "77-Ab@10.0.0.9", From: "1002@acme.example.com", FromTag: "ft", ToTag: "tt", Contact: "<sip:1002@10.0.0.9:5060>",
		ProxyRoute: "sip:10.0.0.1", UserAgent: "Yealink SIP-T46S 66.86", SubscriptionID: "s1", ServerID: "edge1", Queue: "q", CSeq: 4, HasCSeq: true, Expires: 1800,
		MaxRate: 1000, MinRate: 60}
	s.do(sub)
	s.do(Subscribe{Package: Presence, CallID: "bare", Expires: 60})
	gone := Subscribe{Package: MessageSummary, CallID: "gone", From: "1003@acme.example.com", CSeq: 1, HasCSeq: true, Expires: 60}
	s.do(gone)
	gone.CSeq, gone.Expires = 2, 0
	s.do(gone)
	for p := MessageSummary + 1; p <= LastPackage; p++ {
		if packages[p].schema <= s.rules.writes() {
			s.do(watch(p, "of-"+p.String()))
		}
	}
	call := CallEvent{CallID: "k1", Direction: Recipient, State: Early, Timestamp: begin.Add(-time.Second), Expires: 600, From: "1001@acme.example.com", To: "1002@acme.example.com",
		FromTag: "1", ToTag: "2", TargetCallID: "k0", SwitchURI: "sip:10.0.0.2:5060", Source: "dialog_update"}
	s.do(call)
	call.Timestamp, call.State, call.ToTag, call.SwitchURI = begin, Confirmed, "3", ""
	s.do(call)
	s.do(CallEvent{ID: "p1", State: Trying, From: "1001@acme.example.com"})
	s.do(ring("over", Confirmed)).do(ring("over", Terminated))
	s.do(RegisterEvent{Name: "night", State: Confirmed, Timestamp: begin, Expires: 3600, From: "1001@acme.example.com", To: "night@acme.example.com", Source: "update"})
	s.do(RegisterEvent{Name: "day", State: Early}).do(RegisterEvent{Name: "day", State: Terminated})
	s.do(RegisterEvent{Name: "open", State: Online})
	s.do(SetManual{Early})
	s.do(MailboxEvent{Source: "1001@acme.example.com", New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "sip:1001@acme.example.com"})
	s.do(MailboxEvent{Source: "1004@acme.example.com", Lamp: true, New: 1})
	s.do(MailboxEvent{Source: "1005@acme.example.com", Lamp: true, New: 1}).do(MailboxEvent{Source: "1005@acme.example.com", Lamp: true})
	if s.rules.writes() >= publicationSchema {
		s.do(published("t1", 600, dialog("d1", Early), dialog("1001", Confirmed)))
		again := published("t2", 60)
		again.IfMatch, again.HasBody = "t1", false
		s.do(again)
	}
	return s
}

// lines are the records as the files hold them, in order.
func (s *stage) lines() string {
	var lines []string
	for _, all := range s.journal {
		k := all[len(all)-1]
		lines = append(lines, fmt.Sprintf("%c %q %x\n", byte(k.Kind), k.Key, k.Data))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (s *stage) newest(key string) kept { return s.journal[key][len(s.journal[key])-1] }

// all encodes all that an extension holds.
func (e *Extension) all() (records [][]byte) {
	for _, w := range e.watchers {
		records = append(records, e.encodeSubscription(w))
	}
	for _, c := range e.more.calls {
		records = append(records, e.encodeCall(c))
	}
	for _, r := range e.more.registers {
		records = append(records, e.encodeRegister(r))
	}
	for _, m := range e.more.mailboxes {
		records = append(records, e.encodeMailbox(m))
	}
	for _, p := range e.more.published {
		records = append(records, e.encodePublication(p))
	}
	for i := range e.more.ended {
		records = append(records, e.encodeEnded(&e.more.ended[i]))
	}
	return append(records, e.encodeManual(&e.more.manual))
}

// What every release wrote reads today as what it meant, and is written again to the byte, without the fields that count for nothing now.
func TestReleases(t *testing.T) {
	now := releases(t, nil)
	files, err := filepath.Glob("testdata/schema-*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if own := fmt.Sprintf("testdata/schema-%d-", Schema); *update && !slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, own) }) {
		if err := os.WriteFile(own+"first.txt", []byte(now.lines()), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, own+"first.txt")
	}
	kept, dropped := map[int]bool{}, 0
	for _, file := range files {
		schema := 0
		if _, err := fmt.Sscanf(filepath.Base(file), "schema-%d-", &schema); err != nil {
			t.Fatalf("%s: %v; the name must be schema-<n>-<release>.txt", file, err)
		}
		kept[schema] = true
		rules := testRules()
		rules.Writes = func() int { return schema }
		want := dump(releases(t, rules).reload().e)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, left, ended := New("acme.example.com", "1001", rules), map[string]string{}, 0
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var kind byte
			var key, data string
			if _, err := fmt.Sscanf(line, "%c %q %s", &kind, &key, &data); err != nil {
				t.Fatal(err)
			}
			b, err := hex.DecodeString(data)
			if err == nil {
				err = e.Load(Kind(kind), b)
			}
			if err != nil {
				t.Fatalf("%s: %c %q: %v", file, kind, key, err)
			}
			written := without(b, map[Kind]uint64{KindSubscription: subscriptionRetired, KindCall: callRetired, KindPublication: pubRetired}[Kind(kind)])
			dropped += len(b) - len(written)
			left[hex.EncodeToString(written)] = fmt.Sprintf("%c %q", kind, key)
		}
		e.Loaded(begin)
		if got := dump(e); got != want {
			t.Errorf("%s reads as\n%s\nnot as\n%s", file, got, want)
		}
		for _, b := range e.all() {
			if left[hex.EncodeToString(b)] == "" {
				t.Errorf("%s: this is written again otherwise: %q", file, b)
			}
			delete(left, hex.EncodeToString(b))
		}
		for _, name := range left { // what only says that something is no more leaves nothing to write again
			ended++
			t.Logf("%s: %s says that it is no more", file, name)
		}
		if ended != 1 {
			t.Errorf("%s: %d records are not written again", file, ended)
		}
	}
	if dropped == 0 {
		t.Error("no record has a field that counts for nothing now")
	}
	for schema := 1; schema <= Schema; schema++ {
		if !kept[schema] {
			t.Errorf("no records of schema %d are kept; make them with -update", schema)
		}
	}
}

// What is new waits until all members read it: records carry the common schema, and one of a newer release keeps its own.
func TestSchemaIsWhatAllRead(t *testing.T) {
	common := 1
	rules := testRules()
	rules.Writes = func() int { return common }
	s := releases(t, rules)
	for _, all := range s.journal {
		k := all[len(all)-1]
		if !bytes.HasPrefix(k.Data, []byte{recSchema << 3, 1}) {
			t.Errorf("with a member that reads schema 1: %c %q %x", byte(k.Kind), k.Key, k.Data)
		}
	}
	common = 2
	s.do(watch(Dialog, "new")).do(ring("k1", Terminated)).do(SetManual{Confirmed})
	for _, key := range []string{string(KindSubscription) + "0new", string(KindManual) + manualKey} {
		if k := s.newest(key); !bytes.HasPrefix(k.Data, []byte{recSchema << 3, 2}) {
			t.Errorf("when all read schema 2: %q %x", key, k.Data)
		}
	}
	common = 1
	s.reload().do(SetManual{Early})
	if k := s.newest(string(KindManual) + manualKey); !bytes.HasPrefix(k.Data, []byte{recSchema << 3, 2}) {
		t.Errorf("a record of schema 2 has lost its number: %x", k.Data)
	}
}

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

var at = time.UnixMicro(1_790_000_000_123_456)

func subscribe() presence.Subscribe {
	return presence.Subscribe{Package: presence.Dialog, CallID: "77-1@10.0.0.9", From: "1002@acme.example.com", FromTag: "a1b2c3", ToTag: "d4e5f6",
		Contact: "<sip:77@10.0.0.9:5060;line=1>", ProxyRoute: "sip:10.0.0.1", UserAgent: "Yealink SIP-T46S 66.86", SubscriptionID: "s1", ServerID: "edge1",
		Queue: "q", CSeq: 4, HasCSeq: true, Expires: 1800, MaxRate: 1000, MinRate: 1}
}

func show(watchers int) actors.Answer {
	body := `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="42" state="full" entity="sip:1001@acme.example.com">` + strings.Repeat("<dialog/>", 30) + `</dialog-info>`
	a := actors.Answer{View: &presence.View{State: presence.Early, Dialogs: []presence.DialogView{{ID: "k1", CallID: "k1", State: presence.Early, Direction: presence.Recipient,
		Source: "call", Since: at, Expires: at.Add(time.Hour), From: "1001@acme.example.com", To: "1003@acme.example.com"}}}}
	for i := range watchers {
		a.Subscriptions = append(a.Subscriptions, actors.SubscriptionView{User: "1001", CallID: fmt.Sprintf("77-%d@10.0.0.9", i), From: "1002@acme.example.com", Stalker: "edge1",
			Granted: 1820, Renewed: at, Version: 1, Body: body, Reply: 200, Sequence: 42, UserAgent: "Yealink SIP-T46S 66.86", Contact: "<sip:77@10.0.0.9:5060;line=1>"})
	}
	return a
}

func shardsOf(shards ...int) (s actors.ShardSet) {
	for _, shard := range shards {
		s.Add(shard)
	}
	return s
}

func messages() []actors.Message {
	return []actors.Message{
		actors.Show{}, actors.Show{Explain: true}, subscribe(), presence.Subscribe{},
		presence.CallEvent{CallID: "k", ID: "p", Direction: presence.Recipient, State: presence.Confirmed, Timestamp: at, Expires: 60, From: "a@b", To: "c@d", FromTag: "1",
			ToTag: "2", TargetCallID: "t", SwitchURI: "sip:sw", Source: "dialog_update"},
		presence.CallEvent{Timestamp: time.Unix(0, 0)}, presence.CallEvent{Timestamp: time.Unix(-5, 0)},
		presence.RegisterEvent{Name: "n", State: presence.Offline, Timestamp: at, Expires: -7, From: "a", To: "b", Source: "update"},
		presence.MailboxEvent{Source: "m@b", Lamp: true, New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "sip:m"},
		presence.Notified{Package: presence.MessageSummary, HasPackage: true, CallID: "c", Sequence: 1 << 31, Reply: 200},
		presence.SetManual{State: presence.Early}, presence.Reset{}, presence.Reset{Then: presence.Confirmed}, presence.End{Reason: "noresource"},
	}
}

// asked returns a call of each kind.
func asked() (calls []Call) {
	for _, m := range messages() {
		calls = append(calls, Call{Request: actors.Request{Message: m}})
	}
	return append(calls,
		Call{Window: &Window{Query: actors.Query{Realm: "acme.test", Package: presence.Presence, HasPackage: true, From: "1", Limit: 500, Bodies: true}, Until: "2", Only: shardsOf(0, 63, 64, 1023)}},
		Call{Command: &WideCommand{Realm: "acme.test", Only: actors.AllShards(), Reset: true}}, Call{Command: &WideCommand{Realm: "acme.test", Reason: "noresource"}})
}

// batch returns a message with a call of each kind, decoded and encoded.
func batch() (b Batch, data []byte) {
	b, data = Batch{From: "node-a", Now: 1 << 39, Start: 9}, AppendHead(nil, presence.Schema, "node-a")
	for i, call := range asked() {
		call.ID, call.Deadline = uint64(i), 1<<40+uint64(i)
		call.Request.To, call.Request.Wait = actors.Address{Realm: "acme.test", User: fmt.Sprint(i)}, time.Duration(i)*time.Second
		data = AppendCall(data, call)
		b.Calls = append(b.Calls, call)
	}
	return b, AppendNow(data, b.Now, b.Start)
}

func TestBatch(t *testing.T) {
	want, data := batch()
	if got, err := ReadBatch(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got.Calls, want.Calls)
	}
}

// The fields that came after the first release. The files of testdata hold messages without them.
func TestLaterFields(t *testing.T) {
	for _, m := range []actors.Message{
		presence.CallEvent{CallID: "k", Undirected: true, FromName: "a", ToName: "b", FromURI: "c", ToURI: "d", Rendering: presence.NotRendered},
		presence.RegisterEvent{Name: "n", State: presence.Early, Call: presence.HeldCall{CallID: "k", Direction: presence.Recipient, FromTag: "1", ToTag: "2", FromName: "a", ToName: "b",
			FromURI: "c", ToURI: "d", TargetCallID: "t", SwitchURI: "s", Rendering: presence.Rendered}},
		presence.MailboxEvent{Source: "m", Extended: "7001", Timestamp: time.UnixMicro(1_700_000_000_000_001)},
		presence.Notified{CallID: "c", Reply: 481, Edge: "e"},
		presence.Notified{CallID: "c", Reply: 503, Edge: "e", RetryAfter: 120},
		presence.Subscribe{CallID: "c", InDialog: true},
		presence.Publish{Publisher: "10.0.0.1", Tag: "t", Expires: 600, HasBody: true, Partial: true, Dialogs: []presence.CallEvent{{ID: "d", State: presence.Early}, {CallID: "k"}}},
		presence.Publish{Package: presence.Presence, Publisher: "p", IfMatch: "t1", Tag: "t2", HasBody: true, Basic: presence.Offline},
		presence.Publish{Package: presence.MessageSummary, Publisher: "p", Tag: "t", HasBody: true, Messages: &presence.Messages{New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "a"}},
	} {
		data := AppendNow(AppendCall(AppendHead(nil, presence.Schema, "a"), Call{ID: 1, Request: actors.Request{Message: m}}), 1, 1)
		if got, err := ReadBatch(data); err != nil || len(got.Calls) != 1 || !reflect.DeepEqual(got.Calls[0].Request.Message, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
	who := presence.Origin{By: "user 1 of account 2", From: "10.0.0.1", Request: "r-1"}
	for _, call := range []Call{{ID: 1, Command: &WideCommand{Realm: "acme.test", Only: shardsOf(1), Reset: true, Origin: who}},
		{ID: 2, Request: actors.Request{To: actors.Address{Realm: "acme.test", User: "1001"}, Message: presence.Reset{}, Origin: who, Trace: "0123456789abcdef01234567"}}} {
		data := AppendNow(AppendCall(AppendHead(nil, presence.Schema, "a"), call), 1, 1)
		if got, err := ReadBatch(data); err != nil || len(got.Calls) != 1 || !reflect.DeepEqual(got.Calls[0].Request, call.Request) || !reflect.DeepEqual(got.Calls[0].Command, call.Command) {
			t.Errorf("%+v became %+v, %v", call, got, err)
		}
	}
	d := presence.DialogView{ID: "k", FromName: "a", ToName: "b", FromURI: "c", ToURI: "d", Held: true}
	want := actors.Answer{View: &presence.View{Dialogs: []presence.DialogView{d}}, Former: []string{"7001", "%207002"}, Ignored: presence.IgnoredOvertaken,
		Explanation: &actors.Explanation{
			Transitions: []presence.Transition{{State: presence.Early, At: at, Source: "call", CallID: "k", Switch: "s", Origin: presence.Origin{By: "b", From: "f", Request: "r"}}},
			Watchers:    []actors.WatcherState{{CallID: "c", Latency: 7 * time.Millisecond}},
			Ended:       []presence.EndedWatcher{{Package: presence.Presence, CallID: "c", From: "f", At: at, Reply: 481}},
			Findings:    []presence.Finding{{Kind: "k", Text: "t"}}}}
	if got, err := ReadAnswer(string(AppendAnswer(nil, &want))); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
}

// full returns an answer in which every field is set somewhere.
func full(watchers int) actors.Answer {
	full := show(watchers)
	full.Stale, full.Notified, full.Acked, full.Failed = true, 3, 2, 1
	full.View.Closed, full.View.HasMessages, full.View.Messages = true, true, presence.Messages{New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "sip:m"}
	full.Subscriptions[1].Body = ""
	full.Subscriptions[2].Body = "another"
	full.Subscriptions[3].SubscriptionID, full.Subscriptions[3].ProxyRoute, full.Subscriptions[3].Package = "s", "r", presence.MessageSummary
	full.Explanation = &actors.Explanation{Node: "b", Shard: 1023, Generation: 7, Transitions: []presence.Transition{{State: presence.Early, At: at, Source: "call"}},
		Watchers: []actors.WatcherState{{CallID: "c", Package: presence.Presence, From: "f", Edge: "e", Sequence: 9, Acked: 8, Reply: 200, Behind: true}}}
	return full
}

func window(watchers int) actors.Window {
	w := actors.Window{Rows: full(watchers).Subscriptions, Next: "n", Stale: true, Sequence: 1 << 60}
	w.Covers[0], w.Covers[1023] = 1, 1<<50
	return w
}

func commanded() actors.Commanded {
	return actors.Commanded{Done: shardsOf(1, 2), Unknown: shardsOf(1022)}
}

func TestAnswers(t *testing.T) {
	for _, want := range []actors.Answer{{}, show(0), show(1), full(300), {Subscriptions: []actors.SubscriptionView{{User: "1", Behind: true}}}, {Err: actors.ErrBusy}} {
		got, err := ReadAnswer(string(AppendAnswer(nil, &want)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
		}
	}
	w, s := window(300), commanded()
	if got, err := ReadWindow(string(AppendWindow(nil, &w))); err != nil || !reflect.DeepEqual(got, w) {
		t.Errorf("%v %+v", err, got)
	}
	if got, err := ReadCommanded(string(AppendCommanded(nil, &s))); err != nil || got != s {
		t.Errorf("%v %+v", err, got)
	}
}

func TestWatchersShareTheirBody(t *testing.T) {
	one, many := show(1), show(1000)
	first, all := len(AppendAnswer(nil, &one)), len(AppendAnswer(nil, &many))
	if all > 1000*(first-len(one.Subscriptions[0].Body)) {
		t.Errorf("%d bytes for one watcher, %d for 1000", first, all)
	}
}

func TestErrors(t *testing.T) {
	for _, want := range failures {
		for _, err := range []error{want, fmt.Errorf("%w: of 4 things", want)} {
			a, rerr := ReadAnswer(string(AppendAnswer(nil, &actors.Answer{Err: err})))
			if rerr != nil || !errors.Is(a.Err, want) || a.Err.Error() != err.Error() {
				t.Errorf("%v became %v", err, a.Err)
			}
		}
	}
	if a, err := ReadAnswer(string(AppendAnswer(nil, &actors.Answer{Err: errors.New("a fault")}))); err != nil || !errors.Is(a.Err, actors.ErrUnknown) || a.Err.Error() != "a fault" {
		t.Errorf("%v, %v", a.Err, err)
	}
	if a, err := ReadAnswer("\x08\xff\x01"); err != nil || !errors.Is(a.Err, actors.ErrUnknown) {
		t.Errorf("an error of a newer release: %v, %v", a.Err, err)
	}
}

// A node of a newer release has subscriptions to event packages that this one does not know. They are left out of its
// answers, and all else is read.
func TestRowsOfUnknownPackages(t *testing.T) {
	a, w := full(5), window(5)
	sent, rows := a, w
	sent.Subscriptions, rows.Rows = slices.Clone(a.Subscriptions), slices.Clone(w.Rows)
	sent.Subscriptions[1].Package, rows.Rows[4].Package = presence.LastPackage+1, presence.LastPackage+1
	explanation := *a.Explanation
	explanation.Watchers = append(slices.Clone(explanation.Watchers), actors.WatcherState{CallID: "n", Package: presence.LastPackage + 1})
	sent.Explanation = &explanation
	a.Subscriptions, w.Rows = slices.Delete(a.Subscriptions, 1, 2), w.Rows[:4]
	if got, err := ReadAnswer(string(AppendAnswer(nil, &sent))); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, a)
	}
	if got, err := ReadWindow(string(AppendWindow(nil, &rows))); err != nil || !reflect.DeepEqual(got, w) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, w)
	}
}

// parts returns a message of answers, decoded and encoded.
func parts() (all []Part, data []byte) {
	all, data = []Part{{ID: 1, Body: "x"}, {ID: 1<<64 - 1, Number: 3, More: true, Failed: true, Body: strings.Repeat("y", 1000)}, {}}, AppendHead(nil, presence.Schema, "b")
	for _, p := range all {
		body := p.Body
		p.Body = ""
		data = AppendPart(data, p, []byte(body))
	}
	return all, data
}

func TestParts(t *testing.T) {
	want, data := parts()
	if from, got, err := ReadParts(nil, data); err != nil || from != "b" || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %q %+v", err, from, got)
	}
}

// A newer release may send more fields, of any type, and messages that this one does not know.
func TestUnknownFields(t *testing.T) {
	more := func(b []byte, field uint64) []byte {
		b = binary.AppendUvarint(b, field<<3|varint)
		b = binary.AppendUvarint(b, 1<<50)
		b = append(binary.AppendUvarint(b, (field+1)<<3|fixed64), 1, 2, 3, 4, 5, 6, 7, 8)
		b = append(binary.AppendUvarint(b, (field+2)<<3|fixed32), 1, 2, 3, 4)
		return append(binary.AppendUvarint(b, (field+3)<<3|bytes), 2, 'h', 'i')
	}
	want := show(1)
	got, err := ReadAnswer(string(more(AppendAnswer(nil, &want), 30)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %+v", err, got)
	}
	call := append([]byte{1<<3 | varint, 5}, more(nil, 40)...) // the id 5, and no message that this release knows
	b := append(AppendHead(nil, presence.Schema, "b"), msgItem<<3|bytes, byte(len(call)))
	asked, err := ReadBatch(more(AppendNow(append(b, call...), 4, 4), 20))
	if err != nil || len(asked.Calls) != 1 || asked.Calls[0].ID != 5 || asked.Calls[0].Request.Message != nil || asked.Now != 4 {
		t.Errorf("%v %+v", err, asked)
	}
}

func TestBadMessages(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "no schema": "\x12\x01a", "no node": "\x08\x01", "cut off": "\x08\x01\x12\x05a", "field 0": "\x08\x01\x12\x01a\x00", "wire type 3": "\x08\x01\x12\x01a\x2b",
		"endless number": "\x08\x01\x12\x01a\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "a call that ends beyond": "\x08\x01\x12\x01a\x1a\x7f\x08\x01",
		"a package that does not fit": "\x08\x01\x12\x01a\x1a\x06\x5a\x04\x08\x80\x80\x04",
	} {
		if b, err := ReadBatch([]byte(data)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v %+v", name, err, b)
		}
	}
	if _, err := ReadAnswer("\x3a\x02\x08\x63"); !errors.Is(err, ErrMessage) {
		t.Errorf("a state that is none: %v", err)
	}
	if _, err := ReadCommanded("\x0a\x01a"); !errors.Is(err, ErrMessage) {
		t.Errorf("a short set: %v", err)
	}
	many := AppendHead(nil, presence.Schema, "a")
	for range maxCalls + 1 {
		many = append(many, msgItem<<3|bytes, 0)
	}
	if _, err := ReadBatch(many); !errors.Is(err, ErrMessage) {
		t.Errorf("too many calls: %v", err)
	}
}

// Whatever can be read gives the same again when it is written and read once more.
func FuzzBatch(f *testing.F) {
	b := AppendHead(nil, presence.Schema, "a")
	for i, call := range asked() {
		call.ID, call.Deadline, call.Request.To = uint64(i), 7, actors.Address{Realm: "r", User: "u"}
		b = AppendCall(b, call)
	}
	f.Add(AppendNow(b, 1, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		batch, err := ReadBatch(data)
		if err != nil {
			return
		}
		b := AppendHead(nil, presence.Schema, batch.From)
		for i := range batch.Calls {
			b = AppendCall(b, batch.Calls[i])
		}
		again, err := ReadBatch(AppendNow(b, batch.Now, batch.Start))
		if err != nil || !reflect.DeepEqual(batch, again) {
			t.Errorf("%v\n%+v\n%+v", err, batch, again)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	one := show(3)
	f.Add(AppendAnswer(nil, &one))
	f.Add(AppendWindow(nil, &actors.Window{Rows: one.Subscriptions, Next: "n"}))
	f.Add(AppendCommanded(nil, &actors.Commanded{Done: actors.AllShards()}))
	f.Add(AppendPart(AppendHead(nil, presence.Schema, "b"), Part{ID: 3}, []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = ReadParts(nil, data)
		_, _ = ReadWindow(string(data))
		_, _ = ReadCommanded(string(data))
		a, err := ReadAnswer(string(data))
		if err != nil {
			return
		}
		again, err := ReadAnswer(string(AppendAnswer(nil, &a)))
		if err != nil || !reflect.DeepEqual(withoutError(a), withoutError(again)) || (a.Err == nil) != (again.Err == nil) {
			t.Errorf("%v\n%+v\n%+v", err, a, again)
		}
	})
}

func withoutError(a actors.Answer) actors.Answer {
	a.Err = nil
	return a
}

func BenchmarkShowAnswer(b *testing.B) {
	a := show(1)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendAnswer(buf[:0], &a)
		if _, err := ReadAnswer(string(buf)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkSubscribe(b *testing.B) {
	call := Call{ID: 1 << 60, Deadline: 1 << 40, Request: actors.Request{To: actors.Address{Realm: "acme.example.com", User: "1001"}, Message: subscribe()}}
	head := AppendHead(nil, presence.Schema, "node-a")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendNow(AppendCall(append(buf[:0], head...), call), 1<<40, 1<<60)
		if _, err := ReadBatch(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

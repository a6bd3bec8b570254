package kazoo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// notification draws a notification and its watchers.
func notification(t *rapid.T) (*actors.Notification, []*presence.Subscription) {
	word := rapid.OneOf(rapid.StringMatching(`[a-z0-9@.:;<>"\\ é-]{0,20}`), rapid.Just(""))
	n := &actors.Notification{Shard: rapid.IntRange(0, actors.Shards-1).Draw(t, "shard"), Sequence: rapid.Uint32().Draw(t, "sequence"),
		Claim: actors.Claim{Generation: uint64(rapid.Uint32().Draw(t, "generation")), Epoch: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "epoch"), 5)},
		To:    actors.Address{Realm: "acme.test", User: word.Draw(t, "user")}, Package: presence.Dialog, State: presence.Early,
		ContentType: "application/dialog-info+xml", Body: []byte(word.Draw(t, "body")), Now: time.Unix(1, 0)}
	if rapid.Bool().Draw(t, "view") {
		n.View = &presence.View{State: presence.Early}
		for i := range rapid.IntRange(0, 3).Draw(t, "dialogs") {
			n.View.Dialogs = append(n.View.Dialogs, presence.DialogView{ID: fmt.Sprint(i), SwitchURI: word.Draw(t, "switch")})
		}
	}
	n.Request = word.Draw(t, "request")
	if rapid.Bool().Draw(t, "ends") {
		n.End = "timeout"
	}
	all := make([]*presence.Subscription, rapid.IntRange(1, 4).Draw(t, "watchers"))
	for i := range all {
		all[i] = &presence.Subscription{CallID: word.Draw(t, "call"), From: word.Draw(t, "from"), Contact: word.Draw(t, "contact"),
			FromTag: word.Draw(t, "tag"), ProxyRoute: word.Draw(t, "route")}
	}
	return n, all
}

// message writes a whole NOTIFY message.
func message(n *actors.Notification, watchers []*presence.Subscription) []byte {
	b := appendjson.Number([]byte{'{'}, "Edge-Seq", 7)
	b = AppendNotifyHead(append(b, ','), NewSender("0.1.0", "a"), "i1", n)
	b = AppendPickupCookies(b, n)
	b = append(appendjson.Key(b, "Targets"), '[')
	for i, w := range watchers {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendTarget(b, w, n)
	}
	return append(b, "]}"...)
}

// An edge reads a NOTIFY message of a node as a JSON decoder reads it, and never needs the JSON decoder for it.
func TestNotifyReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, watchers := notification(t)
		data := message(n, watchers)
		got, err := ReadNotify(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		var want Notify
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Fatalf("%s: %s", data, d)
		}
		if len(got.Targets) != len(watchers) || got.Presentity != n.To.String() || got.Sequence != int64(n.Sequence) || got.RequestID != n.Request || !got.Epoch.Equal(n.Claim.Epoch) {
			t.Fatalf("%s became %+v", data, got)
		}
		if r := (notifyReader{text: string(data)}); !r.message(new(Notify)) {
			t.Fatalf("%s needs a JSON decoder", data)
		}
	})
}

// A watcher whose strings need no escapes is written as one whose strings might.
func TestQuotableTargets(t *testing.T) {
	word := rapid.OneOf(rapid.StringMatching(`[ -~]{0,12}`), rapid.StringMatching(`[a-z0-9@:;<>.]{0,12}`))
	rapid.Check(t, func(t *rapid.T) {
		x := presence.New("acme.test", "1001", &presence.Rules{TombstoneLife: time.Minute, MaxWatchers: 10})
		s := presence.Subscribe{CallID: "c" + word.Draw(t, "call"), From: word.Draw(t, "from"), FromTag: word.Draw(t, "from tag"), ToTag: word.Draw(t, "to tag"),
			Contact: word.Draw(t, "contact"), ProxyRoute: word.Draw(t, "route"), SubscriptionID: word.Draw(t, "id"), ServerID: "e", Expires: 60}
		if _, err := x.Apply(s, time.Unix(1e9, 0)); err != nil {
			t.Fatal(err)
		}
		w := x.Subscriptions()[0]
		bare := &presence.Subscription{CallID: w.CallID, From: w.From, FromTag: w.FromTag, ToTag: w.ToTag, Contact: w.Contact, ProxyRoute: w.ProxyRoute, SubscriptionID: w.SubscriptionID}
		end := &actors.Notification{End: "timeout"} // it leaves out what the two differ in
		got, want := AppendTarget(nil, w, end), AppendTarget(nil, bare, end)
		if string(got) != string(want) || json.Unmarshal(got, &Target{}) != nil {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

// Whatever text comes in, ReadNotify returns either a message or an error.
func FuzzReadNotify(f *testing.F) {
	f.Add(`{"Node":"a","Edge-Seq":1,"Targets":[{"Call-ID":"c\"1","Expires":5}]}`)
	f.Add(`{"Targets":[{"Call-ID":"\ud800"},{}],"x":"y"} `)
	f.Add(`{"Epoch":"2026-11-23T10:00:00Z","Sequence":99999999999999999999}`)
	f.Fuzz(func(t *testing.T, data string) {
		if n, err := ReadNotify([]byte(data)); (n == nil) == (err == nil) {
			t.Errorf("%q: %v %v", data, n, err)
		}
	})
}

// BenchmarkReadNotify reads a message with 500 targets.
func BenchmarkReadNotify(b *testing.B) {
	n := &actors.Notification{To: actors.Address{Realm: "acme.test", User: "1001"}, Package: presence.Dialog, Body: []byte("<dialog-info/>"), Claim: actors.Claim{Epoch: time.Unix(5, 0)}}
	watchers := make([]*presence.Subscription, MaxTargets)
	for i := range watchers {
		watchers[i] = &presence.Subscription{CallID: "call-1@10.0.0.9", From: "1002@acme.test", FromTag: "a1b2c3", ToTag: "d4e5f6", Contact: "<sip:1002@10.0.0.9:5060>"}
	}
	data := message(n, watchers)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadNotify(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTargets writes the targets of 1000 watchers.
func BenchmarkTargets(b *testing.B) {
	now := time.UnixMicro(1_790_000_000_000_000)
	for name, contact := range map[string]string{"plain": "<sip:77@10.0.0.9:5060;line=1>", "quoted": `"Reception" <sip:77@10.0.0.9:5060>;+sip.instance="<urn:uuid:0>"`} {
		x := presence.New("acme.test", "1001", &presence.Rules{TombstoneLife: time.Minute})
		for i := range 1000 {
			if _, err := x.Apply(presence.Subscribe{CallID: fmt.Sprintf("77-%d@10.0.0.9", i), From: fmt.Sprintf("%d@acme.example.com", i), FromTag: "a1b2c3", ToTag: "d4e5f6",
				Contact: contact, ProxyRoute: "sip:10.0.0.1", SubscriptionID: "s1", ServerID: "edge1", Expires: 1800}, now); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			n := &actors.Notification{Now: now}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = buf[:0]
				for _, w := range x.Subscriptions() {
					buf = AppendTarget(buf, w, n)
				}
			}
		})
	}
}

// What an edge writes of its phones' answers is what a node reads.
func TestNotifiedRoundTrip(t *testing.T) {
	replies := []Reply{{Presentity: "1@acme.test", Package: presence.Presence, CallID: "c", Sequence: 7, Code: 503, RetryAfter: 30},
		{Presentity: "2@acme.test", CallID: "d", Sequence: 8, Code: 200, For: "e"}, {Presentity: "3@acme.test", CallID: "f", For: "down"}, {Presentity: "4@acme.test", CallID: "g", For: "up"}}
	data := AppendNotified(nil, "e", replies)
	got, wrong, err := ReadNotified(data, "e", func(edge string) bool { return edge == "down" })
	if err != nil || wrong != 0 || len(got) != 4 {
		t.Fatal(got, wrong, err)
	}
	for i, want := range []presence.Notified{{Package: presence.Presence, HasPackage: true, CallID: "c", Sequence: 7, Reply: 503, RetryAfter: 30, Edge: "e"},
		{HasPackage: true, CallID: "d", Sequence: 8, Reply: 200, Edge: "e"}, {HasPackage: true, CallID: "f", Edge: "down"}, {HasPackage: true, CallID: "g", Edge: "e"}} {
		if got[i].Event != want {
			t.Errorf("%+v, want %+v", got[i].Event, want)
		}
	}
	if strings.Count(string(data), "Retry-After") != 1 {
		t.Errorf("%s", data)
	}
	if _, wrong, _ := ReadNotified([]byte(`{"Edge":"e","Replies":[{"Presentity":"1@acme.test","Call-ID":"c","Sequence":1,"Reply":503,"Retry-After":-1}]}`), "e", nil); wrong != 1 {
		t.Error("a negative Retry-After was taken")
	}
}

// An edge.up reads back, with the wish for pickup cookies and without.
func TestEdgeUpReadsBack(t *testing.T) {
	for _, want := range []EdgeUp{{Edge: "e", Incarnation: "i", Seen: map[string]int64{"a/1": 7}}, {Edge: "e", Incarnation: "i", Seen: map[string]int64{}, PickupCookies: true}} {
		if got, err := ReadEdgeUp(want.Append(nil), "e"); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
}

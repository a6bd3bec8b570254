package bus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/kazoo"
)

// A NOTIFY message has at most 500 targets and 256 KiB, and its Edge-Seq has no gaps.
func TestFanoutBounds(t *testing.T) {
	b := newBed(t)
	for name, size := range map[string]int{"short": 10, "long": 4000} {
		s, err := b.conn.SubscribeSync("lamplight.notify.edge" + name)
		if err != nil {
			t.Fatal(err)
		}
		_ = b.conn.Flush()
		n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1001"}, Body: []byte(strings.Repeat("<dialog id=\"1\"/>\n", 2000)), Now: time.Now()}
		const watchers = 1201
		for i := range watchers {
			n.Watchers = append(n.Watchers, &presence.Subscription{CallID: fmt.Sprint(i), ServerID: "edge" + name, Contact: strings.Repeat(`"`, size), From: strings.Repeat(`\`, size)})
		}
		b.fanout.Notify(n)
		for next, told := 1, 0; told < watchers; next++ {
			m, err := s.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatalf("%s: %d of %d told: %v", name, told, watchers, err)
			}
			var d struct {
				Seq     int `json:"Edge-Seq"`
				Targets []map[string]any
			}
			if err := json.Unmarshal(m.Data, &d); err != nil {
				t.Fatal(err)
			}
			if told += len(d.Targets); len(d.Targets) > 500 || len(m.Data) > 256<<10 || d.Seq != next {
				t.Fatalf("%s: %d targets in %d bytes, Edge-Seq %d after %d", name, len(d.Targets), len(m.Data), d.Seq, next-1)
			}
		}
	}
}

// When a lamp has more dialogs than a message of the state feed may hold, the feed tells the most important ones.
func TestLampBounds(t *testing.T) {
	b := newBed(t)
	heard, err := b.conn.SubscribeSync("lamplight.state.*.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	v := presence.View{State: presence.Early}
	for i := range 100 {
		v.Dialogs = append(v.Dialogs, presence.DialogView{CallID: strconv.Itoa(i), State: presence.Early, From: strings.Repeat("f", 4000), To: strings.Repeat("t", 4000), SwitchURI: strings.Repeat("s", 4000)})
	}
	b.fanout.Lamp(actors.LampNews{To: actors.Address{Realm: "acme.test", User: "1001"}, Change: presence.LampChange{State: presence.Early, View: &v}})
	m, err := heard.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		State   string `json:"state"`
		Dialogs []struct {
			CallID string `json:"call_id"`
		} `json:"dialogs"`
	}
	if err := json.Unmarshal(m.Data, &d); err != nil || d.State != "early" || len(d.Dialogs) == 0 || d.Dialogs[0].CallID != "0" || len(m.Data) > kazoo.MaxMessage {
		t.Errorf("%v: %d bytes, %s, %d dialogs", err, len(m.Data), d.State, len(d.Dialogs))
	}
}

// up says edge.up for an edge. seen is the inside of the object Seen.
func (b *bed) up(edge, incarnation, seen string) {
	b.t.Helper()
	if err := b.conn.Publish("lamplight.edge.up."+edge, []byte(`{"Edge":"`+edge+`","Incarnation":"`+incarnation+`","Seen":{`+seen+`}}`)); err != nil {
		b.t.Fatal(err)
	}
}

// An edge that has said edge.up is marked as down when nobody listens for it. It gets nothing until it says edge.up again, and
// then what it missed.
func TestEdgeDownAndUp(t *testing.T) {
	b := newBed(t)
	looked := make(chan string, 100)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1"}, Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: "e1"}}}
	b.up("e1", "x", "")
	b.up("e1", "x", "")
	b.up("e2", "x", "")
	for _, want := range []string{"e1", "e2"} {
		if got := <-looked; got != want {
			t.Fatalf("looked for %s, want %s", got, want)
		}
	}
	b.fanout.Notify(n) // nobody listens
	eventually(t, "the edge is marked as down", func() bool { return b.fanout.find("e1").downSince.Age() != 0 })
	s, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil {
		t.Fatal(err)
	}
	_ = b.conn.Flush()
	b.fanout.Notify(n)
	b.up("e1", "x", `"n/i":0`)
	for seq := 1; seq <= 2; seq++ {
		m, err := s.NextMsg(10 * time.Second)
		if err != nil || !strings.Contains(string(m.Data), fmt.Sprintf(`"Edge-Seq":%d,`, seq)) {
			t.Fatalf("after it came up: %v, want Edge-Seq %d", err, seq)
		}
	}
	if len(looked) != 0 {
		t.Errorf("looked again for %s", <-looked)
	}
}

// The watchers behind the edge inside the node are told by calls, and so its edge.up never names the node. They are told the newest state
// once, when the edge is new, and not with each edge.up.
func TestEdgeInTheNodeIsUp(t *testing.T) {
	b := newBed(t)
	looked := make(chan string, 100)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	b.fanout.LocalName, b.fanout.Local = "own", func(*actors.Notification, []*presence.Subscription) {}
	age := func(name string) { // makes renotifyGap be over
		e := b.fanout.find(name)
		e.mu.Lock()
		e.renotified = time.Now().Add(-time.Hour)
		e.mu.Unlock()
	}
	b.up("own", "x", "")
	if got := <-looked; got != "own" {
		t.Fatalf("looked for %s", got)
	}
	age("own")
	b.up("own", "x", "")
	b.up("other", "x", "")
	if got := <-looked; got != "other" {
		t.Errorf("looked again for %s", got)
	}
	b.up("own", "y", "")
	if got := <-looked; got != "own" {
		t.Errorf("after another incarnation of the edge: looked for %s", got)
	}
}

// Down returns an edge that has been down for 10 s, until it says edge.up again.
func TestEdgeStaysDown(t *testing.T) {
	b := newBed(t)
	b.up("e1", "x", "")
	b.up("silent", "x", "")
	eventually(t, "the edges are known", func() bool { return b.fanout.find("e1") != nil && b.fanout.find("silent") != nil })
	for _, edge := range []string{"e1", "never-spoke"} {
		b.fanout.Notify(actors.Notification{Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: edge}}}) // nobody listens
	}
	eventually(t, "the edge is down", func() bool { return b.fanout.find("e1").downSince.Age() != 0 })
	now := time.Now()
	if down := b.fanout.Down(now.Add(9 * time.Second)); len(down) != 0 {
		t.Errorf("down after 9 s: %v", down)
	}
	if down := b.fanout.Down(now.Add(11 * time.Second)); !slices.Equal(down, []string{"e1"}) {
		t.Errorf("down after 11 s: %v", down)
	}
	b.up("e1", "x", "")
	eventually(t, "the edge is back", func() bool { return len(b.fanout.Down(now.Add(time.Hour))) == 0 })
}

// group sorts watchers by edge and keeps their order, however many edges there are.
func TestGrouping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := groupings.Get().(*grouping)
		defer groupings.Put(g)
		var watchers []*presence.Subscription
		want, order := map[string][]*presence.Subscription{}, []string{}
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 20)).Draw(t, "edges") {
			w := &presence.Subscription{ServerID: strconv.Itoa(n)}
			if watchers = append(watchers, w); want[w.ServerID] == nil {
				order = append(order, w.ServerID)
			}
			want[w.ServerID] = append(want[w.ServerID], w)
		}
		g.group(watchers)
		if !slices.Equal(g.edges, order) {
			t.Fatalf("%v, want %v", g.edges, order)
		}
		for i, name := range order {
			if !slices.Equal(g.behind(i), want[name]) {
				t.Fatalf("%s: %v, want %v", name, g.behind(i), want[name])
			}
		}
	})
}

// What watchers behind an edge are told that has been down for 10 s goes to the other edges, the newest state first. Answers of these count
// as those of the edge that is down. When it is back it begins anew: it gets nothing of before, which its phones would take for old.
func TestOthersServeAnEdgeThatIsDown(t *testing.T) {
	b := newBed(t)
	looked := make(chan string, 100)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	heard, err := b.conn.SubscribeSync("lamplight.notify.any")
	if err != nil || b.conn.Flush() != nil {
		t.Fatal(err)
	}
	own := &presence.Subscription{CallID: "c", ServerID: "e1", ProxyRoute: "<sip:udp.0.10.0.0.9:5060@lamplight;lr>"} // e1 has not said edge.up here
	n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1"}, Now: time.Now(), Watchers: []*presence.Subscription{own}}
	reply := func() string {
		t.Helper()
		before := len(b.router.requests())
		if err := b.conn.Publish("lamplight.notified.n.e2", kazoo.AppendNotified(nil, "e2", []kazoo.Reply{{Presentity: "1@acme.test", CallID: "c", Code: 200, For: "e1"}})); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the answer arrives", func() bool { return len(b.router.requests()) > before })
		return b.router.requests()[before].Message.(presence.Notified).Edge
	}
	b.fanout.Notify(n)
	e := b.fanout.find("e1")
	eventually(t, "the edge is down", func() bool { return e.downSince.Age() != 0 })
	b.fanout.replaceDown(time.Now().Add(9 * time.Second))
	b.fanout.Notify(n)
	if by := reply(); by != "e2" || len(looked) != 0 {
		t.Fatalf("after 9 s: an answer of %s, %d told anew", by, len(looked))
	}
	for range 2 {
		b.fanout.replaceDown(time.Now().Add(11 * time.Second))
	}
	if <-looked != "e1" || len(looked) != 0 {
		t.Fatal("not told anew once")
	}
	b.fanout.Notify(n)
	m, err := heard.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kazoo.ReadNotify(m.Data); err != nil || got.Edge != "e1" || got.EdgeSeq != 3 || got.Targets[0].CallID != "c" {
		t.Fatalf("%v: %+v", err, got)
	}
	if by := reply(); by != "e1" {
		t.Errorf("the answer counts as of %s", by)
	}
	if n := b.fanout.kept.Load(); n != 0 {
		t.Errorf("%d bytes are kept for the edge", n)
	}

	mine, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil {
		t.Fatal(err)
	}
	b.up("e1", "x", `"n/i":2`) // it lived, and only its connection was gone
	if <-looked != "e1" {
		t.Fatal("not told anew")
	}
	b.fanout.Notify(n)
	if m, err = mine.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if got, err := kazoo.ReadNotify(m.Data); err != nil || got.Edge != "" || got.EdgeSeq != 4 || got.EdgeFirst != 4 {
		t.Fatalf("the edge that is back gets %v: %+v", err, got)
	}
	if by := reply(); by != "e2" {
		t.Errorf("the answer counts as of %s", by)
	}
	if _, err := heard.NextMsg(50 * time.Millisecond); err == nil {
		t.Error("others still serve it")
	}
}

// An edge that drains has the subscriptions ended that are tied to it, once, and nobody is told anew.
func TestEdgeDrains(t *testing.T) {
	b := newBed(t)
	looked, ended := make(chan string, 100), make(chan string, 100)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	b.fanout.EndTied = func(edge string) { ended <- edge }
	b.up("e1", "x", "")
	if <-looked != "e1" {
		t.Fatal("not told anew")
	}
	b.rewind("e1", time.Minute)
	for range 3 {
		d := kazoo.EdgeUp{Edge: "e1", Incarnation: "x", Draining: true}
		if err := b.conn.Publish("lamplight.edge.up.e1", d.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if <-ended != "e1" || len(looked) != 0 {
		t.Fatal("no subscriptions end, or all watchers are told anew")
	}
	b.up("e1", "y", "")
	if <-looked != "e1" {
		t.Fatal("not told anew after the next start")
	}
	if len(ended)+len(looked) != 0 {
		t.Errorf("ended %d times more, told anew %d times more", len(ended), len(looked))
	}
}

// Pickup cookies go to the edges that asked for them alone, and an edge that asks for the first time is told anew.
func TestPickupCookiesForWhoAsks(t *testing.T) {
	b := newBed(t)
	rounds := 0
	b.fanout.Renotify = func(string) { rounds++ }
	heard, err := b.conn.SubscribeSync("lamplight.notify.*")
	if err != nil {
		t.Fatal(err)
	}
	_ = b.conn.Flush()
	n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1001"}, Now: time.Now(),
		View:     &presence.View{Dialogs: []presence.DialogView{{ID: "k", SwitchURI: "sip:10.0.0.5:11000"}}},
		Watchers: []*presence.Subscription{{CallID: "1", ServerID: "plain"}, {CallID: "2", ServerID: "asks"}}}
	b.fanout.Notify(n)
	b.fanout.up("plain", "i", 1, true, false, false)
	b.fanout.up("asks", "i", 1, true, false, true)
	if rounds != 1 {
		t.Errorf("%d rounds", rounds)
	}
	b.fanout.Notify(n)
	n.Package = presence.Presence
	b.fanout.Notify(n)
	got := map[string]string{}
	for range 6 {
		m, err := heard.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		d, err := kazoo.ReadNotify(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		got[m.Subject] += fmt.Sprint(len(d.PickupCookies))
	}
	if got["lamplight.notify.plain"] != "000" || got["lamplight.notify.asks"] != "010" {
		t.Errorf("messages have %v cookies", got)
	}
}

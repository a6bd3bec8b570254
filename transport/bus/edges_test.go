package bus

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// notify sends a NOTIFY with a body of size bytes to one watcher behind an edge.
func (b *bed) notify(edge string, size int) {
	b.t.Helper()
	b.fanout.Notify(actors.Notification{Body: []byte(strings.Repeat("x", size)), Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: edge}}})
}

// watched sets the edges behind which the next looks find watchers.
func (b *bed) watched(edges ...string) {
	all := map[string]struct{}{}
	for _, e := range edges {
		all[e] = struct{}{}
	}
	b.found.Store(&looked{all, nil})
}

// looked is what a look for watched edges finds.
type looked struct {
	edges map[string]struct{}
	err   error
}

// The number of edges is bounded. Asking for room makes no entry; an edge without watchers makes room for another one; and
// when all have watchers, a subscription behind one more is refused.
func TestTooManyEdges(t *testing.T) {
	b := newBed(t)
	for i := range maxEdges + 10 {
		if !b.fanout.room(fmt.Sprint("asked-", i)) {
			t.Fatal("no room, though there is no edge")
		}
	}
	if n := len(b.fanout.edges); n != 0 {
		t.Fatalf("asking made %d entries", n)
	}
	used := make([]string, maxEdges)
	for i := range used {
		used[i] = fmt.Sprint("used-", i)
		b.notify(used[i], 0)
	}
	b.watched(used...)
	const one = "omnipresence.subscribe.acme%2Etest.1"
	a := b.request(one, "subscription", `"User":"1@acme.test","Expires":60,"Server-ID":"one-more"`)[0]
	if a.text("Code") != "429" || len(b.router.requests()) != 0 {
		t.Errorf("a subscription behind one edge too many: %s", a)
	}
	if a := b.request(one, "subscription", `"User":"1@acme.test","Expires":60,"Server-ID":"used-1"`)[0]; a.text("Status") != "ok" {
		t.Errorf("one behind a known edge: %s", a)
	}
	if b.up("stranger", "x", ""); b.conn.Flush() != nil || b.fanout.find("stranger") != nil {
		t.Error("an edge that only speaks got an entry when there was no room")
	}
	b.watched(used[1:]...)
	eventually(t, "there is room, as one edge has no watchers", func() bool { // the refusal above began a look that may still run
		b.fanout.lookOnce(t.Context(), time.Now())
		return b.fanout.room("one-more")
	})
	b.notify("one-more", 0)
	if b.fanout.find(used[0]) != nil || b.fanout.find("one-more") == nil || len(b.fanout.edges) != maxEdges {
		t.Errorf("%d edges; the one without watchers: %v", len(b.fanout.edges), b.fanout.find(used[0]))
	}
}

// An edge that has neither watchers nor spoken for an hour is forgotten. When it comes back, its numbers go on above
// where they stood, so that it does not take a new message for an old one.
func TestEdgesAreForgotten(t *testing.T) {
	b := newBed(t)
	for _, edge := range []string{"gone", "watched", "speaks"} {
		b.notify(edge, 100)
		b.notify(edge, 100)
	}
	b.watched("watched")
	later := time.Now().Add(forgetAfter)
	b.fanout.find("speaks").heard.Store(later.UnixNano())
	b.fanout.lookOnce(t.Context(), later.Add(-time.Minute))
	if b.fanout.find("gone") == nil {
		t.Error("forgotten before its time")
	}
	b.fanout.lookOnce(t.Context(), later.Add(time.Minute))
	if b.fanout.find("gone") != nil || b.fanout.find("watched") == nil || b.fanout.find("speaks") == nil {
		t.Error("not the one edge was forgotten that nobody needs")
	}
	kept := b.fanout.kept.Load()
	if sum := int64(b.fanout.find("watched").bytes + b.fanout.find("speaks").bytes); kept != sum || sum == 0 {
		t.Errorf("%d bytes count as kept, %d are", kept, sum)
	}
	if b.notify("gone", 100); b.fanout.find("gone").seq != 3 {
		t.Errorf("it goes on with %d", b.fanout.find("gone").seq)
	}
	b.found.Store(&looked{nil, context.DeadlineExceeded})
	b.fanout.lookOnce(t.Context(), later.Add(10*time.Hour))
	if len(b.fanout.edges) != 3 {
		t.Error("an edge was forgotten by a look that did not see all")
	}
}

// What is kept for all edges together is bounded, whatever their number; what was not kept is told anew.
func TestKeptIsBounded(t *testing.T) {
	b := newBed(t)
	b.fanout.cfg.Kept = 1 << 20
	for i := range 3000 {
		b.notify(fmt.Sprint("edge-", i%300), 8<<10)
		if kept := b.fanout.kept.Load(); kept > b.fanout.cfg.Kept {
			t.Fatalf("%d bytes are kept after %d messages", kept, i+1)
		}
	}
	sum := int64(0)
	for _, e := range b.fanout.edges {
		sum += int64(e.bytes)
	}
	if sum != b.fanout.kept.Load() || sum < b.fanout.cfg.Kept/2 {
		t.Errorf("%d bytes are kept, %d count", sum, b.fanout.kept.Load())
	}
	looked := make(chan string, 1)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	b.up("edge-299", "x", `"n/i":1`)
	select {
	case edge := <-looked:
		if edge != "edge-299" {
			t.Errorf("told anew: %s", edge)
		}
	case <-time.After(10 * time.Second):
		t.Error("an edge that misses what is kept no more is not told anew")
	}
}

// An edge that was started again is not sent the messages of before: it begins with the next one, and only what it misses
// from there on comes again.
func TestRestartedEdgeBeginsAnew(t *testing.T) {
	b := newBed(t)
	renotified := make(chan string, 10)
	b.fanout.Renotify = func(edge string) { renotified <- edge }
	heard, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	next := func(seq, first int) {
		t.Helper()
		m, err := heard.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("Edge-Seq %d: %v", seq, err)
		}
		if want := fmt.Sprintf(`"Edge-Seq":%d,"Edge-First":%d,`, seq, first); !strings.Contains(string(m.Data), want) {
			t.Fatalf("%s, want %s", m.Data, want)
		}
	}
	for seq := 1; seq <= 3; seq++ {
		b.notify("e1", 10)
		next(seq, 1)
	}
	b.up("e1", "second", "")
	if edge := <-renotified; edge != "e1" {
		t.Fatalf("told anew: %s", edge)
	}
	b.notify("e1", 10) // the newest state of a watcher
	b.notify("e1", 10)
	next(4, 4)
	next(5, 4)
	b.up("e1", "second", `"n/i":0`) // it has missed 4, and by the numbers of an earlier release all before
	next(4, 4)
	next(5, 4)
	b.up("e1", "second", `"n/i":4`)
	next(5, 4)
	if n, _, _ := heard.Pending(); n != 0 || len(renotified) != 0 {
		t.Errorf("%d more messages, told anew %d times", n, len(renotified))
	}
}

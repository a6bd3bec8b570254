package bus

import (
	"fmt"
	"strings"
	"sync/atomic"
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

// unwatched says that edges have no watchers.
func (b *bed) unwatched(edges ...string) {
	for _, e := range edges {
		b.idle.Store(e, true)
	}
}

// Edges without watchers make room for others, those first that have never said edge.up. An edge that has watchers is never
// refused.
func TestManyEdges(t *testing.T) {
	b := newBed(t)
	for i := range maxEdges { // as subscriptions that lasted for a second leave them
		b.unwatched(fmt.Sprint("gone-", i))
		b.notify(fmt.Sprint("gone-", i), 0)
	}
	b.up("gone-0", "x", `"n/i":1`)
	eventually(t, "the edge has spoken", func() bool { return b.fanout.find("gone-0").spoke.Load() })
	for i := range maxEdges + 50 {
		edge := fmt.Sprint("used-", i)
		heard, err := b.conn.SubscribeSync("lamplight.notify." + edge)
		if err != nil || b.conn.Flush() != nil {
			t.Fatal(err)
		}
		b.notify(edge, 0)
		if _, err := heard.NextMsg(10 * time.Second); err != nil {
			t.Fatalf("%s: %v", edge, err)
		}
		_ = heard.Unsubscribe()
		if spoken := b.fanout.find("gone-0"); i < maxEdges-2*makeRoomFor && spoken == nil {
			t.Fatalf("an edge that speaks was forgotten before those that never did, at %d", i)
		}
		if n := len(b.fanout.edges); n > max(maxEdges, i+1) {
			t.Fatalf("%d edges are known after %d with watchers", n, i+1)
		}
	}
	if a := b.request("omnipresence.subscribe.acme%2Etest.1", "subscription", `"User":"1@acme.test","Expires":60,"Server-ID":"one-more"`)[0]; a.text("Status") != "ok" {
		t.Errorf("a subscription behind one more edge: %s", a)
	}
}

// The edge.up of an edge that has no watchers here costs nothing, whatever it says: an edge that has some is served before any work for
// the others.
func TestForeignEdgesCostNothing(t *testing.T) {
	b := newBed(t)
	told := make(chan string, 10)
	b.fanout.Renotify = func(edge string) { told <- edge }
	for i := range 8000 {
		edge := fmt.Sprint("foreign-", i)
		b.unwatched(edge)
		b.up(edge, "x", "")
	}
	b.up("known", "x", "")
	select {
	case edge := <-told:
		if edge != "known" {
			t.Errorf("told anew: %s", edge)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the edge that has watchers is not told")
	}
	b.fanout.mu.Lock()
	defer b.fanout.mu.Unlock()
	if n := len(b.fanout.edges); n != 1 {
		t.Errorf("%d edges are known", n)
	}
}

// rewind has the last round for an edge be longer ago.
func (b *bed) rewind(edge string, d time.Duration) {
	e := b.fanout.find(edge)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.renotified, e.paidUntil = e.renotified.Add(-d), e.paidUntil.Add(-d)
}

// Somebody who says edge.up in the name of an edge again and again puts it off by a second, and not by the whole time between rounds.
// If that goes on, there is one round in that time.
func TestFloodInTheNameOfAnEdge(t *testing.T) {
	b := newBed(t)
	rounds := make(chan string, 100)
	b.fanout.Renotify = func(edge string) { rounds <- edge }
	flood := func() {
		for i := range 8000 {
			b.fanout.up("e1", fmt.Sprint("forged-", i), 0, false, false, false)
		}
	}
	flood()
	b.rewind("e1", roundGap)
	for len(rounds) > 0 {
		<-rounds
	}
	if b.fanout.up("e1", "honest", 0, false, false, false); len(rounds) != 1 {
		t.Errorf("the edge itself is told %d times", len(rounds))
	}
	const seconds = 100
	for range seconds {
		b.rewind("e1", time.Second)
		flood()
	}
	if n, most := len(rounds)-1, seconds/int(renotifyGap/time.Second)+spareRounds+1; n < seconds/int(renotifyGap/time.Second) || n > most {
		t.Errorf("%d rounds in %d s, at most %d", n, seconds, most)
	}
}

// An edge that is started again twice in a moment loses what came before. Its watchers are told anew with a later edge.up, also
// when that says that nothing is missing.
func TestPutOffRoundIsNotForgotten(t *testing.T) {
	b := newBed(t)
	rounds := make(chan string, 10)
	b.fanout.Renotify = func(edge string) { rounds <- edge }
	b.fanout.up("e1", "first", 0, false, false, false)
	b.notify("e1", 10) // only the first incarnation may have got this
	b.fanout.up("e1", "second", 0, false, false, false)
	b.notify("e1", 10)
	if len(rounds) != 1 {
		t.Fatalf("told anew %d times", len(rounds))
	}
	b.rewind("e1", renotifyGap)
	if b.fanout.up("e1", "second", 2, true, false, false); len(rounds) != 2 {
		t.Error("what the second incarnation missed is never told")
	}
	b.rewind("e1", renotifyGap)
	if b.fanout.up("e1", "second", 2, true, false, false); len(rounds) != 2 {
		t.Error("told once too often")
	}
}

// However often an edge says edge.up, and whatever it says, its watchers are told again at most every 10 s and a few times more, and
// a message is sent again at most once a second. An edge without watchers causes nothing.
func TestEdgeUpIsPaced(t *testing.T) {
	b := newBed(t)
	var renotified atomic.Int64
	b.fanout.Renotify = func(string) { renotified.Add(1) }
	heard, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil || b.conn.Flush() != nil {
		t.Fatal(err)
	}
	b.unwatched("stranger")
	begun := time.Now()
	const ups = 8000
	for i := range ups {
		b.up("e1", fmt.Sprint("i", i), "")
		b.up("stranger", fmt.Sprint("i", i), "")
	}
	last := fmt.Sprint("i", ups-1)
	incarnation := func(edge string) string {
		e := b.fanout.find(edge)
		if e == nil {
			return ""
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.incarnation
	}
	eventually(t, "all were heard", func() bool { return incarnation("e1") == last })
	if n, most := renotified.Load(), int64(time.Since(begun)/renotifyGap)+1+spareRounds; n < 1 || n > most {
		t.Errorf("told again %d times, at most %d", n, most)
	}
	const messages = 10
	for range messages {
		b.notify("e1", 10)
	}
	begun = time.Now()
	for range 1000 {
		b.up("e1", last, `"n/i":0`)
	}
	b.up("e1", "end", fmt.Sprintf(`"n/i":%d`, messages))
	eventually(t, "all were heard", func() bool { return incarnation("e1") == "end" })
	if b.bus.cfg.Conn.Flush() != nil || b.conn.Flush() != nil {
		t.Fatal("no answer from NATS")
	}
	if n, _, _ := heard.Pending(); n < 2*messages || n > messages*(2+int(time.Since(begun)/resendGap)) {
		t.Errorf("%d messages came, of %d", n, messages)
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
	b.unwatched("gone", "speaks")
	later := time.Now().Add(forgetAfter)
	b.fanout.find("speaks").heard.Set(later)
	b.fanout.lookOnce(later.Add(-time.Minute))
	if b.fanout.find("gone") == nil {
		t.Error("forgotten before its time")
	}
	b.fanout.lookOnce(later.Add(time.Minute))
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
	b.fanout.find("e1").mu.Lock()
	b.fanout.find("e1").resent = time.Time{} // a second later
	b.fanout.find("e1").mu.Unlock()
	b.up("e1", "second", `"n/i":4`)
	next(5, 4)
	if n, _, _ := heard.Pending(); n != 0 || len(renotified) != 0 {
		t.Errorf("%d more messages, told anew %d times", n, len(renotified))
	}
}

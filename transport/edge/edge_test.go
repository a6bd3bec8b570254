package edge

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"lamplight/actors/presence"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),    // of the example's node
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // it looks every 10 s whether to end
}

// bed is an Edge, and a connection that plays the nodes.
type bed struct {
	t        *testing.T
	node     *nats.Conn
	ups      *nats.Subscription
	replies  *nats.Subscription
	messages chan Message
	edge     *Edge
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := natstest.Start(t, "")
	connect := func() *nats.Conn { return natstest.Connect(t, s) }
	b := &bed{t: t, node: connect(), messages: make(chan Message, 1000)}
	var err error
	if b.ups, err = b.node.SubscribeSync("p." + subject.AnyEdgeUp); err != nil {
		t.Fatal(err)
	}
	if b.replies, err = b.node.SubscribeSync("p." + subject.NotifiedTo("a")); err != nil {
		t.Fatal(err)
	}
	if err := b.node.Flush(); err != nil {
		t.Fatal(err)
	}
	b.edge = New(Config{Conn: connect(), Prefix: "p.", Name: "edge 1", Incarnation: "e1", Handle: func(m Message) { b.messages <- m },
		Unreadable: func(data []byte, _ error) { b.messages <- Message{Notify: &kazoo.Notify{State: string(data)}} }})
	if err := b.edge.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.edge.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// publish publishes a NOTIFY message for one watcher. source is "<node>/<incarnation>", number the Edge-Seq.
func (b *bed) publish(source string, number, generation int) {
	b.t.Helper()
	var node, incarnation string
	_, _ = fmt.Sscanf(source, "%1s/%1s", &node, &incarnation)
	doc := fmt.Sprintf(`{"Node":%q,"Incarnation":%q,"Edge-Seq":%d,"Shard":3,"Generation":%d,"Epoch":"2026-11-23T10:00:00Z","Presentity":"1@a.test",`+
		`"Event-Package":"dialog","State":"early","Sequence":%d,"Targets":[{"Call-ID":"c1"}]}`, node, incarnation, number, generation, number)
	if err := b.node.Publish("p.lamplight.notify.edge+1", []byte(doc)); err != nil {
		b.t.Fatal(err)
	}
}

// wantMessage returns the next message, which must have this Edge-Seq.
func (b *bed) wantMessage(number int64, repeated bool) Message {
	b.t.Helper()
	select {
	case m := <-b.messages:
		if m.EdgeSeq != number || m.Repeated != repeated {
			b.t.Fatalf("message %d (repeated: %v), want %d (%v)", m.EdgeSeq, m.Repeated, number, repeated)
		}
		return m
	case <-time.After(10 * time.Second):
		b.t.Fatalf("message %d never came", number)
	}
	return Message{}
}

// wantUp returns the next edge.up.
func (b *bed) wantUp() kazoo.EdgeUp {
	b.t.Helper()
	m, err := b.ups.NextMsg(10 * time.Second)
	if err != nil {
		b.t.Fatalf("no edge.up: %v", err)
	}
	d, err := kazoo.ReadEdgeUp(m.Data, "edge 1")
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// An edge says edge.up when it starts and when a message is missing. It handles a message that is sent again once.
func TestEdgeMissesNothing(t *testing.T) {
	b := newBed(t)
	if up := b.wantUp(); up.Incarnation != "e1" || len(up.Seen) != 0 {
		t.Fatalf("the first edge.up: %+v", up)
	}
	b.publish("a/1", 1, 1)
	b.wantMessage(1, false)
	b.publish("a/1", 3, 1)
	b.wantMessage(3, false)
	if up := b.wantUp(); up.Seen["a/1"] != 1 {
		t.Fatalf("edge.up at the gap: %+v", up)
	}
	b.publish("a/1", 2, 1)
	b.publish("a/1", 3, 1)
	b.publish("a/1", 4, 1)
	b.wantMessage(2, true)
	b.wantMessage(4, false)
	if c := b.edge.Counts(); c != (Counts{Duplicates: 1}) {
		t.Errorf("%+v", c)
	}
	if up := b.wantUp(); up.Seen["a/1"] != 4 {
		t.Errorf("edge.up after all: %+v", up)
	}
}

// An edge drops the messages of a former owner of a shard, and does not ask for them again.
func TestEdgeFencesFormerOwners(t *testing.T) {
	b := newBed(t)
	b.publish("b/1", 1, 5)
	b.wantMessage(1, false)
	b.publish("a/1", 1, 4)
	b.publish("b/1", 2, 5)
	b.wantMessage(2, false)
	if c := b.edge.Counts(); c != (Counts{Fenced: 1}) {
		t.Errorf("%+v", c)
	}
	if err := b.node.Publish("p.lamplight.notify.edge+1", []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	if m := <-b.messages; m.State != "no JSON" {
		t.Errorf("what can't be read: %+v", m)
	}
}

// The replies of watchers reach the node that sent the message, gathered into documents.
func TestRepliesAreGathered(t *testing.T) {
	b := newBed(t)
	b.publish("a/1", 7, 1)
	m := b.wantMessage(7, false)
	for range kazoo.MaxReplies + 1 {
		b.edge.ReplyAll(m, 200)
	}
	for _, want := range []int{kazoo.MaxReplies, 1} {
		r, err := b.replies.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		all, wrong, err := kazoo.ReadNotified(r.Data, "edge 1", nil)
		if err != nil || wrong > 0 || len(all) != want {
			t.Fatalf("%d replies, %d wrong, %v; want %d", len(all), wrong, err, want)
		}
		if e := all[0].Event.(presence.Notified); e.CallID != "c1" || e.Sequence != 7 || e.Reply != 200 || all[0].To.String() != "1@a.test" {
			t.Errorf("%+v", all[0])
		}
	}
}

// Replies may come at any moment while those that were gathered are sent.
func TestRepliesWhileOthersAreSent(t *testing.T) {
	b := newBed(t)
	var done sync.WaitGroup
	done.Go(func() {
		for range 5000 {
			b.edge.sendReplies()
		}
	})
	for i := range 5000 {
		b.edge.Reply("a", kazoo.Reply{Presentity: "1001@acme.example.com", CallID: "c", Sequence: uint32(i + 1), Code: 200})
	}
	done.Wait()
}

// An edge that stands in takes messages for watchers behind edges that are down, as one of several. It leaves those alone that name no
// edge. Its replies say for which edge they are. When it drains, it says so and takes no more of them.
func TestStandIn(t *testing.T) {
	s := natstest.Start(t, "")
	node := natstest.Connect(t, s)
	replies, err := node.SubscribeSync(subject.NotifiedTo("a"))
	if err != nil {
		t.Fatal(err)
	}
	ups, err := node.SubscribeSync(subject.AnyEdgeUp)
	if err != nil || node.Flush() != nil {
		t.Fatal(err)
	}
	messages := make(chan Message, 1000)
	var all []*Edge
	for _, name := range []string{"e1", "e2"} {
		e := New(Config{Conn: natstest.Connect(t, s), Name: name, StandIn: true, Handle: func(m Message) { messages <- m }})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Stop(context.Background()) })
		all = append(all, e)
		if _, err := ups.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(generation int, edge string) {
		t.Helper()
		doc := fmt.Sprintf(`{"Node":"a","Incarnation":"1","Edge-Seq":9,"Edge":%q,"Shard":3,"Generation":%d,"Epoch":"2026-11-23T10:00:00Z","Presentity":"1@a.test","Event-Package":"dialog",`+
			`"Sequence":7,"Targets":[{"Call-ID":"c1"}]}`, edge, generation)
		if err := node.Publish(subject.Notify(subject.AnyEdge), []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	next := func() Message {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(10 * time.Second):
			t.Fatal("a message never came")
			return Message{}
		}
	}
	publish(1, "")
	for range 20 {
		publish(2, "e9")
	}
	for range 20 {
		if m := next(); m.Edge != "e9" || m.Generation != 2 {
			t.Fatalf("%+v", m.Notify)
		}
	}
	all[0].ReplyAll(Message{Notify: &kazoo.Notify{Node: "a", Edge: "e9", Presentity: "1@a.test", Package: "dialog", Targets: []kazoo.Target{{CallID: "c1"}}}}, 200)
	r, err := replies.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := kazoo.ReadNotified(r.Data, "e1", func(edge string) bool { return edge == "e9" }); err != nil || got[0].Event.(presence.Notified).Edge != "e9" {
		t.Errorf("%v: %s", err, r.Data)
	}
	all[0].Drain(true)
	m, err := ups.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if up, err := kazoo.ReadEdgeUp(m.Data, "e1"); err != nil || !up.Draining {
		t.Errorf("%v: %s", err, m.Data)
	}
	if err := all[1].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); err != nats.ErrNoResponders; _, err = node.Request(subject.Notify(subject.AnyEdge), nil, 100*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("somebody still stands in: %v", err)
		}
	}
	if len(messages) != 0 {
		t.Errorf("a message came twice: %+v", <-messages)
	}
}

package route

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
	"lamplight/cluster/subject"
)

// lit lists lit lamps through a node.
func (n *nodes) lit(from string, q actors.Query, within time.Duration) (lamps map[string]*presence.View, order []string, cover actors.Coverage) {
	n.t.Helper()
	q.Realm, q.Lit = listed, true
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	lamps = map[string]*presence.View{}
	cover, err := n.of[from].router.List(ctx, q, func(s actors.SubscriptionView) error {
		lamps[s.User] = s.Lamp
		order = append(order, s.User)
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return lamps, order, cover
}

// same says whether two Views are the same. One that came from another node has its times in another location.
func same(a, b *presence.View) bool {
	if a.State != b.State || len(a.Dialogs) != len(b.Dialogs) {
		return false
	}
	for i := range a.Dialogs {
		x, y := a.Dialogs[i], b.Dialogs[i]
		if !x.Since.Equal(y.Since) || !x.Expires.Equal(y.Expires) {
			return false
		}
		x.Since, x.Expires, y.Since, y.Expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// What is listed is what a Show says of each extension, whatever lights it and whoever watches it, from each node, whole and in
// pages, with each filter.
func TestLitIsWhatShowSays(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	const extensions = 12
	users := make([]string, extensions)
	for i := range users {
		users[i] = fmt.Sprintf("%05d", i)
	}
	user, node := rapid.SampledFrom(users), rapid.SampledFrom(n.named)
	nth := 0
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 15).Draw(t, "events") {
			to := actors.Address{Realm: listed, User: user.Draw(t, "user")}
			name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
			states := rapid.SampledFrom([]presence.State{presence.Trying, presence.Early, presence.Confirmed, presence.Terminated})
			var m actors.Message
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				nth++ // a call that ended stays ended
				m = presence.CallEvent{CallID: fmt.Sprint(name, nth), State: states.Draw(t, "state"), Timestamp: time.Now().Add(-time.Duration(rapid.IntRange(0, 50).Draw(t, "age")) * time.Second)}
			case 1:
				m = presence.RegisterEvent{Name: name, State: states.Draw(t, "state")}
			case 2:
				m = presence.MailboxEvent{Source: name, Lamp: true, New: uint32(rapid.IntRange(0, 1).Draw(t, "new"))}
			case 3:
				m = presence.SetManual{State: rapid.SampledFrom([]presence.State{presence.Early, presence.Confirmed, presence.Terminated}).Draw(t, "manual")}
			case 4:
				m = presence.Subscribe{CallID: name, From: "w@list.test", ServerID: "edge", Expires: 600}
			case 5:
				m = presence.Reset{}
			}
			n.must(node.Draw(t, "through"), to, m)
		}
		q := actors.Query{State: rapid.SampledFrom([]presence.State{presence.None, presence.None, presence.Early, presence.Confirmed}).Draw(t, "only state"),
			Source: rapid.SampledFrom(append(presence.Sources[:], "", "")).Draw(t, "only source")}
		if rapid.IntRange(0, 2).Draw(t, "by age") == 0 {
			q.Until = time.Now().Add(-20 * time.Second)
		}
		want, order := map[string]*presence.View{}, []string(nil)
		for _, u := range users {
			v := n.must("a", actors.Address{Realm: listed, User: u}, actors.Show{}).View
			if v.State != presence.Early && v.State != presence.Confirmed || q.State != presence.None && v.State != q.State || q.Source != "" && v.Dialogs[0].Source != q.Source ||
				!q.Until.IsZero() && v.Dialogs[0].Since.After(q.Until) {
				continue
			}
			want[u], order = v, append(order, u)
		}
		check := func(what string, got map[string]*presence.View, listed []string, cover actors.Coverage) {
			if !slices.Equal(listed, order) || cover.Missing != nil {
				t.Fatalf("%s: %v is listed, %v is lit; %v missing", what, listed, order, cover.Missing)
			}
			for u := range want {
				if !same(got[u], want[u]) {
					t.Fatalf("%s: %s is listed as %+v and shown as %+v", what, u, got[u], want[u])
				}
			}
		}
		from := node.Draw(t, "from")
		got, sorted, cover := n.lit(from, q, 20*time.Second)
		check("whole", got, sorted, cover)
		q.Limit = rapid.IntRange(1, 3).Draw(t, "page size")
		all, inOrder := map[string]*presence.View{}, []string(nil)
		for {
			page, users, cover := n.lit(from, q, 20*time.Second)
			if len(users) > q.Limit || cover.Next != "" && len(users) < q.Limit {
				t.Fatalf("a page of %d has %d lamps, next %q", q.Limit, len(users), cover.Next)
			}
			for _, u := range users {
				all[u], inOrder = page[u], append(inOrder, u)
			}
			if q.From = cover.Next; q.From == "" {
				check("in pages", all, inOrder, cover)
				return
			}
		}
	})
}

// A page of a few lit lamps, or of a few subscriptions to one event package, among many other extensions takes a few questions to each
// node.
func TestFewAmongMany(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	n.fill(3000)
	for _, u := range []string{"00010", "02995", "02999"} {
		n.must("a", actors.Address{Realm: listed, User: u}, presence.SetManual{State: presence.Early})
	}
	before := counted(n.of["a"].router.metrics.remote)
	if _, users, cover := n.lit("a", actors.Query{Limit: 2}, 20*time.Second); !slices.Equal(users, []string{"00010", "02995"}) || cover.Next != "02999" || cover.Missing != nil {
		t.Errorf("%v, %+v", users, cover)
	}
	if asked := counted(n.of["a"].router.metrics.remote) - before; asked > 5 {
		t.Errorf("it took %v questions", asked)
	}
	for _, u := range []string{"00020", "02990"} {
		n.must("a", actors.Address{Realm: listed, User: u}, presence.Subscribe{Package: presence.Presence, CallID: "p", From: "w@list.test", ServerID: "edge", Expires: 600})
	}
	before = counted(n.of["a"].router.metrics.remote)
	rows, cover := n.list("a", actors.Query{Limit: 2, Package: presence.Presence, HasPackage: true}, 20*time.Second)
	if !slices.Equal(rows, []string{"00020 p", "02990 p"}) || cover.Next != "" || cover.Missing != nil {
		t.Errorf("%v, %+v", rows, cover)
	}
	if asked := counted(n.of["a"].router.metrics.remote) - before; asked > 5 {
		t.Errorf("it took %v questions", asked)
	}
}

// A node of the release before does not know the question. Its shards are named as missing, soon, and all others are listed.
func TestLitBesideAnOlderNode(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	older := n.connect()
	if _, err := older.Subscribe("test."+subject.Node("old"), func(m *nats.Msg) {
		b, err := wire.ReadBatch(m.Data)
		if err != nil {
			t.Error(err)
			return
		}
		out := wire.AppendHead(nil, presence.Schema, "old")
		for _, c := range b.Calls { // this is what that release answers to a message that it does not know
			refusal := actors.Answer{Err: fmt.Errorf("%w: this node's release does not know the message; upgrade the node", presence.ErrInvalid)}
			out = wire.AppendPart(out, wire.Part{ID: c.ID, Failed: true}, wire.AppendAnswer(nil, &refusal))
		}
		_ = older.Publish("test."+subject.Answers(b.From)+"0", out)
	}); err != nil {
		t.Fatal(err)
	}
	if err := older.Flush(); err != nil {
		t.Fatal(err)
	}
	var lit []string
	for i := range 30 {
		to := actors.Address{Realm: listed, User: fmt.Sprintf("%05d", i)}
		n.must("a", to, presence.SetManual{State: presence.Confirmed})
		lit = append(lit, to.User)
	}
	lost := actors.ShardOf(actors.Address{Realm: listed, User: lit[3]})
	n.drop(lost, n.table.Holder(lost))
	n.table.set(lost, "old")
	n.named = []string{"a", "b", "old"}
	begun := time.Now()
	_, got, cover := n.lit("a", actors.Query{}, 20*time.Second)
	lit = slices.DeleteFunc(lit, func(u string) bool { return actors.ShardOf(actors.Address{Realm: listed, User: u}) == lost })
	if !slices.Equal(got, lit) || !slices.Equal(cover.Missing, []int{lost}) {
		t.Errorf("%v is listed, %v missing", got, cover.Missing)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

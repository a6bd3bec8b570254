package route

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

const listed = "list.test"

// watchers returns how many watchers the nth extension has.
func watchers(nth int) int {
	if nth%10 == 1 {
		return 3
	}
	return 1
}

// fill makes subscriptions to extensions, and returns the rows that a listing of them gives.
func (n *nodes) fill(extensions int) (rows []string) {
	n.t.Helper()
	var done sync.WaitGroup
	for i := range extensions {
		to := actors.Address{Realm: listed, User: fmt.Sprintf("%05d", i)}
		for w := range watchers(i) {
			done.Add(1)
			call := fmt.Sprintf("call-%d-%d", i, w)
			rows = append(rows, to.User+" "+call)
			n.of[n.named[i%len(n.named)]].router.Go(actors.Request{To: to, Message: presence.Subscribe{CallID: call, From: "w@list.test", ServerID: "edge", Expires: 600}}, func(a actors.Answer) {
				if a.Err != nil {
					n.t.Error(a.Err)
				}
				done.Done()
			})
		}
	}
	done.Wait()
	return rows
}

func (n *nodes) list(from string, q actors.Query, within time.Duration) (rows []string, cover actors.Coverage) {
	n.t.Helper()
	q.Realm = listed
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cover, err := n.of[from].router.List(ctx, q, func(s actors.SubscriptionView) error {
		rows = append(rows, s.User+" "+s.CallID)
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return rows, cover
}

func TestListingOverThreeNodes(t *testing.T) {
	three, one := startNodes(t, nil, "a", "b", "c"), startNodes(t, nil, "a")
	const extensions = 1600 // several stretches of each node
	want := three.fill(extensions)
	one.fill(extensions)
	for _, from := range three.named {
		rows, cover := three.list(from, actors.Query{Bodies: true}, 20*time.Second)
		if !slices.Equal(rows, want) || cover.Missing != nil || cover.Next != "" || cover.Stale || cover.Sequence == 0 {
			t.Errorf("from %s: %d rows of %d, %+v", from, len(rows), len(want), cover)
		}
	}
	if rows, cover := one.list("a", actors.Query{}, 20*time.Second); !slices.Equal(rows, want) || cover.Missing != nil {
		t.Errorf("of one node: %d rows of %d, %+v", len(rows), len(want), cover)
	}
	for _, size := range []int{7, 600} {
		var rows [2][]string
		for i, n := range []*nodes{three, one} {
			next, pages := "", 0
			for pages = 0; pages < 4; pages++ {
				part, cover := n.list("a", actors.Query{From: next, Limit: size}, 20*time.Second)
				rows[i] = append(rows[i], part...)
				if next = cover.Next; next == "" {
					break
				}
			}
			if pages < 4 && len(rows[i]) != len(want) {
				t.Errorf("pages of %d end after %d rows", size, len(rows[i]))
			}
		}
		if !slices.Equal(rows[0], rows[1]) || !slices.Equal(rows[0], want[:len(rows[0])]) {
			t.Errorf("pages of %d: %d rows of three nodes, %d of one", size, len(rows[0]), len(rows[1]))
		}
	}
	if rows, cover := three.list("b", actors.Query{Package: presence.Presence, HasPackage: true}, 20*time.Second); rows != nil || cover.Missing != nil {
		t.Errorf("of another package: %d rows, %+v", len(rows), cover)
	}
	stop := errors.New("enough")
	if _, err := three.of["a"].router.List(context.Background(), actors.Query{Realm: listed}, func(actors.SubscriptionView) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a caller that stops: %v", err)
	}
}

// without returns the rows without those of some shards.
func without(rows []string, shards ...int) (rest []string) {
	for _, r := range rows {
		if !slices.Contains(shards, actors.ShardOf(actors.Address{Realm: listed, User: r[:5]})) {
			rest = append(rest, r)
		}
	}
	return rest
}

func TestListingNamesHoles(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	want := n.fill(900)
	first, second := actors.ShardOf(actors.Address{Realm: listed, User: "00000"}), actors.ShardOf(actors.Address{Realm: listed, User: "00500"})
	owner := n.table.Holder(second)
	n.drop(first, n.table.Holder(first))
	n.drop(second, owner)
	holes := []int{min(first, second), max(first, second)}
	if rows, cover := n.list("a", actors.Query{}, 2*time.Second); !slices.Equal(cover.Missing, holes) || !slices.Equal(rows, without(want, holes...)) {
		t.Errorf("%d rows, %+v, want %v missing", len(rows), cover.Missing, holes)
	}
	// A shard that gets an owner in time is not missing.
	type answer struct {
		rows  []string
		cover actors.Coverage
	}
	got := make(chan answer, 1)
	go func() {
		rows, cover := n.list("a", actors.Query{}, time.Minute)
		got <- answer{rows, cover}
	}()
	n.take(first, "b")
	n.take(second, "c")
	if g := <-got; g.cover.Missing != nil || !slices.Equal(g.rows, want) {
		t.Errorf("%d rows, %v missing", len(g.rows), g.cover.Missing)
	}
	// If a node does not answer, only its own shards are missing.
	n.mute("mute")
	n.table.set(first, "mute")
	n.of["b"].system.Drop(first, allInDoubt)
	n.named = []string{"a", "b", "c", "mute"}
	if rows, cover := n.list("a", actors.Query{}, 3*time.Second); !slices.Equal(cover.Missing, []int{first}) || !slices.Equal(rows, without(want, first)) {
		t.Errorf("with a mute node: %d rows, %v missing", len(rows), cover.Missing)
	}
}

// When two nodes say that a shard is theirs, the later owner counts. A node without a fresh lease does not count.
func TestListingOfAShardSeenTwice(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	n.fill(300)
	to := actors.Address{Realm: listed, User: "00001"}
	shard := actors.ShardOf(to)
	old := n.table.Holder(shard)
	next := n.named[(slices.Index(n.named, old)+1)%3]
	n.take(shard, next) // the old owner was not told
	n.must(next, to, presence.Subscribe{CallID: "newer", From: "w@list.test", Expires: 600})
	for _, from := range n.named {
		rows, cover := n.list(from, actors.Query{}, 20*time.Second)
		if cover.Missing != nil || !slices.Contains(rows, "00001 newer") || len(rows) != 361 {
			t.Errorf("from %s: %d rows, newer among them: %v, %v missing", from, len(rows), slices.Contains(rows, "00001 newer"), cover.Missing)
		}
	}
	n.of[next].journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Unsure })
	from := n.named[(slices.Index(n.named, old)+2)%3]
	if _, cover := n.list(from, actors.Query{}, 3*time.Second); len(cover.Missing) < 300 || slices.Contains(cover.Missing, shard) {
		t.Errorf("%d shards missing of a node without a lease", len(cover.Missing))
	}
	n.of[next].journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
}

func TestRealmCommands(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	n.fill(200)
	for i := range 200 {
		n.must("a", actors.Address{Realm: listed, User: fmt.Sprintf("%05d", i)}, presence.SetManual{State: presence.Confirmed})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// One shard has no owner for a while.
	late := actors.Address{Realm: listed, User: "00007"}
	shard := actors.ShardOf(late)
	n.drop(shard, n.table.Holder(shard))
	done := make(chan error, 1)
	go func() {
		cover, err := n.of["b"].router.ResetRealm(ctx, listed, presence.Origin{})
		if err == nil && (cover.Missing != nil || cover.Extensions != 200) {
			err = fmt.Errorf("%v missing, %d extensions reset", cover.Missing, cover.Extensions)
		}
		done <- err
	}()
	until(t, "the others are reset", func() bool {
		a := n.of["c"].ask(actors.Address{Realm: listed, User: "00008"}, actors.Show{}, time.Second)
		return a.Err == nil && a.View.State == presence.Terminated
	})
	n.take(shard, "b")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		to := actors.Address{Realm: listed, User: fmt.Sprintf("%05d", i)}
		if a := n.must("c", to, actors.Show{}); a.View.State != presence.Terminated || len(a.Subscriptions) != watchers(i) || n.table.count(to) != 2 {
			t.Fatalf("%v: %v, %d subscriptions, %d manual states written", to, a.View.State, len(a.Subscriptions), n.table.count(to))
		}
	}
	// An owner that died may have carried the command out: the coverage names its shard, which is not asked again.
	dead := n.mute("dead")
	n.table.set(shard, "dead")
	n.of["b"].system.Drop(shard, allInDoubt)
	unknown := make(chan error, 1)
	var cover actors.Coverage
	go func() {
		var err error
		cover, err = n.of["a"].router.EndRealm(ctx, listed)
		unknown <- err
	}()
	until(t, "it is asked", func() bool { return len(dead.heard()) == 1 })
	n.take(shard, "b")
	n.of["a"].router.Gone("dead")
	if err := <-unknown; !errors.Is(err, actors.ErrUnknown) || !slices.Equal(cover.Missing, []int{shard}) {
		t.Errorf("%v, %v missing", err, cover.Missing)
	}
	if rows, _ := n.list("a", actors.Query{}, 10*time.Second); !slices.Equal(without(rows, shard), nil) || len(rows) == 0 {
		t.Errorf("%d rows are left", len(rows))
	}
	if m := dead.heard()[0].Command; m == nil || !reflect.DeepEqual(m.Only.List(), []int{shard}) {
		t.Errorf("asked %+v", m)
	}
}

// A node that owns all shards sends no message for a listing, a command or a read.
func TestAloneAsksNoOne(t *testing.T) {
	n := startNodes(t, nil, "a")
	all, err := n.of["a"].conn.SubscribeSync("test.>")
	if err != nil {
		t.Fatal(err)
	}
	want := n.fill(20)
	if rows, cover := n.list("a", actors.Query{}, 10*time.Second); !slices.Equal(rows, want) || cover.Missing != nil {
		t.Errorf("%d rows, %+v", len(rows), cover)
	}
	if _, err := n.of["a"].router.ResetRealm(context.Background(), listed, presence.Origin{}); err != nil {
		t.Error(err)
	}
	n.must("a", n.at("a", 0), actors.Show{})
	if err := n.of["a"].conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := all.NextMsg(time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("%v was sent", m)
	}
	shard := actors.ShardOf(actors.Address{Realm: listed, User: "00003"})
	n.drop(shard, "a")
	if rows, cover := n.list("a", actors.Query{}, time.Second); !slices.Equal(rows, without(want, shard)) || !slices.Equal(cover.Missing, []int{shard}) {
		t.Errorf("%d rows, %+v", len(rows), cover)
	}
}

package route

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// The calls of a switch that is gone end on all nodes, those of others stay, and calls of which it tells again live, whoever owns their
// shard by then. Older news that comes late lights nothing, also at a later owner of the shard.
func TestEndSwitch(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	begun := time.Now().Add(-30 * time.Second)
	gone := begun.Add(20 * time.Second)
	at := func(i int) actors.Address { return actors.Address{Realm: listed, User: fmt.Sprintf("%05d", i)} }
	news := func(i int, name string, when time.Time) presence.CallEvent {
		return presence.CallEvent{CallID: fmt.Sprint("call-", i), State: presence.Confirmed, Timestamp: when, SwitchURI: "sip:" + name, From: at(i).String(), To: "x@y"}
	}
	for i := range 200 {
		n.must("a", at(i), news(i, []string{"one", "two"}[i%2], begun.Add(time.Duration(i)*time.Millisecond)))
	}
	n.must("b", at(2), news(2, "one", gone.Add(time.Second))) // told again before
	total := 0
	for _, node := range n.of {
		total += node.system.Switches()["sip:one"]
	}
	if total != 100 {
		t.Errorf("%d calls of the switch are counted", total)
	}

	late := actors.ShardOf(at(4))
	n.drop(late, n.table.Holder(late)) // it has no owner for a while
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	type end struct {
		cover actors.Coverage
		err   error
	}
	done := make(chan end, 1)
	go func() {
		cover, err := n.of["b"].router.EndSwitch(ctx, presence.SwitchGone{Switch: "sip:one", Before: gone})
		done <- end{cover, err}
	}()
	until(t, "the others end", func() bool {
		a := n.of["c"].ask(at(0), actors.Show{}, time.Second)
		return a.Err == nil && a.View.State == presence.Terminated
	})
	n.take(late, "c")
	if e := <-done; e.err != nil || e.cover.Extensions != 99 {
		t.Errorf("%v, %d calls ended", e.err, e.cover.Extensions)
	}
	lit := func(i int) bool {
		t.Helper()
		return n.must("c", at(i), actors.Show{}).View.State == presence.Confirmed
	}
	for i := range 200 {
		if want := i%2 == 1 || i == 2; lit(i) != want {
			t.Errorf("the lamp of %d: lit %v", i, !want)
		}
	}

	// All shards move.
	for shard := range actors.Shards {
		old := n.table.Holder(shard)
		n.drop(shard, old)
		n.take(shard, map[string]string{"a": "b", "b": "c", "c": "a"}[old])
	}
	n.must("a", at(6), news(6, "one", begun.Add(time.Second)))          // of a call that has ended
	n.must("a", at(1000), news(1000, "one", begun.Add(19*time.Second))) // of a call of which nothing was known
	n.must("a", at(8), news(8, "one", gone.Add(time.Second)))           // told again after
	n.must("a", at(1001), news(1001, "one", gone))                      // begun since
	n.must("a", at(1002), news(1002, "two", begun.Add(19*time.Second))) // of another switch
	for i, want := range map[int]bool{6: false, 1000: false, 8: true, 1001: true, 1002: true, 0: false, 1: true, 2: true} {
		if lit(i) != want {
			t.Errorf("after the takeover, the lamp of %d: lit %v", i, !want)
		}
	}
	// To say it again ends nothing more.
	if cover, err := n.of["a"].router.EndSwitch(ctx, presence.SwitchGone{Switch: "sip:one", Before: gone}); err != nil || cover.Extensions != 0 {
		t.Errorf("%v, %d calls ended again", err, cover.Extensions)
	}
	if cover, err := n.of["a"].router.EndSwitch(ctx, presence.SwitchGone{Switch: "sip:one"}); err != nil || cover.Extensions != 3 {
		t.Errorf("%v, %d calls ended that live until now", err, cover.Extensions)
	}
}

// Only the first shard of the journal's stream writes that a switch is gone. Of two moments it keeps the later one.
func TestEndSwitchWritesLittle(t *testing.T) {
	n := startNodes(t, nil, "a")
	to := actors.Address{Realm: listed, User: "1"}
	n.must("a", to, presence.CallEvent{CallID: "c", State: presence.Early, SwitchURI: "sip:one", From: to.String(), To: "x@y"})
	before := n.table.kept()
	cover, err := n.of["a"].router.EndSwitch(t.Context(), presence.SwitchGone{Switch: "sip:one"})
	if wrote := n.table.kept() - before; err != nil || cover.Extensions != 1 || wrote != 1 { // the record of the call takes the place of the one before
		t.Errorf("%v, %d calls ended, %d records written", err, cover.Extensions, wrote)
	}
	if _, err := n.of["a"].router.EndSwitch(t.Context(), presence.SwitchGone{Switch: "sip:one", Before: time.Now().Add(-time.Minute)}); err != nil {
		t.Error(err)
	}
	for _, r := range n.table.records[0] {
		if g, err := presence.ReadGone(r.Data); r.Kind == presence.KindGone && (err != nil || time.Since(g.Before) > 30*time.Second) {
			t.Errorf("a command of an earlier moment left %+v, %v", g, err)
		}
	}
}

// A shard whose owner dies while a switch's calls end is asked again: that does no harm.
func TestEndSwitchAgain(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := actors.Address{Realm: listed, User: "1"}
	n.must("a", to, presence.CallEvent{CallID: "c", State: presence.Early, SwitchURI: "sip:one", From: to.String(), To: "x@y"})
	shard := actors.ShardOf(to)
	dead := n.mute("dead")
	n.table.set(shard, "dead")
	for _, node := range n.of {
		node.system.Drop(shard, allInDoubt)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		cover, err := n.of["a"].router.EndSwitch(ctx, presence.SwitchGone{Switch: "sip:one"})
		if err == nil && cover.Extensions != 1 {
			err = fmt.Errorf("%d calls ended", cover.Extensions)
		}
		done <- err
	}()
	until(t, "it is asked", func() bool { return len(dead.heard()) == 1 })
	n.take(shard, "b")
	n.of["a"].router.Gone("dead")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Invented switches fill neither the memory nor the journal: past a bound no more are remembered in a while, and whoever says so learns it at once. A switch
// that is known can be gone again. Requests are answered meanwhile.
func TestManySwitchesGone(t *testing.T) {
	const most = 1000
	n := startNodes(t, nil, "a")
	names := func(i int) string {
		return fmt.Sprintf("sip:*.>%d\x00 %s", i, strings.Repeat("x", presence.MaxSwitch-20))
	}
	var slowest time.Duration
	for i := range most {
		if _, err := n.of["a"].router.EndSwitch(t.Context(), presence.SwitchGone{Switch: names(i)}); err != nil {
			t.Fatalf("%d switches: %v", i, err)
		}
		if i%50 == 0 {
			begun := time.Now()
			n.must("a", n.at("a", i), actors.Show{})
			slowest = max(slowest, time.Since(begun))
		}
	}
	begun := time.Now()
	_, err := n.of["a"].router.EndSwitch(t.Context(), presence.SwitchGone{Switch: names(most)})
	if took := time.Since(begun); !errors.Is(err, actors.ErrBusy) || took > time.Second {
		t.Errorf("one switch more: %v after %v", err, took)
	}
	if _, err := n.of["a"].router.EndSwitch(t.Context(), presence.SwitchGone{Switch: names(7)}); err != nil {
		t.Errorf("a known one again: %v", err)
	}
	if kept := n.table.kept(); kept != most {
		t.Errorf("%d records are kept", kept)
	}
	if slowest > 2*time.Second {
		t.Errorf("a read took %v", slowest)
	}
	t.Logf("the slowest read took %v", slowest)
}

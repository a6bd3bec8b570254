package bench

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// smallWorld makes the model of a world with one extension, whose four watchers are behind two edges.
func smallWorld(t *testing.T) *model {
	t.Helper()
	s := Settings{Scenario: "fanout", Subscriptions: 4, Edges: 2}
	s.Defaults()
	m := newModel(newWorld(&s, "run", rand.New(rand.NewPCG(1, 1))))
	m.meter.Store(newMeter(time.Now()))
	return m
}

func TestNamesLeadBack(t *testing.T) {
	s := Settings{Scenario: "blf", Extensions: 3000}
	s.Defaults()
	w := newWorld(&s, "run", rand.New(rand.NewPCG(7, 7)))
	seen := 0
	for x := range int32(w.extensions()) {
		if got := w.findExtension(strings.ToLower(w.address(x))); got != x {
			t.Fatalf("%s leads to %d, not %d", w.address(x), got, x)
		}
		for _, i := range w.watchersOf(x) {
			seen++
			if w.watched[i] != x || w.findWatcher(w.callID(i)) != i {
				t.Fatalf("watcher %d of %d", i, x)
			}
		}
	}
	if seen != 60_000 {
		t.Errorf("%d watchers", seen)
	}
	for _, a := range w.accounts {
		if a.size < 1 || a.size > 3000 {
			t.Errorf("an account of %d", a.size)
		}
	}
	for _, stranger := range []string{"", "1000", "999@" + w.accounts[0].realm, "x@" + w.accounts[0].realm, "1000@elsewhere"} {
		if w.findExtension(stranger) >= 0 {
			t.Errorf("%q is known", stranger)
		}
	}
	for _, stranger := range []string{"", "1", "1-other", "-1-run", "60000-run"} {
		if w.findWatcher(stranger) >= 0 {
			t.Errorf("%q is known", stranger)
		}
	}
}

// notify gives the model a NOTIFY message about the small world's extension.
func notify(m *model, l lamp, sequence int64, watchers ...int32) {
	m.hear(&notification{extension: 0, watchers: watchers, state: l, sequence: sequence, epoch: time.Unix(1, 0), heardAt: time.Now()})
}

func toldCount(m *model) int64 {
	for _, o := range m.meter.Load().operations(time.Second) {
		if o.Name == "told" {
			return o.Count
		}
	}
	return 0
}

func TestChangeIsToldWithItsLastWatcher(t *testing.T) {
	m := smallWorld(t)
	notify(m, terminated, 1, 0, 1, 2, 3)
	m.change(0, early, time.Now())
	notify(m, early, 2, 0, 2)
	if _, stuck, _ := m.behind(); stuck != 2 || toldCount(m) != 0 {
		t.Errorf("%d stuck, %d told", stuck, toldCount(m))
	}
	m.change(0, confirmed, time.Now())
	notify(m, confirmed, 3, 0, 2) // one edge is ahead of the other
	notify(m, early, 2, 1, 3)
	if toldCount(m) != 1 {
		t.Errorf("%d told", toldCount(m))
	}
	notify(m, confirmed, 3, 1, 3)
	if never, stuck, _ := m.behind(); toldCount(m) != 2 || never+stuck != 0 || m.replaced.Load() != 0 {
		t.Errorf("%d told, %d and %d behind, %d replaced", toldCount(m), never, stuck, m.replaced.Load())
	}
	if m.mistakeCount.Load()+m.duplicates.Load()+m.outOfOrder.Load() != 0 {
		t.Errorf("%v", m.mistakes.list())
	}
}

func TestReplacedChangeIsNotLost(t *testing.T) {
	m := smallWorld(t)
	notify(m, terminated, 1, 0, 1, 2, 3)
	m.change(0, early, time.Now())
	m.change(0, confirmed, time.Now())
	notify(m, confirmed, 2, 0, 1, 2, 3)
	if _, stuck, _ := m.behind(); stuck != 0 || toldCount(m) != 1 || m.replaced.Load() != 1 {
		t.Errorf("%d stuck, %d told, %d replaced", stuck, toldCount(m), m.replaced.Load())
	}
}

// TestWrongIsSeen forges each kind of mistake, and the model must count it.
func TestWrongIsSeen(t *testing.T) {
	verdict := func(f func(m *model)) Verdict {
		m := smallWorld(t)
		notify(m, terminated, 5, 0, 1, 2, 3)
		m.change(0, early, time.Now())
		notify(m, early, 6, 0, 1, 2, 3)
		f(m)
		v := Verdict{OutOfOrder: m.outOfOrder.Load(), Duplicates: m.duplicates.Load(), Mistakes: m.mistakeCount.Load()}
		v.Never, v.Stuck, _ = m.behind()
		return v
	}
	for name, c := range map[string]struct {
		do   func(m *model)
		want Verdict
	}{
		"right":        {func(*model) {}, Verdict{}},
		"stuck":        {func(m *model) { m.change(0, confirmed, time.Now()); notify(m, confirmed, 7, 0, 1, 2) }, Verdict{Stuck: 1}},
		"back":         {func(m *model) { notify(m, early, 5, 2) }, Verdict{OutOfOrder: 1, Mistakes: 1}},
		"twice":        {func(m *model) { notify(m, early, 6, 2) }, Verdict{Duplicates: 1}},
		"a stranger":   {func(m *model) { notify(m, early, 7, -1) }, Verdict{Mistakes: 1}},
		"another lamp": {func(m *model) { m.hear(&notification{extension: -1}) }, Verdict{Mistakes: 1}},
		"a new epoch": {func(m *model) {
			m.hear(&notification{extension: 0, watchers: []int32{1}, state: early, sequence: 1, epoch: time.Unix(2, 0)})
		}, Verdict{}},
		"an old, again": {func(m *model) {
			m.hear(&notification{extension: 0, watchers: []int32{1}, sequence: 5, epoch: time.Unix(1, 0), repeated: true})
		}, Verdict{}},
	} {
		got := verdict(c.do)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if got.Right() != cmp.Equal(c.want, Verdict{}) {
			t.Errorf("%s: right is %v", name, got.Right())
		}
	}
	if m := smallWorld(t); true {
		if never, _, _ := m.behind(); never != 4 {
			t.Errorf("%d watchers were never told", never)
		}
	}
}

// message is a NOTIFY message as docs/contract/nats.md, "NOTIFY", describes it, for the small world.
func message(m *model, number, generation, sequence, state string) []byte {
	return []byte(`{"App-Name":"lamplight","Event-Name":"notify","Node":"a","Incarnation":"7f","Edge-Seq":` + number + `,"Shard":17,"Generation":` + generation +
		`,"Epoch":"2026-11-23T10:00:00Z","Presentity":"` + m.world.address(0) + `","Event-Package":"dialog","State":"` + state + `","Sequence":` + sequence +
		`,"Body":"<dialog-info version=\"1\" \"State\":\"x\">","Targets":[{"Call-ID":"0-run","From":"a","Subscription-State":"active"},{"Call-ID":"1-run","From-Tag":"b"}]}`)
}

func TestEdgeHears(t *testing.T) {
	m := smallWorld(t)
	e := newEdge("bench-0-run", nil, m)
	m.change(0, early, time.Now())
	e.Hear(message(m, "1", "3", "9", "early"))
	for _, i := range []int{0, 1} {
		if w := m.watchers[i]; !w.told || w.lamp != early || w.sequence != 9 {
			t.Errorf("watcher %d: %+v", i, w)
		}
	}
	e.Hear(message(m, "1", "3", "9", "early")) // a duplicate
	e.Hear(message(m, "3", "4", "11", "confirmed"))
	e.Hear(message(m, "2", "3", "10", "early")) // of a former owner
	if c := e.Counts(); c.Duplicates != 1 || c.Fenced != 1 || m.watchers[0].lamp != confirmed {
		t.Errorf("%+v, %+v", c, m.watchers[0])
	}
	if m.mistakeCount.Load() != 0 {
		t.Error(m.mistakes.list())
	}
	e.Hear([]byte("?"))
	if m.mistakeCount.Load() != 1 {
		t.Error("the edge takes \"?\" for a NOTIFY")
	}
}

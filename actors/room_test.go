package actors_test

import (
	"errors"
	"strconv"
	"testing"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

// An account gets no more subscriptions at a node than it may have there. Refreshes, and the new subscription of a phone that was started
// again, pass. What the node takes over is kept, however much it is, and the count is right after that too.
func TestRoom(t *testing.T) {
	s := open(t, 100)
	full := errors.New("full")
	var sure int64 = 2
	s.sys.SetRoom(func(realm string, holds int64) error {
		if realm != "acme.test" {
			t.Errorf("asked about %s", realm)
		}
		if holds > sure {
			return full
		}
		return nil
	})
	s.journal.Set(func(j *actorstest.Settings) { j.Hold = false })
	subscribe := func(n int, call string, expires int) error {
		return (<-s.ask(s.extension(n), presence.Subscribe{CallID: call, From: "9@acme.test", Contact: "<sip:9@10.0.0." + strconv.Itoa(n) + ">", Expires: expires}, 0)).Err
	}
	check := func(what string, err, want error, holds int) {
		t.Helper()
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := s.gauge("lamplight_subscriptions", "dialog"); n != float64(holds) {
			t.Errorf("%s: the metric shows %v subscriptions, and not %d", what, n, holds)
		}
		if n := s.sys.Subscriptions()["acme.test"]; n != holds {
			t.Errorf("%s: the node counts %d subscriptions, and not %d", what, n, holds)
		}
	}
	check("the first", subscribe(0, "a", 600), nil, 1)
	check("the second", subscribe(1, "b", 600), nil, 2)
	check("one too many", subscribe(2, "c", 600), full, 2)
	check("a refresh", subscribe(0, "a", 600), nil, 2)
	check("a phone that was started again", subscribe(1, "b2", 600), nil, 2)
	check("a fetch", subscribe(2, "d", 0), nil, 2)
	check("an end", subscribe(0, "a", 0), nil, 1)
	check("the place that it left", subscribe(2, "c", 600), nil, 2)

	s.sys.Drop(s.shard, 0)
	sure = 1
	s.sys.Open(s.shard, actors.Opening{Claim: actors.Claim{Generation: 2}, Records: s.kept.All()})
	check("a refresh after a takeover", subscribe(2, "c", 600), nil, 2)
	check("one too many after a takeover", subscribe(3, "e", 600), full, 2)
}

// has is the value of a gauge with a label; -1: there is none.
func (s *stage) has(name, label string) float64 {
	s.Helper()
	all, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// gauge is has, of a gauge that there must be.
func (s *stage) gauge(name, label string) float64 {
	s.Helper()
	v := s.has(name, label)
	if v < 0 {
		s.Fatalf("no metric %s of %s", name, label)
	}
	return v
}

package edge

import (
	"testing"
	"time"
)

func TestGaps(t *testing.T) {
	all := sources{}
	for _, c := range []struct {
		n                 int64
		again, twice, gap bool
		seen              int64
	}{{1, false, false, false, 1}, {2, false, false, false, 2}, {2, true, true, false, 2}, {5, false, false, true, 2}, {6, false, false, false, 2}, {5, true, true, false, 2},
		{4, true, false, false, 2}, {3, true, false, false, 6}, {7, false, false, false, 7}} {
		a := all.note("a/1", c.n, 0, time.Now())
		again, twice, gap := a.repeated, a.duplicate, a.gap
		if seen := all.report(time.Now())["a/1"]; again != c.again || twice != c.twice || gap != c.gap || seen != c.seen {
			t.Errorf("%d: again %v, twice %v, gap %v, seen %d", c.n, again, twice, gap, seen)
		}
	}
	if all.note("a/2", 1, 0, time.Now()).duplicate {
		t.Error("another incarnation counts anew")
	}
}

// The edge takes missing messages for lost after some time, and when too many messages have come behind them.
func TestWhatWontComeIsNotWaitedFor(t *testing.T) {
	all, now := sources{}, time.Unix(1000, 0)
	all.note("a/1", 1, 0, now)
	all.note("a/1", 9, 0, now)
	if seen := all.report(now.Add(patience))["a/1"]; seen != 1 {
		t.Errorf("seen %d while 2 may come", seen)
	}
	now = now.Add(patience + time.Second)
	if seen := all.report(now)["a/1"]; seen != 9 {
		t.Errorf("seen %d after 16 s", seen)
	}
	if a := all.note("a/1", 10, 0, now); a != (arrival{}) {
		t.Errorf("10 follows 9: %+v", a)
	}
	for n := range int64(maxBeyond + 2) {
		all.note("a/1", 100+n, 0, now)
	}
	if n := len(all["a/1"].beyond); n > maxBeyond {
		t.Errorf("%d messages wait behind a gap", n)
	}
}

// The edge forgets the earlier incarnations of a node that was started again. It does not forget a node that is only silent.
func TestEarlierIncarnationsAreForgotten(t *testing.T) {
	all, now := sources{}, time.Unix(1000, 0)
	all.note("a/1", 1, 0, now)
	all.note("b/x/1", 4, 0, now)
	all.note("a/2", 1, 0, now.Add(time.Second))
	if seen := all.report(now.Add(time.Hour)); len(seen) != 3 {
		t.Errorf("right after the restart: %v", seen)
	}
	all.note("a/2", 2, 0, now.Add(time.Minute))
	if seen := all.report(now.Add(time.Hour)); len(seen) != 2 || seen["a/2"] != 2 || seen["b/x/1"] != 4 {
		t.Errorf("later: %v", seen)
	}
}

// An edge begins with the first number that its node says it needs, and goes on there when the node has forgotten it.
func TestFirst(t *testing.T) {
	all, now := sources{}, time.Unix(1000, 0)
	for _, c := range []struct {
		n, first int64
		want     arrival
		seen     int64
	}{
		{102, 101, arrival{gap: true}, 100}, // 101 is missing
		{101, 101, arrival{repeated: true}, 102},
		{103, 101, arrival{}, 103},
		{105, 101, arrival{gap: true}, 103},
		{501, 501, arrival{}, 501}, // the node has forgotten the edge meanwhile: 104 will not come
		{502, 501, arrival{}, 502},
		{503, 900, arrival{}, 503}, // nonsense
	} {
		if a := all.note("a/1", c.n, c.first, now); a != c.want || all.report(now)["a/1"] != c.seen {
			t.Errorf("%d, first %d: %+v, seen %d; want %+v, %d", c.n, c.first, a, all.report(now)["a/1"], c.want, c.seen)
		}
	}
}

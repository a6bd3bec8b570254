package gaps

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTake(t *testing.T) {
	all := Sources{}
	for _, c := range []struct {
		n                 int64
		again, twice, gap bool
		seen              int64
	}{{1, false, false, false, 1}, {2, false, false, false, 2}, {2, true, true, false, 2}, {5, false, false, true, 2}, {6, false, false, false, 2}, {5, true, true, false, 2},
		{4, true, false, false, 2}, {3, true, false, false, 6}, {7, false, false, false, 7}} {
		again, twice, gap := all.Take("a/1", c.n)
		if seen := all.Seen()["a/1"]; again != c.again || twice != c.twice || gap != c.gap || seen != c.seen {
			t.Errorf("%d: again %v, twice %v, gap %v, seen %d", c.n, again, twice, gap, seen)
		}
	}
	if _, twice, _ := all.Take("a/2", 1); twice {
		t.Error("another incarnation counts anew")
	}
}

func TestWhatWontComeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := Sources{}
		all.Take("a/1", 1)
		all.Take("a/1", 9)
		time.Sleep(patience)
		if seen := all.Seen()["a/1"]; seen != 1 {
			t.Errorf("seen %d while 2 may come", seen)
		}
		time.Sleep(time.Second)
		if seen := all.Seen()["a/1"]; seen != 9 {
			t.Errorf("seen %d after 16 s", seen)
		}
		if again, twice, gap := all.Take("a/1", 10); again || twice || gap {
			t.Error("10 follows 9")
		}
	})
}

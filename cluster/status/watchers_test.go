package status

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// What nodes say of one edge adds up. The edges with the most watchers that lag are listed, and the others together.
func TestWatchersOf(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_800_000_000+int64(s), 0) }
	a := Status{Watchers: []Watchers{{Edge: "e", Listens: "down", ListensAt: at(6), Watchers: 10, Untold: 1, Since: at(5), Worst: []Extension{{Extension: "1@a", Untold: 1, Since: at(5)}}}, {Edge: "quiet", Watchers: 4}}}
	b := Status{Watchers: []Watchers{{Edge: "e", Listens: "listening", ListensAt: at(7), Watchers: 20, Unanswered: 2, Since: at(3), Worst: []Extension{{Extension: "2@a", Unanswered: 2, Since: at(3)}}}, {Edge: "quiet", Watchers: 1}}}
	silent := Status{Watchers: []Watchers{{Edge: "e"}, {Edge: "quiet", Listens: "never_up"}}} // the first of an earlier release
	got := WatchersOf([]Status{a, silent, b, {}})
	if len(got) != 2 || got[0].Edge != "e" || got[0].Watchers != 30 || got[0].Untold != 1 || got[0].Unanswered != 2 || !got[0].Since.Equal(at(3)) || len(got[0].Worst) != 2 || got[0].Worst[0].Extension != "2@a" ||
		got[0].Listens != "listening" || !got[0].ListensAt.Equal(at(7)) || got[1].Listens != "never_up" ||
		got[1].Watchers != 5 || !got[1].Since.IsZero() {
		t.Errorf("%+v", got)
	}
	many := Status{}
	for i := range MaxEdges + 10 {
		many.Watchers = append(many.Watchers, Watchers{Edge: strconv.Itoa(i), Listens: "listening", ListensAt: at(i), Watchers: 1, Untold: i, Since: at(i)})
	}
	got = WatchersOf([]Status{many})
	if last := got[len(got)-1]; len(got) != MaxEdges+1 || got[0].Edge != strconv.Itoa(MaxEdges+9) || last.Edge != "other" || last.Listens != "" || !last.ListensAt.IsZero() || last.Watchers != 10 || last.Untold != 45 {
		t.Errorf("%d edges, the last %+v", len(got), last)
	}
}

// Each node names the accounts that are first in any kind of use, and what several nodes say of one account adds up.
func TestTop(t *testing.T) {
	var all []Use
	for i := range 100 {
		all = append(all, Use{Account: strconv.Itoa(i), Requests: float64(i), Subscriptions: 100 - i})
	}
	most := MostUsed(all, 3)
	names := []string{}
	for _, u := range most {
		names = append(names, u.Account)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"0", "1", "2", "97", "98", "99"}) {
		t.Errorf("the first are %v", names)
	}
	sum := TopOf([]Status{{Top: []Use{{Account: "a", Realm: "a.test", Events: 2, Subscriptions: 3}}}, {Top: []Use{{Account: "a", Realm: "a.test", Events: 5, Refused: 1, Subscriptions: 1}, {Account: "b"}}}})
	SortUses(sum, "events")
	if len(sum) != 2 || sum[0] != (Use{Account: "a", Realm: "a.test", Events: 7, Refused: 1, Subscriptions: 4}) {
		t.Errorf("%+v", sum)
	}
}

package budget

import (
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lamplight/actors/presence"
)

// budgets makes Budgets for the accounts a and b, whose realms are a.test and b.test.
func budgets(l Limits, own func(string) (Limits, bool)) *Budgets {
	return New(Config{Default: l, Own: own, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Account: func(realm string) (string, bool) { return realm[:1], realm == "a.test" || realm == "b.test" }})
}

// What is above the budget of events waits in its order, up to a second's worth of it. The rest is refused, and the other account's events
// do not wait.
func TestNewsWaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budgets(Limits{Events: 10}, nil)
		var mu sync.Mutex
		var done []int
		refused := 0
		for i := range 25 {
			b.News("a.test", func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, presence.ErrOverBudget) {
					refused++
				} else if err == nil {
					done = append(done, i)
				}
			})
		}
		if len(done) != 10 || refused != 5 {
			t.Fatalf("%d of 25 events went on at once, %d were refused", len(done), refused)
		}
		other := error(errors.New("not called"))
		b.News("b.test", func(err error) { other = err })
		if other != nil {
			t.Errorf("the event of another account: %v", other)
		}
		if err := b.Question("a.test"); !errors.Is(err, presence.ErrOverBudget) {
			t.Errorf("a question above the budget: %v", err)
		}
		begun := time.Now()
		wentOn := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(done)
		}
		for wentOn() < 20 {
			time.Sleep(10 * time.Millisecond) // of the test's own clock
			if time.Since(begun) > time.Minute {
				t.Fatalf("%d events went on", wentOn())
			}
		}
		synctest.Wait()
		if !slices.IsSorted(done) {
			t.Errorf("the events went on in the order %v", done)
		}
		if took := time.Since(begun); took < 900*time.Millisecond { // by the test's own clock
			t.Errorf("ten events above a budget of ten a second went on within %v", took)
		}
		var m dto.Metric
		if err := b.refused[Events].Write(&m); err != nil || m.GetCounter().GetValue() != 6 {
			t.Errorf("the metric of refused events: %v, %v", &m, err)
		}
		if b.waiting.Load() != 0 {
			t.Errorf("%d events wait", b.waiting.Load())
		}
		time.Sleep(time.Second) // the drain of an empty queue
	})
}

// The turns of NOTIFYs are as far apart as the budget says. A change with more watchers than a second's budget is told whole, and paid for
// afterwards. No turn is later than LongestTurn.
func TestTell(t *testing.T) {
	b := budgets(Limits{Notifies: 100}, nil)
	now := time.Now()
	for _, c := range []struct {
		realm string
		n     int
		after time.Duration
	}{{"a.test", 100, 0}, {"a.test", 50, 500 * time.Millisecond}, {"a.test", 250, 1500 * time.Millisecond}, {"b.test", 30, 0}, {"other.test", 1000, 0},
		{"a.test", 100, 4 * time.Second}, {"a.test", 100_000, 5 * time.Second}, {"a.test", 100, presence.LongestTurn}, {"a.test", 100, presence.LongestTurn}} {
		if got := b.Tell(c.realm, c.n, now).Sub(now); got.Round(time.Millisecond) != c.after {
			t.Errorf("%d watchers of %s are told after %v, not %v", c.n, c.realm, got, c.after)
		}
	}
}

// An account has its own budget in the place of the default one, and a change of it counts at once.
func TestOwnBudget(t *testing.T) {
	own := Limits{Requests: 2, Subscriptions: 5}
	b := budgets(Limits{Requests: 1, Subscriptions: 1}, func(account string) (Limits, bool) { return own, account == "a" })
	for i, want := range []bool{true, true, false} {
		if err := b.Request("a"); (err == nil) != want || err != nil && !errors.Is(err, presence.ErrOverBudget) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if b.Request("b") != nil || b.Request("b") == nil {
		t.Error("the default budget of requests")
	}
	if own[Requests] = 0; b.Request("a") != nil {
		t.Error("a budget that was taken away refuses")
	}
	if b.Room("a.test", 5) != nil || !errors.Is(b.Room("a.test", 6), presence.ErrTooManySubscriptions) || b.Room("b.test", 2) == nil || b.Room("other.test", 9) != nil {
		t.Error("the budgets of subscriptions")
	}
	b.Told("b.test", 7)
	uses := b.Uses()
	if u := uses[slices.IndexFunc(uses, func(u Use) bool { return u.Account == "b" })]; u.Used != [Subscriptions]uint64{2, 0, 7} || u.Refused != [kinds]uint64{1, 0, 0, 1} {
		t.Errorf("account b has used %+v", u)
	}
}

// However many accounts come, the table stays within its bound. Those that used nothing for a minute make room.
func TestAccountsAreBounded(t *testing.T) {
	b := budgets(Limits{Requests: 1}, nil)
	now := time.Now()
	for i := range maxAccounts {
		b.find(strconv.Itoa(i), now)
	}
	if b.find("one more", now) != b.rest || b.find("another", now) != b.rest || len(b.of) != maxAccounts {
		t.Errorf("%d accounts", len(b.of))
	}
	if later := now.Add(2 * idleAfter); b.find("one more", later) == b.rest || len(b.of) != 1 {
		t.Errorf("%d accounts after a minute", len(b.of))
	}
}

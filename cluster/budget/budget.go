// Package budget bounds what one account may have of a node: requests over HTTP, events, NOTIFYs and subscriptions. So one account that
// floods the node leaves room for the others. It counts what each account uses, which `lamplight top` shows, whether there are bounds
// or not. Every node counts for itself: an account has its budget at each of them.
//
// Its methods may be called from any goroutine and do not wait. It knows no transport, and it decides nothing but who is over a budget.
package budget

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"lamplight/actors/presence"
	"lamplight/cluster/age"
	"lamplight/cluster/loglimit"
)

// What is one of the things that an account has a budget of.
type What uint8

// The budgets. Those before Subscriptions are so many a second.
const (
	Requests      What = iota // requests over HTTP
	Events                    // news that comes in, over NATS or SIP, and questions and commands over NATS
	Notifies                  // changes that watchers are told
	Subscriptions             // that the node holds
	kinds
)

// words has the name of each budget in sentences, in metrics, and in the flag of serve.
var words = [kinds]struct{ sentence, label, flag string }{
	{"requests a second", "requests", "--account-requests"},
	{"events a second", "events", "--account-events"},
	{"NOTIFYs a second", "notifies", "--account-notifies"},
	{"subscriptions", "subscriptions", "--account-subscriptions"},
}

// The bounds of budgets.
const (
	Most    = 1_000_000_000 // the highest budget that an account may have
	Default = -1            // in the budgets that an account has of its own: it has the default one
)

// Limits are the budgets of an account at one node. 0 is no bound.
type Limits [kinds]int

// Config is what Budgets need. Own may be nil.
type Config struct {
	Default Limits
	// Own returns the budgets that an account has of its own in the place of the default ones. It must not wait.
	Own func(account string) (Limits, bool)
	// Account returns the account that has a realm, as far as the node has heard. It must not wait.
	Account    func(realm string) (id string, known bool)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	maxAccounts = 100_000     // accounts that are told apart; those beyond share one budget
	idleAfter   = time.Minute // an account that used nothing for so long may be forgotten
	drainPause  = 5 * time.Millisecond
)

// Budgets are the budgets of all accounts at this node.
type Budgets struct {
	cfg     Config
	log     *slog.Logger // writes one line a minute of each budget
	refused [kinds]prometheus.Counter
	held    [kinds]prometheus.Counter
	waiting atomic.Int64 // events that wait, of all accounts

	mu   sync.RWMutex
	of   map[string]*account
	rest *account // of the accounts past maxAccounts
}

// account counts what one account has used of this node, and holds its limiters and the queue of its events.
type account struct {
	rates   [Subscriptions]atomic.Pointer[rate.Limiter] // nil: it has had no bound yet
	used    [Subscriptions]atomic.Uint64
	refused [kinds]atomic.Uint64
	touched age.Mark        // when it last used anything
	said    [kinds]age.Mark // when the log was last told that it is over the budget

	mu       sync.Mutex
	queue    []func(error) // events that wait for their turn, oldest first
	draining bool          // drain is to run, or runs
}

// New makes Budgets and registers their metrics. It starts nothing.
func New(c Config) *Budgets {
	b := &Budgets{cfg: c, log: loglimit.Every(time.Minute, c.Log).With("part", "budgets"), of: map[string]*account{}, rest: &account{}}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_account_refused_total",
		Help: "What this node refused because an account was over its budget, by budget. The log names the account once a minute, and lamplight top shows which accounts use most."}, []string{"budget"})
	held := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_account_held_total",
		Help: "Events that waited because their account was over its budget, and changes whose NOTIFYs were held back and told with the next ones."}, []string{"budget"})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_account_events_waiting",
		Help: "Events that wait now because their account is over its budget."}, func() float64 { return float64(b.waiting.Load()) })
	for what, w := range words {
		b.refused[what] = refused.WithLabelValues(w.label)
	}
	for _, what := range []What{Events, Notifies} {
		b.held[what] = held.WithLabelValues(words[what].label)
	}
	c.Registerer.MustRegister(refused, held, waiting)
	return b
}

// limit returns a budget of an account; 0: it has no bound.
func (b *Budgets) limit(id string, what What) int {
	if b.cfg.Own != nil {
		if own, ok := b.cfg.Own(id); ok && own[what] != Default {
			return own[what]
		}
	}
	return b.cfg.Default[what]
}

// find returns what is known of an account, and makes it on first use.
func (b *Budgets) find(id string, now time.Time) *account {
	b.mu.RLock()
	a := b.of[id]
	b.mu.RUnlock()
	if a == nil {
		a = b.make(id, now)
	}
	a.touched.Set(now)
	return a
}

// make makes what is known of an account. In a full table it forgets the accounts that have used nothing for a minute.
func (b *Budgets) make(id string, now time.Time) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.of[id]; a != nil {
		return a
	}
	if len(b.of) >= maxAccounts {
		for other, a := range b.of {
			if age.Of(now)-a.touched.Age() > idleAfter {
				delete(b.of, other)
			}
		}
		if len(b.of) >= maxAccounts {
			return b.rest
		}
	}
	a := &account{}
	b.of[id] = a
	return a
}

// limiter returns the limiter of a budget with a bound of so many a second. As many may come at once.
func (a *account) limiter(what What, most int) *rate.Limiter {
	l := a.rates[what].Load()
	if l == nil || l.Burst() != most { // somebody may have changed the bound
		l = rate.NewLimiter(rate.Limit(most), most)
		a.rates[what].Store(l)
	}
	return l
}

// take takes one of what an account may have now. It returns 0, or how long the account must wait for it.
func (a *account) take(what What, most int, now time.Time) time.Duration {
	r := a.limiter(what, most).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// overBudget is the error of what is above a budget. Its text is made only for whoever reads it: a flood's answers over HTTP do not have it.
type overBudget struct {
	kind    error
	account string
	what    What
	most    int
}

func (e *overBudget) Error() string {
	return fmt.Sprintf("%v: account %s may have %d %s at this node (%s)", e.kind, e.account, e.most, words[e.what].sentence, words[e.what].flag)
}

func (e *overBudget) Unwrap() error { return e.kind }

// over counts that something of an account was refused, logs it, and returns the error for whoever sent it. It hands the log a line of an account and
// budget once a second at most: to make a line that the log then leaves out costs more than the rest of the refusal.
func (b *Budgets) over(kind error, id string, a *account, what What, most int, now time.Time) error {
	a.refused[what].Add(1)
	b.refused[what].Inc()
	if a.said[what].Turn(time.Second, now) {
		w := words[what]
		b.log.Warn("an account is over its budget of "+w.sentence+", and what is above it is refused; find out what sends so much (lamplight top), or give the account a higher budget",
			"account", id, "budget", most, "flag", w.flag)
	}
	return &overBudget{kind, id, what, most}
}

// Request counts a request over HTTP. It returns presence.ErrOverBudget if the account has used its budget of requests.
func (b *Budgets) Request(id string) error { return b.now(id, Requests) }

// Question counts a question or a command about a realm that came over NATS: an event that can't wait. It returns presence.ErrOverBudget
// if the account has used its budget of events.
func (b *Budgets) Question(realm string) error {
	id, known := b.cfg.Account(realm)
	if !known {
		return nil
	}
	return b.now(id, Events)
}

// now counts one of what can't wait.
func (b *Budgets) now(id string, what What) error {
	now := time.Now()
	a := b.find(id, now)
	a.used[what].Add(1)
	if most := b.limit(id, what); most > 0 && a.take(what, most, now) > 0 {
		return b.over(presence.ErrOverBudget, id, a, what, most, now)
	}
	return nil
}

// News counts an event of a realm, and calls then exactly once: with nil when the event may go on, or with presence.ErrOverBudget. It calls
// then at once, from the caller's goroutine, while the account has its budget. What is above the budget waits in a queue of its account
// and goes on from another goroutine, in the order in which it came. The queue has room for what the budget lets through in a
// second. What finds it full is refused.
func (b *Budgets) News(realm string, then func(error)) {
	id, known := b.cfg.Account(realm)
	if !known {
		then(nil)
		return
	}
	now := time.Now()
	a := b.find(id, now)
	a.used[Events].Add(1)
	most := b.limit(id, Events)
	a.mu.Lock()
	switch {
	case !a.draining && (most <= 0 || a.take(Events, most, now) == 0):
		a.mu.Unlock()
		then(nil)
	case most > 0 && len(a.queue) >= most:
		a.mu.Unlock()
		then(b.over(presence.ErrOverBudget, id, a, Events, most, now))
	default:
		a.queue = append(a.queue, then)
		if !a.draining {
			a.draining = true
			time.AfterFunc(drainPause, func() { b.drain(id, a) })
		}
		a.mu.Unlock()
		b.waiting.Add(1)
		b.held[Events].Inc()
	}
}

// drain lets the events of an account's queue go on as fast as its budget allows, one after the other.
func (b *Budgets) drain(id string, a *account) {
	for {
		now := time.Now()
		most := b.limit(id, Events)
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.queue, a.draining = nil, false
			a.mu.Unlock()
			return
		}
		if most > 0 {
			if wait := a.take(Events, most, now); wait > 0 {
				a.mu.Unlock()
				time.AfterFunc(max(wait, drainPause), func() { b.drain(id, a) })
				return
			}
		}
		then := a.queue[0]
		a.queue[0] = nil
		a.queue = a.queue[1:]
		a.mu.Unlock()
		b.waiting.Add(-1)
		then(nil)
	}
}

// Tell is presence.Rules.Tell: it says when an account may have n watchers told a change. It is called in a shard's turn.
func (b *Budgets) Tell(realm string, n int, now time.Time) time.Time {
	id, known := b.cfg.Account(realm)
	most := 0
	if known {
		most = b.limit(id, Notifies)
	}
	if most <= 0 {
		return now
	}
	// A change with more watchers than a second's budget waits until the budget of a second is there, is told to all of them, and is paid
	// for afterwards: the account's next changes wait for it.
	l := b.find(id, time.Now()).limiter(Notifies, most) // now is only a time of day
	wait := time.Duration(0)
	for first := true; n > 0; first = false {
		part := min(n, most)
		r := l.ReserveN(now, part)
		if first {
			wait = r.DelayFrom(now)
		}
		if r.DelayFrom(now) > presence.LongestTurn { // the change is not held for longer, so the debt need not grow either
			r.CancelAt(now)
			wait = min(wait, presence.LongestTurn)
			break
		}
		n -= part
	}
	if wait > 0 {
		b.held[Notifies].Inc()
	}
	return now.Add(wait)
}

// Told counts NOTIFYs that an account's watchers were sent. It is called in a shard's turn.
func (b *Budgets) Told(realm string, n int) {
	if id, known := b.cfg.Account(realm); known {
		b.find(id, time.Now()).used[Notifies].Add(uint64(n))
	}
}

// Room returns presence.ErrTooManySubscriptions if an account may not hold so many subscriptions at this node. It is called in a shard's
// turn, for each new subscription.
func (b *Budgets) Room(realm string, holds int64) error {
	id, known := b.cfg.Account(realm)
	if !known {
		return nil
	}
	if most := b.limit(id, Subscriptions); most > 0 && holds > int64(most) {
		now := time.Now()
		return b.over(presence.ErrTooManySubscriptions, id, b.find(id, now), Subscriptions, most, now)
	}
	return nil
}

// Use is what an account has used since the node started, and what of it was refused.
type Use struct {
	Account string
	Used    [Subscriptions]uint64
	Refused [kinds]uint64
}

// Uses returns what each account has used, in no order.
func (b *Budgets) Uses() []Use {
	b.mu.RLock()
	defer b.mu.RUnlock()
	uses := make([]Use, 0, len(b.of))
	for id, a := range b.of {
		u := Use{Account: id}
		for i := range a.used {
			u.Used[i] = a.used[i].Load()
		}
		for i := range a.refused {
			u.Refused[i] = a.refused[i].Load()
		}
		uses = append(uses, u)
	}
	return uses
}

package sip

import (
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	knownLife   = 60 * time.Second // how long it is believed that a user or realm is known, without asking again
	unknownLife = 5 * time.Second  // that none is
	staleLife   = 10 * time.Minute // how long an answer is used when the nodes can't be asked
	failedLife  = 2 * time.Second  // how long the nodes are not asked again when they could not be asked
	maxKept     = 100_000          // answers that are remembered
	maxAsked    = 1024             // questions to the nodes at the same time
)

// account names a user of a realm; with user "" the realm alone.
type account struct{ realm, user string }

// lookup remembers what the nodes say of users and realms.
type lookup struct {
	// ask asks the nodes. It may wait.
	ask func(account) (Credentials, error)
	now func() time.Time

	kept *otter.Cache[account, answer]

	mu    sync.Mutex
	asked map[account]*question
}

// answer is what the nodes said of an account.
type answer struct {
	credentials Credentials
	at          time.Time
}

// question is a question to the nodes.
type question struct {
	then   []func() // wait for the answer
	done   bool
	failed time.Time // when the nodes could not be asked; zero: they answered
	said   Credentials
}

func newLookup(ask func(account) (Credentials, error)) *lookup {
	kept, err := otter.New(&otter.Options[account, answer]{MaximumSize: maxKept})
	if err != nil {
		panic(err) // only wrong options are refused
	}
	return &lookup{ask: ask, now: time.Now, kept: kept, asked: map[account]*question{}}
}

// get returns what is known of an account. known is false when the nodes must be asked first: call await.
func (l *lookup) get(a account) (c Credentials, known bool) {
	now := l.now()
	last, kept := l.kept.GetIfPresent(a)
	if kept && now.Sub(last.at) < life(last.credentials, a) {
		return last.credentials, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asked[a]
	switch {
	case q == nil || !q.done:
		return c, false
	case q.failed.IsZero(): // its answer is being handed to those who wait for it
		return q.said, true
	case now.Sub(q.failed) >= failedLife:
		delete(l.asked, a)
		return c, false
	case kept && now.Sub(last.at) < staleLife:
		return last.credentials, true
	}
	return Credentials{Unavailable: true}, true
}

// life is how long an answer is believed.
func life(c Credentials, a account) time.Duration {
	if c.Realm && (c.User || a.user == "") {
		return knownLife
	}
	return unknownLife
}

// await asks the nodes, and calls then once get knows.
func (l *lookup) await(a account, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asked[a]
	switch {
	case q != nil && q.done: // the answer came between get and await
		go then()
		return
	case q != nil:
		q.then = append(q.then, then)
		return
	}
	if len(l.asked) >= maxAsked {
		l.forgetFailedLocked()
	}
	q = &question{then: []func(){then}}
	l.asked[a] = q
	if len(l.asked) > maxAsked {
		q.done, q.failed = true, l.now()
		go l.tell(a, q)
		return
	}
	go func() {
		c, err := l.ask(a)
		l.mu.Lock()
		if q.said, q.done = c, true; err != nil {
			q.failed = l.now()
		} else {
			l.kept.Set(a, answer{c, l.now()})
		}
		l.mu.Unlock()
		l.tell(a, q)
	}()
}

// tell calls all who wait for a question, and forgets it if it was answered. One that was not is kept for failedLife: those who come in
// that time are not to wait.
func (l *lookup) tell(a account, q *question) {
	for _, then := range q.then { // nobody appends to it any more, because q is done
		then()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q.then = nil
	if q.failed.IsZero() || len(l.asked) > maxAsked {
		delete(l.asked, a)
	}
}

// forgetFailedLocked forgets questions that could not be answered, and are old. The caller holds l.mu.
func (l *lookup) forgetFailedLocked() {
	now := l.now()
	for a, q := range l.asked {
		if q.done && !q.failed.IsZero() && q.then == nil && now.Sub(q.failed) >= failedLife {
			delete(l.asked, a)
		}
	}
}

package sip

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// nodes plays the nodes that a lookup asks, and the clock.
type nodes struct {
	said  atomic.Pointer[Credentials] // nil: they are out of reach
	asked atomic.Int32
	now   atomic.Int64
}

func (n *nodes) ask(account) (Credentials, error) {
	n.asked.Add(1)
	if c := n.said.Load(); c != nil {
		return *c, nil
	}
	return Credentials{}, errors.New("out of reach")
}

func newTestLookup() (*nodes, *lookup) {
	n := &nodes{}
	l := newLookup(n.ask)
	l.now = func() time.Time { return time.Unix(0, n.now.Load()) }
	n.now.Store(time.Hour.Nanoseconds())
	return n, l
}

// find is what a request does: it looks, waits if it must, and looks again.
func find(t *testing.T, l *lookup, a account) Credentials {
	t.Helper()
	c, known := l.get(a)
	if known {
		return c
	}
	found := make(chan struct{})
	l.await(a, func() {
		if c, known = l.get(a); !known {
			t.Error("the answer came and is not known")
		}
		close(found)
	})
	select {
	case <-found:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody called back")
	}
	untilTold(t, l, a)
	return c
}

// untilTold waits until all who asked for an account have been called. Until then the lookup hands out the answer however old it is, and
// a test that moves the clock must not.
func untilTold(t *testing.T, l *lookup, a account) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		l.mu.Lock()
		q := l.asked[a]
		told := q == nil || q.done && q.then == nil
		l.mu.Unlock()
		if told {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("an answered question is still kept")
		}
	}
}

// A user that is known is asked for again after a minute, one that is not after 5 s.
func TestLookupRemembers(t *testing.T) {
	n, l := newTestLookup()
	for _, c := range []struct {
		a    account
		said Credentials
		life time.Duration
	}{
		{account{"r", "u"}, Credentials{Realm: true, User: true, HA1: [2]string{"x", "y"}}, time.Minute},
		{account{"r", "nobody"}, Credentials{Realm: true}, 5 * time.Second},
		{account{"r", ""}, Credentials{Realm: true}, time.Minute},
		{account{"nowhere", ""}, Credentials{}, 5 * time.Second},
	} {
		n.said.Store(&c.said)
		before := n.asked.Load()
		for _, step := range []struct {
			pass time.Duration
			asks int32
		}{{0, 1}, {c.life - 1, 1}, {1, 2}} {
			n.now.Add(int64(step.pass))
			if got := find(t, l, c.a); got != c.said {
				t.Errorf("%v: %+v", c.a, got)
			}
			if asks := n.asked.Load() - before; asks != step.asks {
				t.Errorf("%v: asked %d times after %v, want %d", c.a, asks, step.pass, step.asks)
			}
		}
	}
}

// While the nodes are out of reach their last answer is used for 10 minutes, and they are asked every 2 s. What they never answered is
// unavailable, and not unknown.
func TestLookupWithoutNodes(t *testing.T) {
	n, l := newTestLookup()
	known := Credentials{Realm: true, User: true}
	n.said.Store(&known)
	find(t, l, account{"r", "u"})
	n.said.Store(nil)
	n.now.Add(int64(9 * time.Minute))
	before := n.asked.Load()
	for range 3 {
		if got := find(t, l, account{"r", "u"}); got != known {
			t.Errorf("after 9 minutes: %+v", got)
		}
	}
	if asks := n.asked.Load() - before; asks != 1 {
		t.Errorf("asked %d times at once", asks)
	}
	n.now.Add(int64(2 * time.Second))
	if find(t, l, account{"r", "u"}); n.asked.Load()-before != 2 {
		t.Error("not asked again after 2 s")
	}
	if got := find(t, l, account{"r", "other"}); !got.Unavailable || got.Realm {
		t.Errorf("never answered: %+v", got)
	}
	n.now.Add(int64(2 * time.Minute))
	if got := find(t, l, account{"r", "u"}); !got.Unavailable {
		t.Errorf("after 11 minutes: %+v", got)
	}
	n.said.Store(&known)
	n.now.Add(int64(2 * time.Second))
	if got := find(t, l, account{"r", "u"}); got != known {
		t.Errorf("the nodes are back: %+v", got)
	}
}

// All who wait for one account are served by one question. Past the bound of questions, further accounts are unavailable at once.
func TestLookupIsBounded(t *testing.T) {
	goOn := make(chan struct{})
	var asked atomic.Int32
	l := newLookup(func(account) (Credentials, error) {
		asked.Add(1)
		<-goOn
		return Credentials{Realm: true}, nil
	})
	const each = 3
	served := make(chan struct{}, maxAsked*each+1)
	for i := range maxAsked {
		for range each {
			l.await(account{"r", fmt.Sprint(i)}, func() { served <- struct{}{} })
		}
	}
	if got := find(t, l, account{"r", "one more"}); !got.Unavailable {
		t.Errorf("past the bound: %+v", got)
	}
	close(goOn)
	for range maxAsked * each {
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Fatal("not all were called back")
		}
	}
	if n := asked.Load(); n != maxAsked {
		t.Errorf("%d questions for %d accounts", n, maxAsked)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		left := len(l.asked)
		l.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d questions are remembered", left)
		}
	}
}

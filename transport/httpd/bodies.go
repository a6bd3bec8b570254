package httpd

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/cluster/age"
)

const (
	slowBody  = 16 << 10    // bytes a second; a large body that comes more slowly may be dropped for another one
	slowGrace = time.Second // how long a body may stand still before it is slow
)

// bodies are the large bodies that are read, MaxLarge at a time, LargeOfOne of one account. At a bound a slow one makes room, so that
// bodies that nobody finishes do not keep out others. While there is room, no body is dropped. Its methods are for any goroutine and
// do not wait.
type bodies struct {
	slots *Slots

	mu  sync.Mutex
	all map[*body]struct{}
}

// body is a large body that is read. Only the goroutine that reads it may call Read.
type body struct {
	from    io.Reader
	conn    net.Conn
	who     string
	free    func()
	slow    age.Mark // from when on it is slow, if no byte comes before
	dropped atomic.Bool
}

func newBodies() *bodies {
	return &bodies{slots: NewSlots(MaxLarge, LargeOfOne), all: map[*body]struct{}{}}
}

// take admits a body, and says whether there was room. If so, the caller calls done once.
func (a *bodies) take(b *body, now time.Time) bool {
	b.slow.Set(now.Add(slowGrace))
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := false
	for b.free, ok = a.slots.Take(b.who); !ok; b.free, ok = a.slots.Take(b.who) {
		old := a.slowest(b.who, now)
		if old == nil {
			return false
		}
		a.remove(old)
		old.dropped.Store(true)
		_ = old.conn.SetReadDeadline(now) // its reader gives up
	}
	a.all[b] = struct{}{}
	return true
}

// slowest returns the body that has been slow for longest: of those of the account if it has LargeOfOne, else of all. nil: none is
// slow. The caller holds a.mu.
func (a *bodies) slowest(who string, now time.Time) (old *body) {
	own := 0
	for b := range a.all {
		if b.who == who {
			own++
		}
	}
	since := age.Of(now)
	for b := range a.all {
		if at := b.slow.Age(); at < since && (own < LargeOfOne || b.who == who) {
			old, since = b, at
		}
	}
	return old
}

// done ends the reading of a body. After it, nobody sets deadlines of its connection any more.
func (a *bodies) done(b *body) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(b)
}

// remove gives the place of a body to others. The caller holds a.mu.
func (a *bodies) remove(b *body) {
	if _, read := a.all[b]; read {
		delete(a.all, b)
		b.free()
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if n > 0 {
		b.came(n, time.Now())
	}
	return n, err
}

// came notes that n bytes came: they put off the time from which on the body is slow, to at most slowGrace from now.
func (b *body) came(n int, now time.Time) {
	later := b.slow.Age() + time.Duration(n)*time.Second/slowBody
	b.slow.Set(age.Time(min(later, age.Of(now)+slowGrace), now))
}

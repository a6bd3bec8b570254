package sip

import (
	"net/netip"
	"sync"
	"time"

	"lamplight/cluster/age"
)

// limiter lets each source do something so often. It needs a fixed amount of memory however many sources there are: past its bound, the
// sources that did nothing for longest are forgotten, and may begin anew.
type limiter struct {
	every time.Duration // the time after which a source may do it once more
	burst int           // how often a source may do it at once
	most  int           // sources of one generation

	mu         sync.Mutex
	new, older map[netip.Addr]int64 // when the source will have paid for all that it did, in ns
}

func newLimiter(perSecond float64, burst, most int) *limiter {
	return &limiter{every: time.Duration(float64(time.Second) / perSecond), burst: burst, most: most,
		new: map[netip.Addr]int64{}, older: map[netip.Addr]int64{}}
}

// sourceOf is what one source is: an IPv4 address, or an IPv6 network of 64 bits, which one host has for itself.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// allow says whether the source may do it now, and notes that it does.
func (l *limiter) allow(from netip.Addr, now time.Time) bool { return l.take(from, now, true) }

// exhausted says whether the source may not do it now. It notes nothing.
func (l *limiter) exhausted(from netip.Addr, now time.Time) bool { return !l.take(from, now, false) }

// turnLocked begins a generation. The caller holds l.mu.
func (l *limiter) turnLocked() { l.older, l.new = l.new, make(map[netip.Addr]int64, 64) }

// turn forgets the sources that did nothing since the last turn. A source must have paid for all that it did before two turns are over.
func (l *limiter) turn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked()
}

func (l *limiter) take(from netip.Addr, now time.Time, note bool) bool {
	source, t := sourceOf(from), int64(age.Of(now))
	l.mu.Lock()
	defer l.mu.Unlock()
	paid, known := l.new[source]
	if !known {
		paid = l.older[source]
	}
	paid = max(paid, t)
	if paid-t > int64(l.every)*int64(l.burst-1) {
		return false
	}
	if !note {
		return true
	}
	if !known && len(l.new) >= l.most {
		l.turnLocked()
	}
	l.new[source] = paid + int64(l.every)
	return true
}

package access

import (
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bounds requests per account and client address. It remembers a bounded number of both together.
type limits struct {
	perSecond int
	mu        sync.Mutex
	of        map[string]*rate.Limiter
}

func newLimits(perSecond int) *limits {
	return &limits{perSecond: perSecond, of: map[string]*rate.Limiter{}}
}

func (l *limits) allow(account string, from net.IP, now time.Time) bool {
	if l.perSecond <= 0 {
		return true
	}
	key := account + " " + from.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of[key]
	if r == nil {
		if len(l.of) >= 100_000 { // forget those who have their full allowance again
			for k, old := range l.of {
				if old.TokensAt(now) >= float64(l.perSecond) {
					delete(l.of, k)
				}
			}
			if len(l.of) >= 100_000 {
				return false
			}
		}
		r = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		l.of[key] = r
	}
	return r.AllowN(now, 1)
}

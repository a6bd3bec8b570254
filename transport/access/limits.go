package access

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// limits limits the requests of each pair of an account and a client address.
type limits struct {
	perSecond atomic.Int64 // 0: no limit
	mu        sync.Mutex
	of        map[string]*rate.Limiter // by account and address; at most maxLimiters
}

// maxLimiters is the number of pairs that limits remembers.
const maxLimiters = 100_000

// newLimits makes limits of so many requests a second. As many may come at once.
func newLimits(perSecond int) *limits {
	l := &limits{of: map[string]*rate.Limiter{}}
	l.perSecond.Store(int64(perSecond))
	return l
}

// set changes the limit, and forgets what was counted under the earlier one.
func (l *limits) set(perSecond int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perSecond.Swap(int64(perSecond)) != int64(perSecond) {
		clear(l.of)
	}
}

// allow counts a request and says whether it is within the limit. When the table is full it forgets the pairs that have made no
// request for a second; if there are none, the request of a new pair is refused.
func (l *limits) allow(account string, from net.IP, now time.Time) bool {
	if l.perSecond.Load() <= 0 {
		return true
	}
	key := account + " " + from.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	perSecond := int(l.perSecond.Load()) // set may have changed it
	if perSecond <= 0 {
		return true
	}
	r := l.of[key]
	if r == nil {
		if len(l.of) >= maxLimiters {
			for k, old := range l.of {
				if old.TokensAt(now) >= float64(perSecond) {
					delete(l.of, k)
				}
			}
			if len(l.of) >= maxLimiters {
				return false
			}
		}
		r = rate.NewLimiter(rate.Limit(perSecond), perSecond)
		l.of[key] = r
	}
	return r.AllowN(now, 1)
}

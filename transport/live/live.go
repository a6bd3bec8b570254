// Package live keeps the lamps of accounts that somebody watches over HTTP, and tells each watching client what changes
// (docs/contract/http.md, "Events"). transport/rest opens a Stream for each client.
//
// A Hub has one feed for each account that is watched. A feed listens to the state feed of the account's realm, reads all of the
// account's extensions when it begins, and reads them again from time to time, because the state feed does not tell of watchers,
// registrations and held calls. It keeps the newest state of each lamp and the order of the last changes. So a slow client costs
// no memory: its Stream remembers a number only, and is told to forget everything when that number is too old.
//
// The package does not know HTTP, and not who may watch which account.
package live

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/client"
)

// The bounds and times of a Hub.
const (
	MaxFeeds   = 256              // accounts that are watched at a time; each takes 130 KB, and some 200 bytes for each of its lamps
	FeedsOfOne = 8                // of these, those that clients with tokens of one account watch
	MaxLamps   = 100_000          // lamps of one account; more are left out, and the client is told
	lastKept   = 8192             // changes of one account that a client may resume after
	linger     = time.Minute      // how long a feed without clients goes on, so that a client that comes back can resume
	readTime   = 20 * time.Second // how long one reading of an account may take
	firstList  = 3 * time.Second  // how long each of the two listings of the first try to read an account may take, for which clients wait
	showTime   = time.Second      // how long the answer of one extension may take
	showFails  = 64               // extensions without an answer after which a reading asks no more
	readEvery  = 15 * time.Second // how often an account is read again, at the most
	readShare  = 30               // a reading that takes a second is followed by at least so many seconds without one
	retryAfter = time.Second      // the wait after a reading or a watch that failed
)

// ErrTooMany says that MaxFeeds accounts are watched already, or FeedsOfOne of them by the account of the token.
var ErrTooMany = errors.New("too many accounts are watched on this node")

// ErrStopped says that the Hub has stopped.
var ErrStopped = errors.New("the node stops")

// Presence is what a Hub needs of the router: the methods of rest.Presence of the same names.
type Presence interface {
	Request(ctx context.Context, r actors.Request) actors.Answer
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)
}

// Config is what a Hub needs. All fields must be set.
type Config struct {
	Presence  Presence
	Directory *directory.Directory
	// Watch is client.Client.Watch. It calls the Watcher until ctx ends or it fails.
	Watch func(ctx context.Context, realm, user string, w client.Watcher) error
	// Connected says whether NATS is in reach. While it is not, no change arrives.
	Connected func() bool
	Log       *slog.Logger
}

// Hub has the feeds. Its methods are for any goroutine.
type Hub struct {
	cfg   Config
	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu    sync.Mutex
	feeds map[string]*feed // by account; nil: the Hub has stopped
	by    map[string]int   // by the account of the token: how many feeds it watches; accounts that watch none are left out
}

// New makes a Hub. It starts nothing.
func New(c Config) *Hub {
	h := &Hub{cfg: c, feeds: map[string]*feed{}, by: map[string]int{}}
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// Stop ends all streams and feeds, and waits for the feeds, at the longest until ctx ends.
func (h *Hub) Stop(ctx context.Context) error {
	h.mu.Lock()
	h.feeds = nil
	h.mu.Unlock()
	h.end()
	done := make(chan struct{})
	go func() { h.tasks.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Open returns a Stream of the lamps of an account. who is the account whose token the client has. last is the id of the last event that the client has, or "". Open waits until
// the account has been read, at the longest until ctx ends. The caller closes the Stream.
func (h *Hub) Open(ctx context.Context, account *directory.Entry, who, last string) (*Stream, error) {
	f, err := h.join(account, who)
	if err != nil {
		return nil, err
	}
	s := &Stream{feed: f, closed: sync.OnceFunc(func() { h.leave(f, who) })}
	select {
	case <-f.ready:
	case <-h.life.Done():
		err = ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.begin(last)
	return s, nil
}

// join returns the feed of an account for a client of the account who, and makes it if there is none.
func (h *Hub) join(account *directory.Entry, who string) (*feed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds == nil {
		return nil, ErrStopped
	}
	f := h.feeds[account.ID]
	if f != nil && f.realm != account.Realm() { // the account has got another realm
		f.end()
		f = nil
	}
	if h.by[who] >= FeedsOfOne && (f == nil || f.by[who] == 0) {
		return nil, ErrTooMany
	}
	if f == nil {
		if len(h.feeds) >= MaxFeeds && !h.dropIdle() {
			return nil, ErrTooMany
		}
		f = newFeed(h, account.ID, account.Realm())
		h.feeds[account.ID] = f
		h.tasks.Go(f.run)
	}
	f.clients++
	if f.by[who]++; f.by[who] == 1 {
		h.by[who]++
	}
	return f, nil
}

// dropIdle ends a feed that has no clients. The caller holds h.mu.
func (h *Hub) dropIdle() bool {
	for id, f := range h.feeds {
		if f.clients == 0 {
			f.end()
			delete(h.feeds, id)
			return true
		}
	}
	return false
}

// leave notes that a client of a feed, with a token of the account who, has gone.
func (h *Hub) leave(f *feed, who string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.clients--
	f.idle = time.Now()
	if f.by[who]--; f.by[who] > 0 {
		return
	}
	delete(f.by, who)
	if h.by[who]--; h.by[who] == 0 {
		delete(h.by, who)
	}
}

// sweep ends a feed that has had no clients for a while, and says whether it did.
func (h *Hub) sweep(f *feed, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.clients > 0 || now.Sub(f.idle) < linger {
		return false
	}
	if h.feeds[f.account] == f {
		delete(h.feeds, f.account)
	}
	f.end()
	return true
}

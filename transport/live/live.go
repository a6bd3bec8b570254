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
	MaxFeeds   = 64               // accounts that are watched at a time
	MaxLamps   = 100_000          // lamps of one account; more are left out, and the client is told
	lastKept   = 8192             // changes of one account that a client may resume after
	linger     = time.Minute      // how long a feed without clients goes on, so that a client that comes back can resume
	readTime   = 20 * time.Second // how long one reading of an account may take
	readEvery  = 15 * time.Second // how often an account is read again, at the most
	readShare  = 30               // a reading that takes a second is followed by at least so many seconds without one
	retryAfter = time.Second      // the wait after a reading or a watch that failed
)

// ErrTooMany says that MaxFeeds accounts are watched already.
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
}

// New makes a Hub. It starts nothing.
func New(c Config) *Hub {
	h := &Hub{cfg: c, feeds: map[string]*feed{}}
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

// Open returns a Stream of the lamps of an account. last is the id of the last event that the client has, or "". Open waits until
// the account has been read, at the longest until ctx ends. The caller closes the Stream.
func (h *Hub) Open(ctx context.Context, account *directory.Entry, last string) (*Stream, error) {
	f, err := h.join(account)
	if err != nil {
		return nil, err
	}
	s := &Stream{feed: f, closed: sync.OnceFunc(func() { h.leave(f) })}
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

// join returns the feed of an account, and makes it if there is none.
func (h *Hub) join(account *directory.Entry) (*feed, error) {
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
	if f == nil {
		if len(h.feeds) >= MaxFeeds && !h.dropIdle() {
			return nil, ErrTooMany
		}
		f = newFeed(h, account.ID, account.Realm())
		h.feeds[account.ID] = f
		h.tasks.Go(f.run)
	}
	f.clients++
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

// leave notes that a client of a feed has gone.
func (h *Hub) leave(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.clients--
	f.idle = time.Now()
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

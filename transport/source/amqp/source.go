// Package amqp is the source of calls that an existing Kazoo feeds, over its RabbitMQ brokers. It consumes Kazoo's presence documents and
// sends each of them to Lamplight as it came, asks Kazoo now and then which calls really run, and follows the media servers by their
// heartbeats. With Config.Serve it also takes the place of the presence role that Kazoo's Kamailio has: it answers searches, advertises the
// role, and asks Kazoo for the state of an extension that got its first watcher.
//
// source.go has the life of the source, zone.go one broker's connection, ack.go what is acknowledged to a broker. read.go says what a message
// of Kazoo's means. switches.go follows the media servers, calls.go remembers calls, and resync.go compares them with those that run.
// serve.go has the presence role.
//
// It owns nothing but its connections to the brokers. The connection to NATS belongs to the caller.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/source"
)

// Config is what a Source needs. All fields but Prefix and Serve must be set.
type Config struct {
	Brokers []string      // AMQP URIs, one for each zone of Kazoo
	Queue   string        // the durable queue of the bridge; bridges with the same one stand in for each other
	Serve   bool          // take the place of Kazoo's presence role
	Resync  time.Duration // how often Kazoo is asked which calls run

	Conn    *nats.Conn
	Prefix  subject.Prefix
	Version string
	Log     *slog.Logger
}

// Source implements source.Source.
type Source struct {
	cfg    Config
	node   string // the Node of what the bridge publishes
	client *client.Client
	sink   source.Sink
	zones  []*zone
	calls  calls
	heard  chan heard   // what the keeper is told
	stamp  atomic.Int64 // the last Timestamp that the source gave, in microseconds
	inTurn inTurn
	times  times
	work   sync.WaitGroup // goroutines that end with the source
}

// New makes a Source. It starts nothing.
func New(c Config) *Source {
	s := &Source{cfg: c, node: "lamplight@" + c.Queue, heard: make(chan heard, 1024),
		times: times{answer: 3 * time.Second, grace: 30 * time.Second, silent: 45 * time.Second, tick: 250 * time.Millisecond, advert: 10 * time.Second, arrange: 10 * time.Second, refused: 15 * time.Second}}
	s.client = client.New(client.Config{Conn: c.Conn, Prefix: c.Prefix, App: app, AppVersion: c.Version})
	s.calls.known = map[callKey]knownCall{}
	s.inTurn.waiting = map[string][]func(){}
	for i, url := range c.Brokers {
		s.zones = append(s.zones, &zone{source: s, url: url, number: i})
	}
	return s
}

// times are how long the source waits for what. Tests wait for less.
type times struct {
	answer  time.Duration // how long Kazoo's nodes may take to say which calls run
	grace   time.Duration // how old a call must be to be ended because no answer lists it
	silent  time.Duration // on top of a heartbeat's Expires: how long nobody may name a media server, as in Kazoo
	tick    time.Duration // how often the keeper looks what is due
	advert  time.Duration // how often the presence role is advertised
	arrange time.Duration // how often exchanges and bindings are declared again
	refused time.Duration // for how long a broker must have refused the credentials before the bridge ends, if it reaches no other one
}

// app is the App-Name of all that the bridge publishes.
const app = "lamplight"

// Name implements source.Source. Bridges of one queue are one source, whichever of them consumes the queue at the moment: when one of them
// goes, the others say that the source lives.
func (s *Source) Name() string { return "amqp-" + s.cfg.Queue }

// Run implements source.Source. It returns an error when the only broker that it has, or all of them, refuse it since it was started.
func (s *Source) Run(ctx context.Context, sink source.Sink) error {
	s.sink = sink
	ctx, cancel := context.WithCancelCause(ctx)
	defer s.work.Wait()
	defer cancel(nil)
	if s.cfg.Serve {
		stop, err := s.hearWatchers(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	var all sync.WaitGroup
	for _, z := range s.zones {
		all.Go(func() {
			if err := z.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Go(func() { s.keep(ctx) })
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// now is the time of arrival of a message, as a Timestamp: microseconds that only rise. Kazoo's documents have no Timestamp. A broker keeps
// its messages in order, so the time of arrival orders the states of a register also when one of them has to be sent again.
func (s *Source) now() int64 {
	for {
		last := s.stamp.Load()
		next := max(time.Now().UnixMicro(), last+1)
		if s.stamp.CompareAndSwap(last, next) {
			return next
		}
	}
}

// connected notes whether a broker is reached, after the zone has set z.session.
func (s *Source) connected(z *zone, why error) {
	if why != nil {
		s.sink.Connected(false, why)
		return
	}
	if slices.ContainsFunc(s.zones, func(z *zone) bool { return !z.reached() }) {
		return
	}
	s.sink.Connected(true, nil)
	s.cfg.Log.Info("the bridge consumes", "source", s.Name(), "broker", client.Redacted(z.url), "queue", s.cfg.Queue)
}

var errNotYet = errors.New("the broker is not reached yet")

// tell passes something to the keeper. What the keeper has no room for is dropped and counted: heartbeats and answers come again.
func (s *Source) tell(h heard) {
	select {
	case s.heard <- h:
	default:
		s.sink.Refused("the bridge is behind", fmt.Sprintf("%T", h))
	}
}

// inTurn does the work for each name one after the other.
type inTurn struct {
	mu      sync.Mutex
	waiting map[string][]func() // by name, what waits behind the work that is being done; a name without any is absent
}

// do has work done when the work for this name that came before is done, in a goroutine of group.
func (t *inTurn) do(group *sync.WaitGroup, name string, work func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	behind, busy := t.waiting[name]
	if busy {
		t.waiting[name] = append(behind, work)
		return
	}
	t.waiting[name] = nil
	group.Go(func() {
		for ; work != nil; work = t.next(name) {
			work()
		}
	})
}

// next returns what is to be done next for a name; nil when nothing waits.
func (t *inTurn) next(name string) (work func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if behind := t.waiting[name]; len(behind) > 0 {
		work, t.waiting[name] = behind[0], behind[1:]
		return work
	}
	delete(t.waiting, name)
	return nil
}

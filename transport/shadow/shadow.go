// Package shadow compares Lamplight's lamps and subscriptions with those of a presence server that runs beside it, before phones are moved. The
// running system is Kazoo, which is asked over its RabbitMQ brokers and whose NOTIFYs are read there, or any presence server that takes
// SUBSCRIBE requests, such as Kamailio: there the package watches chosen extensions as a phone does. It changes nothing at either side.
//
// What differs for longer than a grace time is a difference. It is reported with what each side said, which events each saw, and its likely
// cause, if there is evidence for one. What differs for less is counted: one of the sides was later than the other.
//
// shadow.go has the life of the comparison. book.go keeps what both sides say and finds the differences, listings.go takes their listings,
// subscriptions.go compares subscriptions, cause.go names causes, clock.go compares clocks; none of these does I/O. report.go has what is
// reported. lamplight.go, kazoo.go with kazoo_read.go, and phones.go ask the sides.
//
// What is kept grows with the extensions that are lit or watched, up to fixed bounds.
package shadow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/sip/phone"
)

// Config is what a comparison needs. All fields but Prefix must be set, and either Brokers or Extensions.
type Config struct {
	Realm    string
	Grace    time.Duration // how long the sides may differ before that is a difference
	Every    time.Duration // how often both sides are asked for listings
	Interval time.Duration // how often a summary is reported
	Report   Reporter

	Brokers []string // AMQP URIs of Kazoo's brokers, one for each zone

	Extensions []string        // the users to watch over SIP, in lower case
	Phone      phone.Config    // how their presence server is reached
	Subscribe  phone.Subscribe // as whom: Watcher ("": each extension itself), Password and Expires

	Conn       *nats.Conn // it should reconnect for ever, as one of client.Connect does
	Prefix     subject.Prefix
	Version    string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Shadow is a comparison. Run runs it.
type Shadow struct {
	cfg     Config
	log     *slog.Logger
	client  *client.Client
	metrics *metrics
	work    sync.WaitGroup // goroutines that end with Run
	do      chan func(b *book, now time.Time)
	times   times

	// Only the goroutine of Run uses these.
	listings   [2]Listings
	unreadable int
}

// times are how long the comparison waits for what. Tests wait for less.
type times struct {
	tick    time.Duration // how often it looks for differences that are due
	answer  time.Duration // how long a side may take for a listing
	refused time.Duration // for how long a side must have refused the credentials before the comparison ends
}

// app is the App-Name of what the comparison publishes and asks.
const app = "lamplight-shadow"

// New makes a Shadow. It starts nothing.
func New(c Config) *Shadow {
	return &Shadow{cfg: c, log: loglimit.Limit(c.Log), client: client.New(client.Config{Conn: c.Conn, Prefix: c.Prefix, App: app, AppVersion: c.Version}),
		metrics: newMetrics(c.Registerer), do: make(chan func(*book, time.Time), 1024), times: times{tick: 100 * time.Millisecond, answer: 10 * time.Second, refused: 15 * time.Second}}
}

// Run compares until ctx ends, and then reports the last summary. It returns an error that no later try can mend: a realm that no account of
// Lamplight has, or credentials that the running system refuses.
func (s *Shadow) Run(ctx context.Context) error {
	begun := time.Now()
	b := newBook(s.cfg.Realm, s.cfg.Grace, s.cfg.Report)
	live := len(s.cfg.Extensions) > 0 // the running system tells every change
	if live {
		b.only = map[string]bool{}
		for _, user := range s.cfg.Extensions {
			b.only[user] = true
		}
	}
	here, cancel := context.WithCancelCause(ctx)
	defer s.work.Wait()
	defer cancel(nil)
	part := func(run func(ctx context.Context) error) {
		s.work.Go(func() {
			if err := run(here); err != nil && here.Err() == nil {
				cancel(err)
			}
		})
	}
	part(s.watchLamplight)
	part(s.listLamplight)
	if live {
		part(s.watchPhones)
	} else {
		part(s.watchKazoo)
	}
	tick, interval := time.NewTicker(s.times.tick), time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	defer interval.Stop()
	summary := func(now time.Time) *Summary {
		sum := &Summary{At: now, Seconds: now.Sub(begun).Seconds(), Unreadable: s.unreadable}
		sum.Listings.Lamplight, sum.Listings.Running = s.listings[lamplight], s.listings[running]
		b.sum(sum, live)
		s.metrics.show(sum)
		return sum
	}
	shown, took := begun, time.Duration(0) // when the metrics were last set, and how long that took: it goes over all extensions
	for {
		select {
		case <-here.Done():
			s.cfg.Report.Summary(summary(time.Now()))
			if err := context.Cause(here); ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case do := <-s.do:
			do(b, time.Now())
		case now := <-tick.C:
			for _, user := range b.due(live, now) {
				s.work.Go(func() { s.explain(here, user) })
			}
			if now.Sub(shown) >= max(time.Second, 20*took) {
				summary(now)
				shown, took = now, time.Since(now)
			}
		case now := <-interval.C:
			s.cfg.Report.Summary(summary(now))
		}
	}
}

// tell has the goroutine of Run do something with the book, unless ctx ends before.
func (s *Shadow) tell(ctx context.Context, do func(b *book, now time.Time)) {
	select {
	case s.do <- do:
	case <-ctx.Done():
	}
}

// unread notes something of which nothing could be made. why has few values.
func (s *Shadow) unread(ctx context.Context, why, sample string) {
	s.metrics.unreadable.WithLabelValues(why).Inc()
	s.log.Warn("something that the running system told was passed over", "err", why, "sample", sample)
	s.tell(ctx, func(*book, time.Time) { s.unreadable++ })
}

// listed notes whether a listing of a side was complete. The goroutine of Run calls it.
func (s *Shadow) listed(at side, complete bool) {
	if complete {
		s.listings[at].Complete++
		s.metrics.listings.WithLabelValues(names[at], "complete").Inc()
		return
	}
	s.listings[at].Incomplete++
	s.metrics.listings.WithLabelValues(names[at], "incomplete").Inc()
}

// reached notes whether a side is reached.
func (s *Shadow) reached(at side, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	s.metrics.connected.WithLabelValues(names[at]).Set(value)
}

// pause waits, or until ctx ends. It returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// lampOf is the lamp that dialogs add up to, and the Call-ID, or else the id, of that which decides.
func lampOf(dialogs []presence.CallEvent) (state presence.State, call string) {
	state = presence.Terminated
	for _, d := range dialogs {
		name := d.CallID
		if name == "" {
			name = d.ID
		}
		switch {
		case d.State == presence.Early && state != presence.Early, d.State == presence.Confirmed && state == presence.Terminated:
			state, call = d.State, name
		case call == "" && state == presence.Terminated && d.State == presence.Terminated:
			call = name
		}
	}
	return state, call
}

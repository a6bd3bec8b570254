// Package freeswitch is the bridge from a FreeSWITCH switch. It connects to the event socket of the switch (mod_event_socket), asks which
// channels live, listens to events, and passes what they mean to a source.Sink: channels as calls, states of applications as registers,
// message counts as mailboxes, and registrations. docs/from-freeswitch.md says what an operator sets up.
//
// socket.go and frame.go speak the event socket's protocol, event.go reads events, session.go follows one connection, and calls.go,
// features.go and registrations.go say what events mean. The package knows nothing of NATS.
package freeswitch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/source"
)

// Config is what a Source needs. All fields but SwitchURI must be set.
type Config struct {
	Address   string // HOST:PORT of the event socket
	Password  string
	SwitchURI string // what the calls have as Switch-URI; "": made of the address that the switch says it has
	// CallerRinging is the state of a call that the extension has begun and that is not answered yet: presence.Confirmed, as mod_sofia and
	// Kazoo have it, or presence.Trying, which leaves the lamp dark.
	CallerRinging presence.State
	Log           *slog.Logger
}

const (
	silence     = 50 * time.Second // how long no heartbeat may come: FreeSWITCH sends one every 20 s
	firstRetry  = 250 * time.Millisecond
	lastRetry   = 5 * time.Second  // it is much less than the lease of a source: a switch that comes back in time keeps its calls
	resyncEvery = 10 * time.Minute // how often the switch is asked which channels live, although nothing is known to be lost
	resyncPause = 5 * time.Second  // the shortest time between two resyncs
)

// Source is the bridge from one switch. It implements source.Source.
type Source struct {
	cfg                  Config
	silence, resyncPause time.Duration

	core          string              // Core-UUID of the switch, when it was last heard of
	channels      map[string]*channel // that were told, by UUID
	lit           map[string]lit      // registers of applications that are not terminated
	registrations map[string]contacts // by extension
	ordered       *ordered            // of this Run
}

// New makes a Source. It starts nothing.
func New(c Config) *Source {
	return &Source{cfg: c, silence: silence, resyncPause: resyncPause, channels: map[string]*channel{}, lit: map[string]lit{}, registrations: map[string]contacts{}}
}

// Name implements source.Source. Bridges on the machine of their switch connect to the loopback address, which all such machines have: the
// machine's own name stands in its place. Two bridges of one switch should have the same name and share its lease, so that the calls stay
// when one of the bridges falls silent.
func (s *Source) Name() string {
	host, port, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return "freeswitch-" + s.cfg.Address
	}
	if ip := net.ParseIP(host); host == "" || strings.EqualFold(host, "localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		if own, err := os.Hostname(); err == nil {
			host = own
		}
	}
	if port == "8021" {
		return "freeswitch-" + host
	}
	return "freeswitch-" + net.JoinHostPort(host, port)
}

// final is an error that no later try can mend.
type final struct{ error }

// Unwrap lets errors.Is see what is wrong.
func (f final) Unwrap() error { return f.error }

// Run implements source.Source. It returns an error only when the switch does not take the password, or the nodes refuse the source.
func (s *Source) Run(ctx context.Context, sink source.Sink) error {
	s.ordered = newOrdered(ctx, sink)
	defer s.ordered.stop()
	pause := firstRetry
	for {
		begun := time.Now()
		err := s.session(ctx, sink)
		if ctx.Err() != nil {
			return nil
		}
		sink.Silent() // from here on nobody knows whether the switch lives
		if f, ok := errors.AsType[final](err); ok {
			sink.Connected(false, err)
			return f.error
		}
		sink.Connected(false, err)
		if time.Since(begun) > time.Minute {
			pause = firstRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, lastRetry)
	}
}

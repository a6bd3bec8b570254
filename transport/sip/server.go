package sip

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/age"
	"lamplight/transport/sip/message"
	"lamplight/transport/sip/profile"
)

// Listen is one address to listen on.
type Listen struct {
	Transport Transport
	Address   string // HOST:PORT
}

// Config is what a Server needs. All fields but those that say otherwise must be set.
type Config struct {
	Name       string // of the edge: the Server-ID of its subscriptions
	Version    string // of the product, for the header Server
	Listen     []Listen
	Advertise  string         // HOST or HOST:PORT in Via and Contact; "": the address itself
	TLS        *tls.Config    // for TLS and WSS; nil without these
	TLSClient  *tls.Config    // for TLS connections that the edge makes; nil without TLS
	Trust      []netip.Prefix // may be nil
	TrustCerts []string       // may be nil
	NoAuth     bool           // every request is taken for what its From says
	Algorithm  Algorithm      // of digest authentication
	Domains    []string       // realms that are served, in lower case; nil: all that accounts have
	Profiles   *profile.Table
	Log        *slog.Logger
	Registerer prometheus.Registerer

	MaxConnections, MaxPerAddress int           // 0: the defaults
	MaxWaiting                    int           // requests that the owners have not answered; 0: the default
	Timeout                       time.Duration // of such a request; 0: the default
}

const (
	maxWaiting  = 4096
	answerTime  = 8 * time.Second // phones give up after 32 s, and repeat a request until it is answered
	maxInFlight = 64 << 10        // NOTIFYs that phones have not answered
)

// Server is the edge. New starts nothing; Start and Stop are called by one goroutine. Told may be called from any goroutine between them.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	cluster Cluster

	incarnation string // names this process in flows
	sealer      *sealer
	counts      *counts
	seen        *seen
	strangers   *limiter // answers to requests of nobody who was authenticated
	guesses     *limiter // wrong passwords
	flows       *flows
	senders     []*notifier
	listeners   []*listener
	sockets     []*listener   // of the listeners, those on UDP
	handshakes  chan struct{} // TLS handshakes that compute
	dials       chan struct{} // connections that are being made
	waiting     atomic.Int64  // requests that the owners have not answered
	stopping    atomic.Bool
	lastEnd     age.Mark // when a NOTIFY with the reason deactivated last came or was answered

	epochs epochs

	cancel      context.CancelFunc
	reading     sync.WaitGroup
	connections sync.WaitGroup
}

// New makes a Server.
func New(c Config, cluster Cluster) *Server {
	if c.MaxWaiting == 0 {
		c.MaxWaiting = maxWaiting
	}
	if c.Timeout == 0 {
		c.Timeout = answerTime
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 64 << 10
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = max(c.MaxConnections/2, 1)
	}
	var id [4]byte
	_, _ = cryptorand.Read(id[:])
	s := &Server{cfg: c, log: c.Log.With("part", "sip"), cluster: cluster, incarnation: hex.EncodeToString(id[:]),
		sealer: newSealer(cluster.Secret()), counts: newCounts(128 << 10), seen: newSeen(128 << 10),
		strangers: newLimiter(500, 2000, 16<<10), guesses: newLimiter(0.5, 20, 16<<10),
		flows:      newFlows(c.MaxConnections, c.MaxPerAddress),
		handshakes: make(chan struct{}, 2*runtime.GOMAXPROCS(0)), dials: make(chan struct{}, maxDials)}
	for i := range min(runtime.GOMAXPROCS(0), 8) {
		s.senders = append(s.senders, newNotifier(s, i))
	}
	s.metrics = newMetrics(c.Registerer, s)
	return s
}

// Start opens the addresses and begins to serve.
func (s *Server) Start(ctx context.Context) error {
	for _, one := range s.cfg.Listen {
		l, err := listen(ctx, one.Transport, one.Address, s.cfg.Advertise)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("SIP on %s %s: %w", one.Transport, one.Address, err)
		}
		if s.listeners = append(s.listeners, l); one.Transport == UDP {
			l.index = len(s.sockets)
			s.sockets = append(s.sockets, l)
		}
	}
	run, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, n := range s.senders {
		s.reading.Go(func() { n.run(run) })
	}
	for _, l := range s.listeners {
		if l.transport == UDP {
			s.reading.Go(func() { s.readPackets(l) })
		} else {
			s.reading.Go(func() { s.acceptAll(l) })
		}
	}
	s.reading.Go(func() { s.sweep(run) })
	return nil
}

// Addr returns the HOST:PORT of the first listener of a transport; "": there is none.
func (s *Server) Addr(t Transport) string {
	for _, l := range s.listeners {
		if l.transport == t {
			return l.local.String()
		}
	}
	return ""
}

// Stop ends the edge. Subscriptions stay: they are the nodes'. Those that are tied to the edge's connections end first, so that their phones
// subscribe anew elsewhere. When ctx has ended before, they do not end and nobody is told.
func (s *Server) Stop(ctx context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.stopping.Store(true)
	if ctx.Err() == nil {
		s.drain(ctx)
	}
	for s.waiting.Load() > 0 && ctx.Err() == nil { // those who were not answered yet repeat their requests elsewhere
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	s.closeListeners()
	for _, c := range s.flows.all() {
		c.close()
	}
	s.cancel()
	s.reading.Wait()
	s.connections.Wait()
	return nil
}

const (
	drainQuiet = 500 * time.Millisecond // how long no phone must have been told that its subscription ends, before its connection is closed
	drainMost  = 5 * time.Second        // how long that takes at most
)

// drain has the subscriptions end that are tied to connections, and waits until their phones have been told.
func (s *Server) drain(ctx context.Context) {
	connected := slices.ContainsFunc(s.flows.all(), func(c *connection) bool { return c.proven.Load() })
	s.cluster.Drain(connected)
	if !connected {
		return
	}
	begun := time.Now()
	s.lastEnd.Set(begun)
	t := time.NewTicker(drainQuiet / 20)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			if age.Of(now)-s.lastEnd.Age() >= drainQuiet || now.Sub(begun) >= drainMost {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.close()
	}
}

// debtLife is longer than a source needs to pay for all that it did: 20 wrong passwords, one in 2 s.
const debtLife = time.Minute

// sweep forgets what is over, until ctx ends.
func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for turned, limits := time.Now(), time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.flows.sweep(now)
			s.seen.sweep(now)
			for _, n := range s.senders {
				n.sweep(now)
			}
			if now.Sub(limits) > debtLife {
				s.strangers.turn()
				s.guesses.turn()
				limits = now
			}
			if now.Sub(turned) > nonceLife {
				s.counts.turn()
				turned = now
			}
		}
	}
}

// reader handles messages, one at a time.
type reader struct {
	server *Server
	m      message.Message
	data   []byte // what m was read from
	out    []byte // the message that is being written
	key    uint64 // of the transaction, on UDP
	tag    []byte // the To-tag of the answer
}

var readers = sync.Pool{New: func() any { return &reader{out: make([]byte, 0, 2048)} }}

func (s *Server) newReader() *reader { return &reader{server: s, out: make([]byte, 0, 2048)} }

// receive handles one message.
func (r *reader) receive(f flow, data []byte) {
	s := r.server
	if f.connection == nil {
		if len(data) <= len(ping) && strings.Trim(string(data), "\r\n\x00") == "" { // a keep-alive
			return
		}
		if isSTUN(data) {
			if s.strangers.allow(f.remote.Addr(), time.Now()) {
				_ = f.send(appendSTUN(nil, data, f.remote))
			}
			return
		}
	}
	r.data, r.tag = data, nil
	if err := r.m.Read(data); err != nil {
		r.unreadable(f, err)
		return
	}
	if r.m.Status != 0 {
		s.answered(f, &r.m)
		return
	}
	s.metrics.requests[r.m.Method].Inc()
	switch r.m.Method {
	case message.Subscribe:
		r.subscribe(f)
	case message.Publish:
		r.publish(f)
	case message.Options:
		r.options(f)
	case message.Ack:
	case message.Cancel: // no request of ours can be cancelled: they are answered at once
		r.answerStranger(f, 481, "No Such Transaction", time.Now())
	case message.Unknown:
		r.answerStranger(f, 501, "Not Implemented", time.Now())
	default:
		r.answerStranger(f, 405, "Method Not Allowed", time.Now())
	}
}

// unreadable answers a message that could not be read, if it is a request that can be answered. r.m is what could be read of it.
func (r *reader) unreadable(f flow, err error) {
	s := r.server
	s.metrics.malformed.Inc()
	wrong, ok := err.(*message.Error)
	if !ok || wrong.Code == 0 {
		return
	}
	if r.m.Answerable() {
		r.answerStranger(f, wrong.Code, wrong.Text, time.Now())
	}
}

// options answers OPTIONS, with which a proxy asks whether the edge lives.
func (r *reader) options(f flow) {
	if s := r.server; s.stopping.Load() {
		r.answerStranger(f, 503, "Stopping", time.Now())
		return
	}
	if !r.server.trusted(f) && !r.server.strangers.allow(f.remote.Addr(), time.Now()) {
		return
	}
	r.begin(200, "OK", f, nil)
	r.out = message.AppendField(r.out, message.Accept, "application/dialog-info+xml, application/pidf+xml, application/simple-message-summary")
	r.end(f)
}

// allow are the methods that the edge knows.
const allow = "Allow: SUBSCRIBE, PUBLISH, OPTIONS, NOTIFY\r\n"

// begin begins a response: the status line and what repeats the request. tag is the To-tag; nil: one that only makes the response right
// (RFC 3261 §8.2.6.2).
func (r *reader) begin(code int, reason string, f flow, tag []byte) {
	if tag == nil && r.m.To().Tag() == nil {
		if r.tag == nil {
			r.tag = r.server.sealer.tag(make([]byte, 0, 24), &r.m, 0)
		}
		tag = r.tag
	}
	r.server.metrics.answers[r.m.Method].count(code)
	r.out = r.m.AppendEcho(message.AppendStatus(r.out[:0], code, reason), f.remote, string(tag))
}

// end ends the response and sends it.
func (r *reader) end(f flow) {
	r.out = message.AppendEnd(append(r.out, allow...), 0)
	_ = f.send(r.out)
}

// answer answers a request with a status code.
func (r *reader) answer(f flow, code int, reason string) {
	r.begin(code, reason, f, nil)
	r.end(f)
}

// answerStranger is answer for a request whose sender is not known. A source that sends very many gets no more answers.
func (r *reader) answerStranger(f flow, code int, reason string, now time.Time) {
	if !r.server.trusted(f) && !r.server.strangers.allow(f.remote.Addr(), now) {
		r.server.metrics.refused.WithLabelValues("source").Inc()
		return
	}
	r.answer(f, code, reason)
}

// later handles a copy of the present request once more when the user's credentials are known. Past the bound of requests that wait, the
// request is refused.
func (r *reader) later(f flow, realm, user string) {
	s := r.server
	if !s.admit(false) {
		r.busy(f)
		return
	}
	data := bytes.Clone(r.data)
	s.cluster.Await(realm, user, func() {
		s.waiting.Add(-1)
		again := readers.Get().(*reader)
		defer readers.Put(again)
		again.server = s
		again.receive(f, data)
	})
}

// admit counts one more request that waits. It returns false when there are too many: refreshes may fill the last quarter alone.
func (s *Server) admit(refresh bool) bool {
	most := int64(s.cfg.MaxWaiting)
	if !refresh {
		most -= most / 4
	}
	if s.waiting.Add(1) > most {
		s.waiting.Add(-1)
		s.metrics.refused.WithLabelValues("waiting").Inc()
		return false
	}
	return true
}

// busy answers 503. The time after which the phone should come again is random, so that not all come at once.
func (r *reader) busy(f flow) {
	r.begin(503, "Too Many Requests At Once", f, nil)
	r.out = message.AppendNumber(r.out, message.RetryAfter, retryAfter())
	r.end(f)
}

// retryAfter is a random number of seconds.
func retryAfter() int64 { return 5 + rand.Int64N(30) }

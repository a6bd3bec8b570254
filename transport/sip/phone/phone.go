// Package phone is a SIP phone that watches: it subscribes, refreshes, and answers NOTIFYs (RFC 6665). `lamplight presence watch --sip`,
// the load generator and tests use it. One Phone has one socket or connection, and any number of subscriptions of any number of users.
//
// Dial opens the connection; Close ends it. All methods may be called from any goroutine. Those that take a context wait until they have
// an answer or the context ends.
package phone

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"lamplight/transport/sip"
	"lamplight/transport/sip/message"
)

// Config is what a Phone needs.
type Config struct {
	Server    string // HOST:PORT of the edge or of a proxy
	Transport sip.Transport
	TLS       *tls.Config // for TLS and WSS; nil: the system's certificates are trusted
	UserAgent string      // "": none is sent
	AnySource bool        // on UDP: requests from other addresses than that of Server are taken too
	// Answer returns the status code to answer a NOTIFY with; 0: the NOTIFY is not answered. nil: every NOTIFY is answered 200. It is called
	// for one NOTIFY after the other, before Subscription.Handle, and must not wait.
	Answer func(s *Subscription, n *Notify) int
}

// Notify is one NOTIFY request. It is a copy, which the receiver may keep.
type Notify struct {
	At          time.Time
	CSeq        uint32
	Event       string // the whole header value
	State       string // Subscription-State: active, pending or terminated
	Reason      string // why it was terminated
	Expires     int    // seconds
	Contact     string // the whole header value
	ContentType string
	Body        string
	Size        int // bytes of the request
}

// Phone is one connection, or one socket on UDP.
type Phone struct {
	cfg   Config
	conn  net.Conn
	frame bool // every Read gives one message, and every Write takes one
	local string
	done  chan struct{}

	mu    sync.Mutex
	subs  map[string]*Subscription // by Call-ID
	calls map[string]*call         // requests without an answer, by branch
	err   error
}

// call is a request that has no final answer.
type call struct {
	answer chan answer
}

// answer is a final answer.
type answer struct {
	code      int
	toTag     string
	contact   string
	routes    []string
	expires   int
	minimum   int
	retry     int
	challenge string
	err       error
}

// Dial opens the connection.
func Dial(ctx context.Context, c Config) (*Phone, error) {
	p := &Phone{cfg: c, done: make(chan struct{}), subs: map[string]*Subscription{}, calls: map[string]*call{}}
	var err error
	switch c.Transport {
	case sip.UDP:
		if p.conn, err = (&net.Dialer{}).DialContext(ctx, "udp", c.Server); err == nil {
			_ = p.conn.(*net.UDPConn).SetReadBuffer(4 << 20)
			if c.AnySource {
				p.conn, err = takeAll(p.conn.(*net.UDPConn))
			}
		}
		p.frame = true
	case sip.TCP:
		p.conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", c.Server)
	case sip.TLS:
		p.conn, err = (&tls.Dialer{Config: c.TLS}).DialContext(ctx, "tcp", c.Server)
	default:
		p.conn, err = dialWebSocket(ctx, c)
		p.frame = true
	}
	if err != nil {
		return nil, err
	}
	p.local = p.conn.LocalAddr().String()
	go p.read()
	return p, nil
}

// openSocket is a socket that sends to one address and takes what comes from any. Only the goroutine that reads uses from.
type openSocket struct {
	*net.UDPConn
	server, from net.Addr // from: of what was last read
}

func (s *openSocket) Read(buffer []byte) (n int, err error) {
	n, s.from, err = s.ReadFrom(buffer)
	return n, err
}

func (s *openSocket) Write(data []byte) (int, error) { return s.WriteTo(data, s.server) }

// takeAll makes an openSocket in the place of a socket that takes what comes from its server alone.
func takeAll(c *net.UDPConn) (net.Conn, error) {
	_ = c.Close()
	open, err := net.ListenUDP("udp", c.LocalAddr().(*net.UDPAddr))
	return &openSocket{UDPConn: open, server: c.RemoteAddr()}, err
}

// Close ends the connection. It tells the server nothing: subscriptions lapse.
func (p *Phone) Close() error {
	err := p.conn.Close()
	<-p.done
	return err
}

// Done is closed when the connection has ended.
func (p *Phone) Done() <-chan struct{} { return p.done }

// Local is the phone's own address.
func (p *Phone) Local() string { return p.local }

// read reads messages until the connection ends.
func (p *Phone) read() {
	defer close(p.done)
	buffer := make([]byte, message.MaxSize+1024)
	have := 0
	var m message.Message
	var out []byte
	for {
		n, err := p.conn.Read(buffer[have:])
		if n == 0 && err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || p.cfg.Transport == sip.UDP && !errors.Is(err, net.ErrClosed) {
				continue // on UDP: an ICMP error, because the server is being started again
			}
			p.fail(err)
			return
		}
		if p.frame {
			out = p.hear(&m, buffer[:n], out)
			continue
		}
		for have += n; ; {
			size, err := message.Frame(buffer[:have])
			if err != nil {
				_ = p.conn.Close()
				p.fail(err)
				return
			}
			if size == 0 {
				if strings.Trim(string(buffer[:have]), "\r\n") == "" { // the answer to a keep-alive
					have = 0
				}
				break
			}
			out = p.hear(&m, buffer[:size], out)
			have = copy(buffer, buffer[size:have])
		}
	}
}

// fail ends all requests.
func (p *Phone) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	for branch, c := range p.calls {
		delete(p.calls, branch)
		c.answer <- answer{err: err}
	}
}

// hear handles one message. out is a buffer that it returns for the next one.
func (p *Phone) hear(m *message.Message, data, out []byte) []byte {
	now := time.Now()
	if m.Read(data) != nil {
		return out
	}
	if m.Status != 0 {
		if m.Status >= 200 {
			p.answered(m)
		}
		return out
	}
	code := 405
	var s *Subscription
	var n *Notify
	if m.Method == message.Notify {
		code = 481
		p.mu.Lock()
		s = p.subs[string(m.CallID())]
		p.mu.Unlock()
		if s != nil && string(m.To().Tag()) == s.tag {
			n, code = readNotify(m, now, len(data)), 200
			if p.cfg.Answer != nil {
				code = p.cfg.Answer(s, n)
			}
		}
	}
	if code != 0 {
		out = message.AppendStatus(out[:0], code, "Answer")
		for v := range m.Headers(message.Via) {
			out = append(append(append(out, "Via: "...), v...), "\r\n"...)
		}
		for _, name := range [...]message.Name{message.From, message.To, message.CallID, message.CSeq} {
			out = append(append(append(append(out, name.String()...), ": "...), m.Header(name)...), "\r\n"...)
		}
		out = message.AppendEnd(out, 0)
		if open, ok := p.conn.(*openSocket); ok {
			_, _ = open.WriteTo(out, open.from)
		} else {
			_ = p.send(out)
		}
	}
	if n != nil && code >= 200 && code < 300 {
		s.take(n)
	}
	return out
}

// readNotify copies what a NOTIFY says.
func readNotify(m *message.Message, now time.Time, size int) *Notify {
	n := &Notify{At: now, CSeq: m.CSeq, Event: string(m.Header(message.Event)), Contact: string(m.Header(message.Contact)), ContentType: string(m.Header(message.ContentType)), Body: string(m.Body), Size: size}
	state := m.Header(message.SubscriptionState)
	first, _, _ := strings.Cut(string(state), ";")
	n.State = strings.TrimSpace(first)
	if reason, ok := message.Param(state, "reason"); ok {
		n.Reason = string(reason)
	}
	if expires, ok := message.Param(state, "expires"); ok {
		n.Expires, _ = strconv.Atoi(string(expires))
	}
	return n
}

// answered hands a final answer to who waits for it.
func (p *Phone) answered(m *message.Message) {
	branch := string(m.Via().Branch)
	p.mu.Lock()
	c := p.calls[branch]
	delete(p.calls, branch)
	p.mu.Unlock()
	if c == nil {
		return
	}
	a := answer{code: m.Status, toTag: string(m.To().Tag()), challenge: string(m.Field("WWW-Authenticate")) + string(m.Field("Proxy-Authenticate"))}
	if contact, _, ok := message.ParseAddress(m.Header(message.Contact)); ok {
		a.contact = string(contact.URI.Text)
	}
	for v := range m.Headers(message.RecordRoute) {
		a.routes = append(a.routes, string(v))
	}
	seconds := func(n message.Name) int { s, _, _ := m.Seconds(n); return int(s) }
	a.expires, a.minimum, a.retry = seconds(message.Expires), seconds(message.MinExpires), seconds(message.RetryAfter)
	c.answer <- a
}

// send sends one message.
func (p *Phone) send(data []byte) error {
	_, err := p.conn.Write(data)
	return err
}

// ErrNoAnswer says that the server did not answer.
var ErrNoAnswer = errors.New("no answer")

// Refused says that the server refused a request.
type Refused struct {
	Code       int
	RetryAfter int // seconds; 0: it did not say
	MinExpires int // seconds; 0: it did not say
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("the server answered %d", r.Code) }

// ask sends a request until it is answered. On UDP it is sent again after 0.5, 1, 2, 4 … s (RFC 3261 §17.1.2.1).
func (p *Phone) ask(ctx context.Context, branch string, data []byte) (answer, error) {
	c := &call{answer: make(chan answer, 1)}
	p.mu.Lock()
	if p.err != nil {
		p.mu.Unlock()
		return answer{}, p.err
	}
	p.calls[branch] = c
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.calls, branch)
		p.mu.Unlock()
	}()
	pause := 500 * time.Millisecond
	for {
		if err := p.send(data); err != nil && p.cfg.Transport != sip.UDP {
			return answer{}, err
		}
		again := time.NewTimer(pause)
		if p.cfg.Transport != sip.UDP {
			again.Stop()
		}
		select {
		case a := <-c.answer:
			again.Stop()
			return a, a.err
		case <-ctx.Done():
			again.Stop()
			return answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		case <-again.C:
			pause = min(2*pause, 4*time.Second)
		}
	}
}

// newBranch returns a branch for a request.
func newBranch() string { return "z9hG4bK" + rand.Text() }

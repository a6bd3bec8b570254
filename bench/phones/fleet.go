// Package phones plays very many SIP phones from few sockets: they subscribe, refresh, authenticate and answer NOTIFYs (RFC 6665), and a
// Publication says PUBLISH (RFC 3903). The load generator, bench/peers and the tests of overload use it. Each phone has one subscription,
// needs about 200 bytes and no goroutine. A test of what the edge says to one phone takes transport/sip/phone instead.
//
// A Fleet knows nothing of what its phones ought to be told: it hands each NOTIFY to Config.Told. All methods may be called from any
// goroutine. Callbacks are called from the goroutines that read the sockets, so they must not wait.
package phones

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/transport/sip"
	"lamplight/transport/sip/message"
)

// Config is what a Fleet needs.
type Config struct {
	Servers   []string      // HOST:PORT of the edges or of another server; phone i is one of Servers[i % len(Servers)]
	Transport sip.Transport // UDP, TCP or TLS
	TLS       *tls.Config   // for TLS
	Flows     int           // sockets or connections to each server
	Local     string        // the IP address that the phones have; "": any
	Count     int           // of phones
	Phone     func(i int32) Phone
	Find      func(callID string) int32 // the phone with a Call-ID; -1: none has it
	Told      func(t *Told)             // is called for each NOTIFY; the receiver does not keep t; may be nil
	Silent    func(i int32) bool        // phones that answer no NOTIFY; nil: none
}

// Phone is one phone.
type Phone struct {
	CallID   string // of its subscription
	Watcher  string // user@realm
	Target   string // user@realm, the extension that it watches
	Password string // "": it can't authenticate
}

// Told is one NOTIFY.
type Told struct {
	Phone    int32
	At       time.Time
	CSeq     uint32
	Repeated bool   // a copy of the NOTIFY before
	State    string // of the dialog that is most important: confirmed, early, or terminated
	Ended    bool   // the subscription is terminated
}

// Answer is what became of a request.
type Answer struct {
	Code       int       // the status code of the last answer
	Err        error     // why the request failed; nil: a 2xx came
	At         time.Time // when the last answer came
	Repeats    int       // copies that were sent because no answer came
	RetryAfter int       // answers 503 after which the phone came again, when they said
}

// ErrNoAnswer says that a request was not answered in time.
var ErrNoAnswer = errors.New("no answer")

// Fleet is all the phones.
type Fleet struct {
	cfg     Config
	run     string // a part of all branches and tags
	flows   []*flow
	sent    atomic.Uint64 // requests
	told    atomic.Int64
	copies  atomic.Int64
	waiting atomic.Int64

	stop    chan struct{}
	running sync.WaitGroup
}

// flow is one socket or connection.
type flow struct {
	fleet  *Fleet
	conn   net.Conn
	local  string
	remote netip.AddrPort

	mu       sync.Mutex
	dialogs  []dialog            // of the phones of the flow: phone i is dialogs[i / len(flows)]
	requests map[string]*request // without a final answer, by branch
	failed   error
}

// dialog is the SIP dialog of one phone. The mutex of its flow guards it.
type dialog struct {
	cseq, nc     uint32
	told         uint32 // CSeq of the last NOTIFY
	branch       uint64 // of the last NOTIFY, hashed
	tag, contact string // of the server; "": there is no SIP dialog
	nonce        string
}

// request is a request that has no final answer.
type request struct {
	phone       int32
	publication *Publication // of a PUBLISH
	body        string       // of a PUBLISH
	expires     int
	branch      string
	data        []byte // nil: it waits until the server takes requests again
	next, until time.Time
	pause       time.Duration
	challenged  int
	answer      Answer
	done        func(Answer)
}

var branchSeed = maphash.MakeSeed()

// Dial opens the sockets or connections.
func Dial(ctx context.Context, c Config) (*Fleet, error) {
	f := &Fleet{cfg: c, run: rand.Text()[:8], stop: make(chan struct{})}
	each := (c.Count + c.Flows*len(c.Servers) - 1) / (c.Flows * len(c.Servers))
	for range c.Flows {
		for _, server := range c.Servers {
			conn, err := f.dial(ctx, server)
			if err != nil {
				f.Close()
				return nil, err
			}
			l := &flow{fleet: f, conn: conn, local: conn.LocalAddr().String(), dialogs: make([]dialog, each), requests: map[string]*request{}}
			l.remote, _ = netip.ParseAddrPort(conn.RemoteAddr().String())
			f.flows = append(f.flows, l)
			f.running.Go(l.read)
		}
	}
	f.running.Go(f.repeat)
	return f, nil
}

// dial opens one socket or connection.
func (f *Fleet) dial(ctx context.Context, server string) (net.Conn, error) {
	d := net.Dialer{}
	ip := net.ParseIP(f.cfg.Local)
	if f.cfg.Transport == sip.UDP {
		if ip != nil {
			d.LocalAddr = &net.UDPAddr{IP: ip}
		}
		c, err := d.DialContext(ctx, "udp", server)
		if err == nil {
			_ = c.(*net.UDPConn).SetReadBuffer(8 << 20)
		}
		return c, err
	}
	if ip != nil {
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	if f.cfg.Transport == sip.TLS {
		return (&tls.Dialer{NetDialer: &d, Config: f.cfg.TLS}).DialContext(ctx, "tcp", server)
	}
	return d.DialContext(ctx, "tcp", server)
}

// Close closes the sockets. It tells the servers nothing.
func (f *Fleet) Close() {
	close(f.stop)
	for _, l := range f.flows {
		_ = l.conn.Close()
	}
	f.running.Wait()
}

// NOTIFYs returns how many NOTIFYs came, without copies.
func (f *Fleet) NOTIFYs() int64 { return f.told.Load() }

// Copies returns how many NOTIFYs came again.
func (f *Fleet) Copies() int64 { return f.copies.Load() }

// Waiting returns how many requests have no final answer.
func (f *Fleet) Waiting() int64 { return f.waiting.Load() }

// flowOf returns the flow of a phone and its SIP dialog, which the flow's mutex guards.
func (f *Fleet) flowOf(i int32) (*flow, *dialog) {
	l := f.flows[int(i)%len(f.flows)]
	return l, &l.dialogs[int(i)/len(f.flows)]
}

// Subscribe makes or refreshes the subscription of a phone, or ends it with expires 0. done is called once: with the 2xx, with another
// final answer, or when until has come. After a 503 the phone comes again when Retry-After says. On UDP it repeats a request that is not
// answered (RFC 3261 §17.1.2.1).
func (f *Fleet) Subscribe(i int32, expires int, until time.Time, done func(Answer)) {
	l, _ := f.flowOf(i)
	l.begin(&request{phone: i, expires: expires, until: until, done: done})
}

// begin sends a new request.
func (l *flow) begin(r *request) {
	l.fleet.waiting.Add(1)
	l.mu.Lock()
	data := l.writeLocked(r, time.Now())
	err := l.failed
	if err != nil {
		delete(l.requests, r.branch)
	}
	l.mu.Unlock()
	if err != nil {
		l.end(r, err)
		return
	}
	_, _ = l.conn.Write(data)
}

// end ends a request.
func (l *flow) end(r *request, err error) {
	l.fleet.waiting.Add(-1)
	r.answer.Err, r.answer.At = err, time.Now()
	r.done(r.answer)
}

const (
	firstPause = 500 * time.Millisecond // RFC 3261 §17.1.2.1
	mostPause  = 4 * time.Second
)

// writeLocked writes a request with a CSeq and a branch of its own. The caller holds l.mu, and sends it.
func (l *flow) writeLocked(r *request, now time.Time) []byte {
	f := l.fleet
	r.branch = "z9hG4bK" + f.run + strconv.FormatUint(f.sent.Add(1), 36)
	r.pause, r.next = firstPause, now.Add(firstPause)
	if r.publication != nil {
		r.data = l.writePublish(r)
	} else {
		r.data = l.writeSubscribe(r)
	}
	l.requests[r.branch] = r
	return r.data
}

// writeSubscribe writes a SUBSCRIBE. The caller holds l.mu.
func (l *flow) writeSubscribe(r *request) []byte {
	p := l.fleet.cfg.Phone(r.phone)
	d := &l.dialogs[int(r.phone)/len(l.fleet.flows)]
	d.cseq++
	uri, to := "sip:"+p.Target, ""
	if d.tag != "" {
		uri, to = d.contact, ";tag="+d.tag
	}
	user, realm, _ := strings.Cut(p.Watcher, "@")
	b := make([]byte, 0, 768)
	b = append(append(append(b, "SUBSCRIBE "...), uri...), " SIP/2.0\r\n"...)
	b = l.appendVia(b, r.branch)
	b = append(append(append(append(append(b, "From: <sip:"...), p.Watcher...), ">;tag="...), l.tag(r.phone)...), "\r\nTo: <sip:"...)
	b = append(append(append(append(b, p.Target...), '>'), to...), "\r\nCall-ID: "...)
	b = append(append(b, p.CallID...), "\r\nCSeq: "...)
	b = strconv.AppendUint(b, uint64(d.cseq), 10)
	b = append(append(b, " SUBSCRIBE\r\nMax-Forwards: 70\r\nContact: <sip:"...), user...)
	b = append(append(append(b, '@'), l.local...), l.parameter()...)
	b = append(b, ">\r\nEvent: dialog\r\nAccept: application/dialog-info+xml\r\nUser-Agent: lamplight-bench\r\n"...)
	b = message.AppendNumber(b, message.Expires, int64(r.expires))
	if d.nonce != "" {
		d.nc++
		b = appendAuthorization(b, user, realm, p.Password, d.nonce, uri, d.nc)
	}
	return message.AppendEnd(b, 0)
}

func (l *flow) appendVia(b []byte, branch string) []byte {
	b = append(append(b, "Via: SIP/2.0/"...), strings.ToUpper(l.fleet.cfg.Transport.String())...)
	b = append(append(append(b, ' '), l.local...), ";branch="...)
	return append(append(b, branch...), ";rport\r\n"...)
}

// parameter returns the parameter transport of the URIs in the phones' Contacts; "" on UDP.
func (l *flow) parameter() string {
	if l.fleet.cfg.Transport == sip.UDP {
		return ""
	}
	return ";transport=" + l.fleet.cfg.Transport.String()
}

// tag is the tag of a phone.
func (l *flow) tag(i int32) string { return "f" + strconv.Itoa(int(i)) }

// read reads what comes until the socket is closed.
func (l *flow) read() {
	buffer := make([]byte, message.MaxSize+1024)
	if l.fleet.cfg.Transport != sip.UDP {
		buffer = buffer[:8<<10]
	}
	var m message.Message
	var out []byte
	for have := 0; ; {
		n, err := l.conn.Read(buffer[have:])
		if err != nil {
			if l.fleet.cfg.Transport == sip.UDP && !errors.Is(err, net.ErrClosed) {
				continue // an ICMP error, because the server is being started
			}
			l.fail(err)
			return
		}
		if l.fleet.cfg.Transport == sip.UDP {
			out = l.hear(&m, buffer[:n], out)
			continue
		}
		for have += n; have > 0; {
			size, err := message.Frame(buffer[:have])
			if err != nil || size == 0 && have == len(buffer) {
				_ = l.conn.Close()
				l.fail(fmt.Errorf("the server sent what is no SIP message: %w", err))
				return
			}
			if size == 0 {
				break
			}
			out = l.hear(&m, buffer[:size], out)
			have = copy(buffer, buffer[size:have])
		}
	}
}

// fail ends all requests of a flow that is closed.
func (l *flow) fail(err error) {
	l.mu.Lock()
	l.failed = err
	all := l.requests
	l.requests = map[string]*request{}
	l.mu.Unlock()
	for _, r := range all {
		l.end(r, err)
	}
}

// hear handles one message. out is a buffer that it returns for the next one.
func (l *flow) hear(m *message.Message, data, out []byte) []byte {
	if m.Read(data) != nil {
		return out
	}
	if m.Status != 0 {
		if m.Status >= 200 {
			l.answered(m)
		}
		return out
	}
	f, code := l.fleet, 405
	var t Told
	if m.Method == message.Notify {
		code = 481
		if t.Phone = f.cfg.Find(string(m.CallID())); t.Phone >= 0 && string(m.To().Tag()) == l.tag(t.Phone) {
			if code = 200; f.cfg.Silent != nil && f.cfg.Silent(t.Phone) {
				code = 0
			}
		}
	}
	if code != 0 {
		out = m.AppendEcho(message.AppendStatus(out[:0], code, "Answer"), l.remote, "")
		out = message.AppendEnd(out, 0)
		_, _ = l.conn.Write(out)
	}
	if m.Method != message.Notify || code == 481 {
		return out
	}
	t.At, t.CSeq, t.State = time.Now(), m.CSeq, lamp(m.Body)
	t.Ended = strings.HasPrefix(string(m.Header(message.SubscriptionState)), "terminated")
	branch := maphash.Bytes(branchSeed, m.Via().Branch)
	owner, d := f.flowOf(t.Phone)
	owner.mu.Lock()
	t.Repeated = d.branch == branch && d.told == t.CSeq
	d.branch, d.told = branch, t.CSeq
	if t.Ended {
		d.tag = ""
	}
	owner.mu.Unlock()
	if t.Repeated {
		f.copies.Add(1)
	} else {
		f.told.Add(1)
	}
	if f.cfg.Told != nil {
		f.cfg.Told(&t)
	}
	return out
}

// lamp is the state of the most important dialog of a document (RFC 4235).
func lamp(body []byte) string {
	text := string(body)
	switch {
	case strings.Contains(text, ">confirmed<"):
		return "confirmed"
	case strings.Contains(text, ">early<"):
		return "early"
	}
	return "terminated"
}

// answered handles a final answer.
func (l *flow) answered(m *message.Message) {
	l.mu.Lock()
	r := l.requests[string(m.Via().Branch)]
	if r == nil { // a copy of an answer
		l.mu.Unlock()
		return
	}
	delete(l.requests, r.branch)
	r.answer.Code = m.Status
	var again []byte
	var err error
	switch {
	case m.Status < 300:
		l.accepted(r, m)
	case m.Status == 401 && r.publication == nil && r.challenged < 3 && l.fleet.cfg.Phone(r.phone).Password != "":
		r.challenged++
		d := &l.dialogs[int(r.phone)/len(l.fleet.flows)]
		if d.nonce, d.nc = quoted(string(m.Field("WWW-Authenticate")), "nonce"), 0; d.nonce != "" {
			again = l.writeLocked(r, time.Now())
			break
		}
		err = errors.New("the server sent a challenge without a nonce")
	case m.Status == 503:
		seconds, _, _ := m.Seconds(message.RetryAfter)
		if at := time.Now().Add(time.Duration(max(seconds, 1)) * time.Second); at.Before(r.until) {
			r.answer.RetryAfter++
			r.data, r.next = nil, at
			l.requests[r.branch] = r
			l.mu.Unlock()
			return
		}
		fallthrough
	default:
		err = fmt.Errorf("the server answered %d", m.Status)
	}
	l.mu.Unlock()
	if again != nil {
		_, _ = l.conn.Write(again)
		return
	}
	l.end(r, err)
}

// accepted notes what a 2xx says. The caller holds l.mu.
func (l *flow) accepted(r *request, m *message.Message) {
	if r.publication != nil {
		r.publication.tag = string(m.Header(message.ETag))
		return
	}
	d := &l.dialogs[int(r.phone)/len(l.fleet.flows)]
	d.tag = string(m.To().Tag())
	if contact, _, ok := message.ParseAddress(m.Header(message.Contact)); ok {
		d.contact = string(contact.URI.Text)
	}
	if r.expires == 0 {
		d.tag = ""
	}
}

// repeat sends requests again and gives them up, until the fleet is closed.
func (f *Fleet) repeat() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-tick.C:
			for _, l := range f.flows {
				l.repeat(now)
			}
		}
	}
}

func (l *flow) repeat(now time.Time) {
	var late []*request
	var send [][]byte
	l.mu.Lock()
	for branch, r := range l.requests {
		switch {
		case now.After(r.until):
			delete(l.requests, branch)
			late = append(late, r)
		case now.Before(r.next):
		case r.data == nil: // the server said when to come again
			delete(l.requests, branch)
			send = append(send, l.writeLocked(r, now))
		case l.fleet.cfg.Transport == sip.UDP:
			r.pause = min(2*r.pause, mostPause)
			r.next = now.Add(r.pause)
			r.answer.Repeats++
			send = append(send, r.data)
		}
	}
	l.mu.Unlock()
	for _, data := range send {
		_, _ = l.conn.Write(data)
	}
	for _, r := range late {
		l.end(r, ErrNoAnswer)
	}
}

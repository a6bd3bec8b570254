package phone

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"lamplight/transport/sip"
)

// Subscribe says what a Subscription is.
type Subscribe struct {
	Watcher  string // user@realm
	Username string // to authenticate with; "": the user of Watcher
	Password string // "": the phone can't authenticate
	Target   string // user@realm, the extension
	Package  string // the event package
	Accept   string // "": no Accept is sent
	Expires  int    // seconds; 0: a fetch
	CallID   string // "": a random one
	Instance string // +sip.instance of the Contact (RFC 5626 §4.1); "": none
	Headers  string // further header lines, each with its CR LF
	// Handle is called for each NOTIFY that was answered with a 2xx, one after the other. It must not wait.
	Handle func(n *Notify)
}

// Subscription is one subscription of a phone.
type Subscription struct {
	Subscribe
	phone *Phone
	tag   string // the phone's

	turn sync.Mutex // one request after the other

	mu        sync.Mutex
	cseq      uint32
	remoteTag string // "": there is no SIP dialog
	contact   string // of the server
	routes    []string
	challenge map[string]string
	nc        uint32
	granted   int
	latest    *Notify
	changed   chan struct{}
}

// Subscribe creates a subscription, or fetches the state with Expires 0. It returns when the server has accepted it.
func (p *Phone) Subscribe(ctx context.Context, c Subscribe) (*Subscription, error) {
	if c.CallID == "" {
		c.CallID = rand.Text() + "@" + strings.NewReplacer("[", "", "]", "").Replace(p.local)
	}
	s := &Subscription{Subscribe: c, phone: p, tag: rand.Text()[:10], changed: make(chan struct{})}
	p.mu.Lock()
	p.subs[c.CallID] = s
	p.mu.Unlock()
	if err := s.Refresh(ctx, c.Expires); err != nil {
		s.Forget()
		return nil, err
	}
	return s, nil
}

// Forget forgets the subscription, as a phone does that reboots: it answers further NOTIFYs with 481.
func (s *Subscription) Forget() {
	s.phone.mu.Lock()
	defer s.phone.mu.Unlock()
	if s.phone.subs[s.CallID] == s {
		delete(s.phone.subs, s.CallID)
	}
}

// Refresh refreshes the subscription, or ends it with 0. It authenticates when it is asked to. Its error is a *Refused when the server
// refused.
func (s *Subscription) Refresh(ctx context.Context, expires int) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	for tries := 0; ; tries++ {
		branch := newBranch()
		a, err := s.phone.ask(ctx, branch, s.request(branch, expires))
		if err != nil {
			return err
		}
		switch {
		case a.code >= 200 && a.code < 300:
			s.mu.Lock()
			if s.remoteTag == "" { // the route set stays as it was when the SIP dialog began (RFC 3261 §12.2)
				s.routes = a.routes
			}
			s.remoteTag, s.granted = a.toTag, a.expires
			if a.contact != "" {
				s.contact = a.contact
			}
			s.mu.Unlock()
			return nil
		case (a.code == 401 || a.code == 407) && s.Password != "" && tries < 3 && s.challenged(a.challenge):
		default:
			return &Refused{Code: a.code, RetryAfter: a.retry, MinExpires: a.minimum}
		}
	}
}

// Count sets the CSeq of the last request: the next one has the number behind it.
func (s *Subscription) Count(cseq uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cseq = cseq
}

// Granted returns the seconds that the server granted last.
func (s *Subscription) Granted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.granted
}

// Latest returns the newest NOTIFY; nil: none came.
func (s *Subscription) Latest() *Notify {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// Until waits until the newest NOTIFY fulfils a condition, and returns it.
func (s *Subscription) Until(ctx context.Context, condition func(n *Notify) bool) (*Notify, error) {
	for {
		s.mu.Lock()
		n, changed := s.latest, s.changed
		s.mu.Unlock()
		if n != nil && condition(n) {
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n, fmt.Errorf("the NOTIFY that was waited for did not come; the newest is %+v: %w", n, ctx.Err())
		}
	}
}

// take notes a NOTIFY.
func (s *Subscription) take(n *Notify) {
	s.mu.Lock()
	s.latest = n
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.Handle != nil {
		s.Handle(n)
	}
}

// request makes a SUBSCRIBE.
func (s *Subscription) request(branch string, expires int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cseq++
	uri := "sip:" + s.Target
	if s.contact != "" {
		uri = s.contact
	}
	var b strings.Builder
	t := s.phone.cfg.Transport
	fmt.Fprintf(&b, "SUBSCRIBE %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\n", uri, strings.ToUpper(t.String()), s.phone.local, branch)
	for i := len(s.routes) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "Route: %s\r\n", s.routes[i])
	}
	to := "<sip:" + s.Target + ">"
	if s.remoteTag != "" {
		to += ";tag=" + s.remoteTag
	}
	user, _, _ := strings.Cut(s.Watcher, "@")
	contact := "<sip:" + user + "@" + s.phone.local
	if t != sip.UDP {
		contact += ";transport=" + t.String()
	}
	contact += ">"
	if s.Instance != "" {
		contact += `;+sip.instance="<` + s.Instance + `>"`
	}
	fmt.Fprintf(&b, "Max-Forwards: 70\r\nFrom: <sip:%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d SUBSCRIBE\r\nContact: %s\r\nEvent: %s\r\nExpires: %d\r\n",
		s.Watcher, s.tag, to, s.CallID, s.cseq, contact, s.Package, expires)
	if s.Accept != "" {
		fmt.Fprintf(&b, "Accept: %s\r\n", s.Accept)
	}
	if s.phone.cfg.UserAgent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", s.phone.cfg.UserAgent)
	}
	if s.challenge != nil {
		b.WriteString(s.authorization(uri))
	}
	b.WriteString(s.Headers)
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}

var challengeField = regexp.MustCompile(`([a-zA-Z]+)=(?:"([^"]*)"|([^", ]+))`)

// challenged takes a challenge. It returns false when the phone can't answer it, or has answered it in vain.
func (s *Subscription) challenged(text string) bool {
	fields := map[string]string{}
	for _, m := range challengeField.FindAllStringSubmatch(text, -1) {
		fields[strings.ToLower(m[1])] = m[2] + m[3]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fields["nonce"] == "" || s.challenge != nil && !strings.EqualFold(fields["stale"], "true") && s.nc == 1 {
		return false
	}
	s.challenge, s.nc = fields, 0
	return true
}

// authorization answers the challenge (RFC 8760 §2.4). The caller holds s.mu.
func (s *Subscription) authorization(uri string) string {
	hash := func(text string) string { sum := md5.Sum([]byte(text)); return hex.EncodeToString(sum[:]) }
	algorithm := s.challenge["algorithm"]
	if strings.EqualFold(algorithm, "SHA-256") {
		hash = func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	}
	if algorithm == "" {
		algorithm = "MD5"
	}
	user := s.Username
	if user == "" {
		user, _, _ = strings.Cut(s.Watcher, "@")
	}
	s.nc++
	nc, cnonce, realm, nonce := fmt.Sprintf("%08x", s.nc), rand.Text()[:12], s.challenge["realm"], s.challenge["nonce"]
	response := hash(hash(user+":"+realm+":"+s.Password) + ":" + nonce + ":" + nc + ":" + cnonce + ":auth:" + hash("SUBSCRIBE:"+uri))
	return fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=%s, cnonce=%q, qop=auth, nc=%s\r\n",
		user, realm, nonce, uri, response, algorithm, cnonce, nc)
}

// Keep refreshes the subscription when three quarters of its time are over, until ctx ends, the server ends it, or a refresh fails for
// another reason than a moment's. It returns why.
func (s *Subscription) Keep(ctx context.Context) error {
	for {
		pause := max(time.Duration(s.Granted())*time.Second*3/4, time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err := s.Refresh(ctx, s.Expires)
		if refused, ok := errors.AsType[*Refused](err); ok && refused.Code == 503 {
			select {
			case <-time.After(time.Duration(max(refused.RetryAfter, 1)) * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			err = s.Refresh(ctx, s.Expires)
		}
		if err != nil {
			return err
		}
	}
}

// Version returns the version of a dialog-info document; 0: it is none.
func (n *Notify) Version() uint32 {
	_, rest, _ := strings.Cut(n.Body, "<dialog-info")
	_, rest, _ = strings.Cut(rest, ` version="`)
	text, _, _ := strings.Cut(rest, `"`)
	v, _ := strconv.ParseUint(text, 10, 32)
	return uint32(v)
}

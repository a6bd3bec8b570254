package sip

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/sip/message"
	"lamplight/transport/sip/profile"
)

// The times of a subscription, in seconds (RFC 6665 §4.2.1.1).
const (
	leastExpires   = 60   // shorter ones are refused with 423
	longestExpires = 3600 // what is asked for above it is granted as this
)

// subscribe handles a SUBSCRIBE (RFC 6665 §4.2.1).
func (r *reader) subscribe(f flow) {
	s, m, now := r.server, &r.m, time.Now()
	p, to, ok := r.about(f, now)
	if !ok {
		return
	}
	begun, inDialog := uint32(now.Unix()), m.To().Tag() != nil
	if inDialog {
		if begun, ok = s.sealer.begun(m); !ok || !s.epochs.current(to, begun) {
			r.answerStranger(f, 481, "Subscription Does Not Exist", now)
			return
		}
	}
	by, ok := r.authenticate(f, to.Realm, now)
	if !ok {
		return
	}
	expires, ok := r.granted(f, longestExpires)
	if !ok {
		return
	}
	if m.Header(message.Require) != nil {
		r.badExtension(f)
		return
	}
	if !r.acceptable(p) {
		r.answer(f, 406, "Only "+p.ContentType()+" Can Be Sent")
		return
	}
	contact, _, ok := message.ParseAddress(m.Header(message.Contact))
	if !ok || contact.URI.Scheme != "sip" && contact.URI.Scheme != "sips" {
		r.answer(f, 400, "Contact Missing Or Malformed")
		return
	}
	if s.stopping.Load() || !s.admit(inDialog) {
		r.busy(f)
		return
	}
	if f.connection == nil && !s.seen.begin(r.key, now) {
		s.waiting.Add(-1)
		return
	}
	w := newWait()
	w.server, w.flow, w.key, w.begun, w.expires, w.method, w.came = s, f, r.key, begun, expires, m.Method, now
	w.echo = m.AppendEcho(w.echo[:0], f.remote, "")
	w.tag = w.tag[:0]
	if !inDialog {
		w.tag = s.sealer.tag(w.tag, m, begun)
		w.echo = m.AppendEcho(w.echo[:0], f.remote, string(w.tag))
	}
	w.extra = w.extra[:0]
	for value := range m.Headers(message.RecordRoute) {
		w.extra = append(append(append(w.extra, "Record-Route: "...), value...), "\r\n"...)
	}
	w.extra = f.listener.appendContact(w.extra, to.User)
	ev := r.event(f, p, by, to, &contact, w.tag)
	ev.Expires, ev.InDialog = int(expires), inDialog
	if inDialog {
		ev.CSeq, ev.HasCSeq = m.CSeq, true
	}
	w.subscription = subscription{ev.CallID, to, p}
	w.notifier = s.notifierOf(to)
	w.notifier.hold(w.subscription)
	s.log.Debug("SUBSCRIBE", "extension", to.String(), "package", p.String(), "callid", ev.CallID, "expires", expires, "from", f.remote)
	s.cluster.Subscribe(to, ev, now.Add(s.cfg.Timeout), w.finish)
}

// about returns the event package and the extension that a SUBSCRIBE or PUBLISH is about. ok is false for a request that is refused for one
// of these, which has been answered, and for a copy of a request that came before.
func (r *reader) about(f flow, now time.Time) (p presence.Package, to presence.Address, ok bool) {
	if p, ok = r.eventPackage(); !ok {
		r.badEvent(f, now)
		return p, to, false
	}
	if r.repeated(f) {
		return p, to, false
	}
	to, wrong := r.extension()
	if wrong != nil {
		r.answerStranger(f, wrong.Code, wrong.Text, now)
	}
	return p, to, wrong == nil
}

// badExtension answers a request that demands an extension of SIP: the edge has none that could be demanded (RFC 3261 §8.2.2.3).
func (r *reader) badExtension(f flow) {
	r.begin(420, "Bad Extension", f, nil)
	r.out = append(append(append(r.out, "Unsupported: "...), r.m.Header(message.Require)...), "\r\n"...)
	r.end(f)
}

// eventPackage returns the event package of a request. It ignores what is behind the first dot, such as a template package, so that
// dialog.winfo is not dialog.
func (r *reader) eventPackage() (presence.Package, bool) {
	name, _, _ := bytes.Cut(r.m.Header(message.Event), []byte{';'})
	name = bytes.TrimSpace(name)
	for p := range presence.LastPackage + 1 {
		if strings.EqualFold(p.String(), string(name)) {
			return p, true
		}
	}
	return 0, false
}

// badEvent answers a request for an event package that the edge does not serve (RFC 6665 §8.3.2). Phones ask for some of these every
// minute, so it challenges nobody.
func (r *reader) badEvent(f flow, now time.Time) {
	if !r.server.trusted(f) && !r.server.strangers.allow(f.remote.Addr(), now) {
		return
	}
	r.begin(489, "Bad Event", f, nil)
	r.out = append(r.out, allowEvents...)
	r.end(f)
}

// allowEvents names the event packages.
var allowEvents = func() string {
	var all []string
	for p := range presence.LastPackage + 1 {
		all = append(all, p.String())
	}
	return "Allow-Events: " + strings.Join(all, ", ") + "\r\n"
}()

// repeated handles a copy of a request that came before on UDP: it is answered as that one was, or not yet.
func (r *reader) repeated(f flow) bool {
	if f.connection != nil {
		return false
	}
	s := r.server
	r.key = s.seen.key(&r.m)
	how, known := s.seen.before(r.key)
	if !known || how.code == 0 {
		return known
	}
	s.metrics.repeated.Inc()
	var tag []byte
	if r.m.To().Tag() == nil && how.begun != 0 {
		tag = s.sealer.tag(nil, &r.m, how.begun)
	}
	r.begin(int(how.code), phrase(int(how.code)), f, tag)
	if how.code == 200 {
		r.out = message.AppendNumber(r.out, message.Expires, int64(how.expires))
		if how.tag != "" {
			r.out = message.AppendField(r.out, message.ETag, how.tag)
		} else if to, wrong := r.extension(); wrong == nil {
			for value := range r.m.Headers(message.RecordRoute) {
				r.out = append(append(append(r.out, "Record-Route: "...), value...), "\r\n"...)
			}
			r.out = f.listener.appendContact(r.out, to.User)
		}
	}
	r.end(f)
	return true
}

// extension returns the extension that a request is about. Within a SIP dialog the Request-URI is the edge's own Contact, and To names
// the extension.
func (r *reader) extension() (presence.Address, *message.Error) {
	u := r.m.Target()
	if r.m.To().Tag() != nil {
		u = &r.m.To().URI
	}
	switch {
	case u.Scheme == "tel" || u.Scheme == "":
		return presence.Address{}, errNoRealm
	case len(u.User) == 0:
		return presence.Address{}, errNoUser
	}
	to, err := presence.ParsePresenceID(string(u.User) + "@" + string(u.Host))
	if err != nil {
		return presence.Address{}, errNoExtension
	}
	if d := r.server.cfg.Domains; d != nil && !slices.Contains(d, to.Realm) {
		return presence.Address{}, errOtherRealm
	}
	return to, nil
}

var (
	errNoRealm     = &message.Error{Code: 404, Text: "A tel URI Names No Realm"}
	errNoUser      = &message.Error{Code: 404, Text: "The URI Names No Extension"}
	errNoExtension = &message.Error{Code: 400, Text: "The URI Is No Extension"}
	errOtherRealm  = &message.Error{Code: 404, Text: "This Edge Does Not Serve The Realm"}
)

// granted returns the seconds that a request is granted, at most most. It answers a request with a wrong or too short Expires.
func (r *reader) granted(f flow, most uint32) (uint32, bool) {
	expires, found, ok := r.m.Seconds(message.Expires)
	switch {
	case !ok:
		r.answer(f, 400, "Malformed Expires")
		return 0, false
	case !found:
		return most, true
	case expires > 0 && expires < leastExpires:
		r.begin(423, "Interval Too Brief", f, nil)
		r.out = message.AppendNumber(r.out, message.MinExpires, leastExpires)
		r.end(f)
		return 0, false
	}
	return min(expires, most), true
}

// acceptable says whether the phone accepts the documents of the package. One that says nothing accepts them.
func (r *reader) acceptable(p presence.Package) bool {
	m := &r.m
	return m.Header(message.Accept) == nil || m.Lists(message.Accept, p.ContentType()) || m.Lists(message.Accept, "*/*") || m.Lists(message.Accept, "application/*") ||
		p == presence.Presence && m.Lists(message.Accept, profile.ContentTypeXPIDF)
}

// event makes the message for the owner of the extension. All its strings are parts of one.
func (r *reader) event(f flow, p presence.Package, by sender, to presence.Address, contact *message.Address, tag []byte) *presence.Subscribe {
	s, m := r.server, &r.m
	if len(tag) == 0 {
		tag = m.To().Tag()
	}
	agent := m.Header(message.UserAgent)
	agent = agent[:min(len(agent), 256)]
	b := make([]byte, 0, 512+len(m.CallID())+len(contact.Text)+len(agent)+len(m.Header(message.RecordRoute)))
	ev := &presence.Subscribe{Package: p, ServerID: s.cfg.Name}
	var ends [7]int
	for i, part := range [6][]byte{m.CallID(), m.From().Tag(), tag, contact.Text, agent, nil} {
		if b = append(b, part...); i == 5 {
			b = append(append(append(b, by.user...), '@'), to.Realm...)
		}
		ends[i+1] = len(b)
	}
	shape := s.cfg.Profiles.For(agent)
	if p == presence.Presence {
		shape = shape.Accepting(m.Lists(message.Accept, p.ContentType()), m.Lists(message.Accept, profile.ContentTypeXPIDF))
	}
	b = appendRoute(b, f, s.incarnation, shape.Name, m)
	all := string(b)
	ev.CallID, ev.FromTag, ev.ToTag = all[:ends[1]], all[ends[1]:ends[2]], all[ends[2]:ends[3]]
	ev.Contact, ev.UserAgent, ev.From, ev.ProxyRoute = all[ends[3]:ends[4]], all[ends[4]:ends[5]], all[ends[5]:ends[6]], all[ends[6]:]
	event := m.Header(message.Event)
	ev.MaxRate, ev.MinRate = rate(event, "max-rate"), rate(event, "min-rate")
	return ev
}

// rate reads a rate of RFC 6446 §9.3, in notifications a second with up to three decimals, as notifications in 1000 seconds; 0: there is
// none that can be read.
func rate(event []byte, name string) (n uint32) {
	text, found := message.Param(event, name)
	if !found || len(text) == 0 || len(text) > 9 {
		return 0
	}
	whole, part, _ := bytes.Cut(text, []byte{'.'})
	digits := append(append(make([]byte, 0, 16), whole...), "000"...)
	copy(digits[len(whole):], part[:min(len(part), 3)])
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1e8 {
			return 0
		}
		n = n*10 + uint32(c-'0')
	}
	return n
}

// rates are the parameters of Subscription-State that repeat a watcher's rates (RFC 6446 §9.3).
func rates(maxRate, minRate uint32) string {
	if maxRate == 0 && minRate == 0 {
		return ""
	}
	text := ""
	for _, r := range [...]struct {
		name string
		rate uint32
	}{{"max-rate", maxRate}, {"min-rate", minRate}} {
		if r.rate != 0 {
			text += ";" + r.name + "=" + strconv.FormatFloat(float64(r.rate)/1000, 'f', -1, 64)
		}
	}
	return text
}

// wait is a request that its owner has not answered.
type wait struct {
	server       *Server
	flow         flow
	key          uint64
	begun        uint32
	expires      uint32
	method       message.Method
	came         time.Time // the request
	echo, extra  []byte
	tag          []byte
	notifier     *notifier // of a SUBSCRIBE
	subscription subscription
	finish       func(Outcome)
}

var waits sync.Pool

// newWait returns an empty wait.
func newWait() *wait {
	if w, ok := waits.Get().(*wait); ok {
		return w
	}
	w := &wait{}
	w.finish = w.end
	return w
}

// end sends the answer to the phone, and then lets the NOTIFYs of the subscription go.
func (w *wait) end(o Outcome) {
	s := w.server
	b := message.AppendStatus(make([]byte, 0, len(w.echo)+len(w.extra)+256), o.Code, phrase(o.Code))
	b = append(b, w.echo...)
	switch o.Code {
	case 200:
		b = message.AppendNumber(append(b, w.extra...), message.Expires, int64(w.expires))
		if o.Tag != "" {
			b = message.AppendField(b, message.ETag, o.Tag)
		}
	case 480, 500, 503:
		b = message.AppendNumber(b, message.RetryAfter, retryAfter())
	}
	b = message.AppendEnd(append(b, allow...), 0)
	s.metrics.answers[w.method].count(o.Code)
	s.metrics.seconds[w.method].Observe(time.Since(w.came).Seconds())
	if w.flow.connection == nil {
		if o.Code == 503 { // the phone repeats the request, and it may succeed then
			s.seen.forget(w.key)
		} else {
			s.seen.end(w.key, answered{code: int16(o.Code), expires: w.expires, begun: w.begun, tag: o.Tag})
		}
	}
	_ = w.flow.send(b)
	if w.notifier != nil {
		w.notifier.release(w.subscription)
	}
	s.waiting.Add(-1)
	w.server, w.flow, w.notifier, w.subscription = nil, flow{}, nil, subscription{}
	waits.Put(w)
}

// phrases are the reason phrases of the answers that owners give.
var phrases = map[int]string{200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 412: "Conditional Request Failed",
	413: "Request Entity Too Large", 480: "The Account Has Used Its Budget", 481: "Subscription Does Not Exist", 500: "CSeq Went Back", 503: "Service Unavailable"}

// phrase is the reason phrase of a status code.
func phrase(code int) string {
	if p := phrases[code]; p != "" {
		return p
	}
	return "Refused"
}

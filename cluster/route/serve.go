package route

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
	"lamplight/cluster/subject"
)

// Bounds of what is done for other nodes.
const (
	maxLong     = 16               // listings and commands to realms at a time
	maxAskers   = 1024             // nodes
	maxAsked    = 2 * maxPeerCalls // calls of one node
	maxRows     = 1 << 18          // subscriptions in answers to one node that are to be sent
	longestCall = time.Minute
	skewWindow  = 30 * time.Second
)

// asker is a node that asks this one, and the answers that wait to be sent to it. As with a peer, a goroutine sends as
// long as there is something to send.
type asker struct {
	router  *Router
	subject string
	start   uint64
	skew    skew

	mu      sync.Mutex
	open    int // calls whose answer was not sent
	rows    int // of the answers that are to be sent
	ready   []reply
	sending bool
	holding bool // serve sends, when it has been through a message

	// of the goroutine that sends
	taken []reply
	body  []byte
	out   outgoing
}

// reply is an answer to one call: an Answer, or what was encoded for it already.
type reply struct {
	id     uint64
	answer actors.Answer
	body   []byte
	over   bool // of a call past the bound: it is not counted in open
}

// skew estimates how far another node's clock is from ours, so that what was held up on its way is known to be late:
// the quickest message of the last half to whole minute counts as not held up.
type skew struct {
	least, before int64
	since         int64
}

// late is for how many ms a message that was sent at theirs was held up.
func (s *skew) late(ours, theirs int64) int64 {
	away := ours - theirs
	switch age := time.Duration(ours-s.since) * time.Millisecond; {
	case s.since == 0:
		s.since, s.least, s.before = ours, away, away
	case age >= skewWindow:
		s.since, s.before, s.least = ours, s.least, away
	default:
		s.least = min(s.least, away)
	}
	return away - min(s.least, s.before)
}

// serve takes a batch of calls of another node.
func (r *Router) serve(m *nats.Msg) {
	b, err := wire.ReadBatch(m.Data)
	if err != nil || len(b.From) > subject.MaxName {
		r.metrics.strays.Inc()
		return
	}
	a := r.asker(b.From, b.Start)
	if a == nil {
		r.metrics.strays.Inc()
		return
	}
	now, late := time.Now(), a.skew.late(clock(), int64(b.Now))
	a.gather()
	for i := range b.Calls {
		c := &b.Calls[i]
		left := min(max(int64(c.Deadline-b.Now)-late, -1), longestCall.Milliseconds())
		c.Request.Deadline = now.Add(time.Duration(left) * time.Millisecond)
		r.call(a, c)
	}
	a.gathered()
}

// asker finds who asks. Only serve calls it, one message at a time.
func (r *Router) asker(node string, start uint64) *asker {
	a := r.askers[node]
	if a != nil && a.start == start {
		return a
	}
	if a == nil && len(r.askers) >= maxAskers {
		for name, other := range r.askers {
			if other.idle() {
				delete(r.askers, name)
			}
		}
		if len(r.askers) >= maxAskers {
			return nil
		}
	}
	a = &asker{router: r, subject: r.cfg.Prefix.Of(subject.Answers(node)) + "0", start: start}
	a.out.asker = a
	r.askers[node] = a
	return a
}

func (a *asker) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open == 0 && !a.sending
}

// call does one call; its answer goes back whenever it comes.
func (r *Router) call(a *asker, c *wire.Call) {
	id := c.ID
	over := !a.take()
	refuse := func(err error) { a.answer(reply{id: id, answer: actors.Answer{Err: err}, over: over}) }
	if over {
		refuse(actors.ErrBusy)
		return
	}
	to := c.Request.To
	switch {
	case c.Window != nil:
		r.aside(refuse, func() {
			w := r.window(r.ctx, c.Window, c.Request.Deadline)
			a.answer(reply{id: id, body: wire.AppendWindow(nil, &w)})
		})
	case c.Command != nil:
		r.aside(refuse, func() {
			done := r.command(r.ctx, c.Request.Deadline, c.Command)
			a.answer(reply{id: id, body: wire.AppendCommanded(nil, &done)})
		})
	case c.Request.Message == nil:
		refuse(fmt.Errorf("%w: this release does not know it", presence.ErrInvalid))
	default:
		if to.Realm == "" || to.User == "" || len(to.Realm) > subject.MaxName || len(to.User) > subject.MaxName {
			refuse(fmt.Errorf("%w: no extension", presence.ErrInvalid))
			return
		}
		_, read := c.Request.Message.(actors.Show) // short, and most are answered at once
		r.cfg.System.Do(c.Request, func(an actors.Answer) { a.answer(reply{id: id, answer: an}) }, read)
	}
}

// aside runs what takes a while, a bounded number at a time.
func (r *Router) aside(refuse func(error), f func()) {
	select {
	case r.long <- struct{}{}:
		if r.begin(func() { defer func() { <-r.long }(); f() }) {
			return
		}
		<-r.long
	default:
	}
	refuse(actors.ErrBusy)
}

// take counts a call in, if the node has not too many open.
func (a *asker) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= maxAsked {
		return false
	}
	a.open++
	a.router.serving.Add(1)
	return true
}

// answer sends the answer to a call.
func (a *asker) answer(y reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if y.over && len(a.ready) >= 2*maxAsked {
		return // the node asks on while nothing can be sent; its call ends at its deadline
	}
	if rows := len(y.answer.Subscriptions); rows > 1 && a.rows+rows > maxRows {
		y.answer = actors.Answer{Err: actors.ErrBusy}
	}
	a.rows += len(y.answer.Subscriptions)
	a.ready = append(a.ready, y)
	if !a.sending {
		a.sending = a.router.begin(a.flush)
	}
}

// gather holds answers back until gathered sends them together.
func (a *asker) gather() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holding = !a.sending; a.holding {
		a.sending = true
	}
}

func (a *asker) gathered() {
	if a.holding {
		a.flush()
	}
}

// flush sends until nothing is left to send.
func (a *asker) flush() {
	for a.next() {
		for i := range a.taken {
			y := &a.taken[i]
			if y.body == nil {
				a.body = wire.AppendAnswer(a.body[:0], &y.answer)
				a.out.add(y.id, a.body, y.answer.Err != nil)
			} else {
				a.out.add(y.id, y.body, false)
			}
			if cap(a.body) > 2*batchBytes {
				a.body = nil
			}
		}
		a.out.publish()
	}
}

// next takes what is to be sent; what was taken before has been.
func (a *asker) next() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.taken {
		y := &a.taken[i]
		a.rows -= len(y.answer.Subscriptions)
		if !y.over {
			a.open--
			a.router.serving.Add(-1)
		}
	}
	clear(a.taken)
	if cap(a.taken) > 16*batchCalls {
		a.taken = nil
	}
	a.taken, a.ready = a.ready, a.taken[:0]
	a.sending = len(a.taken) > 0
	return a.sending
}

// outgoing is a message of answers.
type outgoing struct {
	asker *asker
	data  []byte
	parts int
}

// add puts an answer in, in parts if it is larger than a message.
func (o *outgoing) add(id uint64, body []byte, failed bool) {
	most := o.asker.router.most
	for n := 0; ; n++ {
		if o.parts == 0 {
			o.data = wire.AppendHead(o.data[:0], o.asker.router.cfg.Writes(), o.asker.router.cfg.Node)
		}
		size := min(len(body), most)
		o.data = wire.AppendPart(o.data, wire.Part{ID: id, Number: n, More: size < len(body), Failed: failed}, body[:size])
		o.parts++
		if body = body[size:]; len(o.data) >= most/2 || o.parts == batchCalls {
			o.publish()
		}
		if len(body) == 0 {
			return
		}
	}
}

// publish sends what is in. What can't be sent is lost, as anything on its way may be: its caller has a deadline.
func (o *outgoing) publish() {
	if o.parts > 0 {
		_ = o.asker.router.cfg.Conn.Publish(o.asker.subject, o.data)
	}
	o.parts = 0
}

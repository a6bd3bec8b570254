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
	"lamplight/cluster/trace"
)

// The bounds of what is done for other nodes.
const (
	maxSlow     = 16               // listings and commands to realms at a time, for all nodes together
	maxAskers   = 1024             // nodes
	maxAsked    = 2 * maxPeerCalls // calls of one node that have no answer
	maxRows     = 1 << 18          // subscriptions in answers to one node that wait to be sent
	longestCall = time.Minute      // a later deadline is cut to this
	skewWindow  = 30 * time.Second
)

// asker is a node that calls this one, and the answers that wait to be sent to it. As with a peer, one goroutine (flush)
// sends as long as there is something to send.
type asker struct {
	router  *Router
	subject string
	start   uint64 // the number of the other node's start
	skew    skew

	mu      sync.Mutex
	open    int     // calls whose answer was not sent yet
	rows    int     // subscriptions in the answers that wait to be sent
	ready   []reply // answers that wait to be sent
	sending bool    // flush runs, or serve will run it
	holding bool    // serve is working through a message and sends its answers together at the end

	// Only the goroutine that sends uses these.
	taken []reply
	body  []byte
	out   outgoing
}

// reply is the answer to one call: an Answer, or a body that is encoded already.
type reply struct {
	id     uint64
	answer actors.Answer
	body   []byte
	over   bool // the call was refused because too many were open, and is not counted in open
}

// skew estimates the difference between another node's clock and ours, to find out how long a message was held up. The
// message with the smallest difference of the last 30 to 60 seconds is taken for one that was not held up at all. All
// values are in ms.
type skew struct {
	least, before int64 // the smallest difference of the present window, and of the one before
	since         int64 // when the present window began; 0: there was no message yet
}

// late returns for how many ms a message was held up that arrived at ours and was sent at theirs, each by its own node's
// clock.
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

// serve takes a batch of calls of another node. NATS calls it in one goroutine. It may run a shard's turn for a read, and
// it sends the answers that are there at its end.
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
	a.hold()
	for i := range b.Calls {
		c := &b.Calls[i]
		left := min(max(int64(c.Deadline-b.Now)-late, -1), longestCall.Milliseconds())
		c.Request.Deadline = now.Add(time.Duration(left) * time.Millisecond)
		r.call(a, c)
	}
	a.sendHeld()
}

// asker returns the asker of a node, and makes it on first use and when the node has started anew. It returns nil when
// maxAskers nodes have open calls. Only serve calls it.
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

// idle says whether nothing is open and nothing to be sent, so that the asker may be forgotten.
func (a *asker) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open == 0 && !a.sending
}

// call carries out one call. Its answer goes back when it is there.
func (r *Router) call(a *asker, c *wire.Call) {
	id := c.ID
	over := !a.admit()
	refuse := func(err error) { a.answer(reply{id: id, answer: actors.Answer{Err: err}, over: over}) }
	if over {
		refuse(actors.ErrBusy)
		return
	}
	to := c.Request.To
	switch {
	case c.Window != nil:
		r.runSlow(refuse, func() {
			w := r.window(r.ctx, c.Window, c.Request.Deadline)
			a.answer(reply{id: id, body: wire.AppendWindow(nil, &w)})
		})
	case c.Command != nil:
		r.runSlow(refuse, func() {
			done := r.command(r.ctx, c.Request.Deadline, c.Command)
			a.answer(reply{id: id, body: wire.AppendCommanded(nil, &done)})
		})
	case c.Request.Message == nil:
		refuse(fmt.Errorf("%w: this node's release does not know the message; upgrade the node", presence.ErrInvalid))
	default:
		if to.Realm == "" || to.User == "" || len(to.Realm) > subject.MaxName || len(to.User) > subject.MaxName {
			refuse(fmt.Errorf("%w: %.60q is not an extension: realm and user have 1 to %d bytes", presence.ErrInvalid, to.User+"@"+to.Realm, subject.MaxName))
			return
		}
		_, read := c.Request.Message.(actors.Show) // a read is short: this goroutine may run the shard's turn for it
		done := func(an actors.Answer) { a.answer(reply{id: id, answer: an}) }
		if c.Request.Trace != "" {
			done = r.traced(&c.Request, trace.Server, "answer as the owner", done)
		}
		r.cfg.System.Do(c.Request, done, read)
	}
}

// runSlow runs f in a goroutine of its own, at most maxSlow at a time. Past that, or when the router has stopped, it
// refuses the call.
func (r *Router) runSlow(refuse func(error), f func()) {
	select {
	case r.slow <- struct{}{}: // a place is free
		if r.begin(func() { defer func() { <-r.slow }(); f() }) {
			return
		}
		<-r.slow
	default:
	}
	refuse(actors.ErrBusy)
}

// admit counts a call in, and returns false when the node has too many open.
func (a *asker) admit() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= maxAsked {
		return false
	}
	a.open++
	a.router.openCalls.Add(1)
	return true
}

// answer queues the answer to a call to be sent. It does not block.
func (a *asker) answer(y reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if y.over && len(a.ready) >= 2*maxAsked {
		return // the node calls on while nothing can be sent to it: its call ends at its deadline, without an answer
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

// hold holds answers back until sendHeld sends them together.
func (a *asker) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holding = !a.sending; a.holding {
		a.sending = true
	}
}

// sendHeld sends the answers that came since hold, if no other goroutine was sending at that time.
func (a *asker) sendHeld() {
	if a.holding {
		a.flush()
	}
}

// flush sends answers until none is left. It encodes and publishes without the lock.
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

// next counts the answers out that were sent, and takes those that wait. It returns false when there are none.
func (a *asker) next() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.taken {
		y := &a.taken[i]
		a.rows -= len(y.answer.Subscriptions)
		if !y.over {
			a.open--
			a.router.openCalls.Add(-1)
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

// outgoing is a message of answers that is being filled.
type outgoing struct {
	asker *asker
	data  []byte
	parts int // in the message
}

// add puts an answer into the message, and sends the message when it is full. An answer that is larger than a message goes
// in several parts.
func (o *outgoing) add(id uint64, body []byte, failed bool) {
	full := o.asker.router.fullAt
	for n := 0; ; n++ {
		if o.parts == 0 {
			o.data = wire.AppendHead(o.data[:0], o.asker.router.cfg.Writes(), o.asker.router.cfg.Node)
		}
		size := min(len(body), full)
		o.data = wire.AppendPart(o.data, wire.Part{ID: id, Number: n, More: size < len(body), Failed: failed}, body[:size])
		o.parts++
		if body = body[size:]; len(o.data) >= full/2 || o.parts == batchCalls {
			o.publish()
		}
		if len(body) == 0 {
			return
		}
	}
}

// publish sends the message, if there is anything in it. Answers that cannot be sent are lost, like those that are lost
// on their way: the callers have a deadline.
func (o *outgoing) publish() {
	if o.parts > 0 {
		o.asker.router.tooLarge(o.asker.router.cfg.Conn.Publish(o.asker.subject, o.data), len(o.data))
	}
	o.parts = 0
}

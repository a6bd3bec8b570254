package route

import (
	"errors"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

const (
	batchCalls   = 256       // calls, or parts of answers, in one message
	batchBytes   = 256 << 10 // about the size of a full message
	maxAnswer    = 64 << 20  // bytes of one answer
	expireEvery  = 50 * time.Millisecond
	movedAfter   = time.Second // only calls that were sent so long ago are checked for a shard that has moved
	noResponders = "503"       // the status with which NATS says that nobody listens
)

var errGone = errors.New("the node was declared dead")

// remote is what a peer notes of a try. peer.mu guards it.
type remote struct {
	id     uint64
	batch  uint64 // the number of the message that it was sent in; 0: it was not sent yet
	size   int    // in bytes
	sent   time.Time
	parted []byte    // what has come of an answer in several parts
	part   int       // the number of the next part
	moved  time.Time // since when the shard is held by another node than the one that was asked; zero: it is not
}

// batch is the calls of one message.
type batch struct {
	begun time.Time
	clock int64 // clock() when the batch was begun
	data  []byte
	calls []uint64 // their ids
}

// peer is the calls of this node to another one that have no answer yet. One goroutine (flush) sends as long as there is
// something to send. Calls that come while it sends go together in the next message.
type peer struct {
	router  *Router
	name    string
	subject string

	mu         sync.Mutex
	pending    map[uint64]*try // by id: sent or still to be sent
	bytes      int             // of all pending calls, and of answers that have come in part
	batches    []*batch        // to be sent
	spare      *batch          // a batch that was sent, to be filled again
	sending    bool            // flush runs
	closed     bool
	nextExpire time.Time // expire does nothing before
}

// send takes a call on and does not block. What becomes of it is told later. An error says that it was not taken: errGone
// for a peer that was declared dead, else an error for the caller.
func (p *peer) send(t *try) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return errGone
	case len(p.pending) >= p.router.cfg.MaxCalls || p.bytes >= p.router.cfg.MaxBytes:
		return actors.ErrBusy
	}
	b := p.last()
	t.remote = &remote{id: p.router.ids.Add(1), size: len(b.data)}
	deadline := uint64(max(b.clock+t.req.Deadline.Sub(b.begun).Milliseconds(), 0))
	call := wire.Call{ID: t.id, Deadline: deadline, Request: t.req}
	if t.node != nil {
		call.Window, call.Command = t.node.window, t.node.command
	}
	b.data = wire.AppendCall(b.data, call)
	b.calls = append(b.calls, t.id)
	t.size = len(b.data) - t.size
	p.bytes += t.size
	p.pending[t.id] = t
	if t.req.Deadline.Sub(b.begun) < 2*routerSleep { // run may sleep until then
		p.router.soon()
	}
	if !p.sending {
		if p.sending = p.router.begin(p.flush); !p.sending { // the router has stopped
			p.drop(t)
			return actors.ErrUnavailable
		}
	}
	return nil
}

// last returns the batch that takes the next call. The caller holds p.mu.
func (p *peer) last() *batch {
	if n := len(p.batches); n > 0 {
		if b := p.batches[n-1]; len(b.calls) < batchCalls && len(b.data) < p.router.fullAt {
			return b
		}
	}
	b := p.spare
	p.spare = nil
	if b == nil {
		b = &batch{}
	}
	*b = batch{begun: time.Now(), clock: clock(), data: wire.AppendHead(b.data[:0], p.router.cfg.Writes(), p.router.cfg.Node), calls: b.calls[:0]}
	p.batches = append(p.batches, b)
	return b
}

// flush sends batches until none is left. It publishes without p.mu. Before it takes a batch it yields once, so that all
// who are about to call have done so: 64 callers then send some 24 calls a message, and without it
// 1.4 (BenchmarkCallers).
func (p *peer) flush() {
	for {
		runtime.Gosched()
		p.mu.Lock()
		if len(p.batches) == 0 {
			p.sending = false
			p.mu.Unlock()
			return
		}
		b := p.batches[0]
		p.batches = p.batches[1:]
		number, now := p.router.batches.Add(1), time.Now()
		for _, id := range b.calls {
			if t := p.pending[id]; t != nil {
				t.batch, t.sent = number, now // from here on the call may have reached its owner
			}
		}
		p.mu.Unlock()
		p.router.metrics.remote.Add(float64(len(b.calls)))
		b.data = wire.AppendNow(b.data, uint64(clock()), p.router.start)
		reply := p.router.answersPrefix + strconv.FormatUint(number, 10)
		if err := p.router.cfg.Conn.PublishMsg(&nats.Msg{Subject: p.subject, Reply: reply, Data: b.data}); err != nil {
			p.router.tooLarge(err, len(b.data))
			p.undelivered(number)
		}
		p.mu.Lock()
		if p.spare == nil && cap(b.data) <= 2*batchBytes {
			p.spare = b
		}
		p.mu.Unlock()
	}
}

// remove forgets the pending calls for which the function returns true, and returns them. The caller holds p.mu.
func (p *peer) remove(which func(*try) bool) (out []*try) {
	for _, t := range p.pending {
		if which(t) {
			out = append(out, t)
			p.drop(t)
		}
	}
	return out
}

// drop forgets a pending call. The caller holds p.mu.
func (p *peer) drop(t *try) {
	delete(p.pending, t.id)
	p.bytes -= t.size + len(t.parted)
	t.parted = nil
}

// undelivered takes back the calls of a message that nobody received.
func (p *peer) undelivered(number uint64) {
	p.mu.Lock()
	back := p.remove(func(t *try) bool { return t.batch == number })
	p.mu.Unlock()
	for _, t := range back {
		p.router.undelivered(t)
	}
}

// close ends all calls to a peer that is dead. The peer takes no more.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.batches = nil // calls that were not sent are tried elsewhere, and must not be sent here too
	all := p.remove(func(*try) bool { return true })
	p.mu.Unlock()
	p.endCalls(all)
}

// connectionLost ends all calls that were sent: the calls or their answers may have been lost with the connection.
func (p *peer) connectionLost() {
	p.mu.Lock()
	sent := p.remove(func(t *try) bool { return t.batch > 0 })
	p.mu.Unlock()
	p.endCalls(sent)
}

// endCalls takes calls that will get no answer. Those that were not sent are tried again.
func (p *peer) endCalls(calls []*try) {
	for _, t := range calls {
		if t.batch == 0 {
			p.router.undelivered(t)
			continue
		}
		p.router.metrics.lost.Inc()
		p.router.lost(t)
	}
}

// expire ends calls whose deadline has come, and calls whose shard has moved to another owner. A former owner carries out
// no more calls; it can only have carried them out before. waits says whether calls wait for an answer.
func (p *peer) expire(now time.Time) (waits bool) {
	p.mu.Lock()
	if waits = len(p.pending) > 0; !waits || now.Before(p.nextExpire) {
		p.mu.Unlock()
		return waits
	}
	p.nextExpire = now.Add(expireEvery - routerTick) // the next look may come a little early
	expired := p.remove(func(t *try) bool { return !now.Before(t.req.Deadline) })
	gone := p.remove(func(t *try) bool { return t.batch > 0 && p.moved(t, now) })
	p.mu.Unlock()
	for _, t := range expired {
		// A call that was not sent changed nothing: if it is sent yet, its owner finds that the deadline has passed.
		if read, _ := repeatable(t.req.Message); t.batch > 0 && !read {
			t.unknown = true
			p.router.metrics.lost.Inc()
		}
		t.late()
	}
	p.endCalls(gone)
	return true
}

// moved says whether another node than the one that was asked has held the call's shard for twice expireEvery. An answer
// that was on its way has come by then.
func (p *peer) moved(t *try, now time.Time) bool {
	if t.node != nil || now.Sub(t.sent) < movedAfter {
		return false
	}
	if holder := p.router.cfg.Owners.Holder(t.shard); holder == "" || holder == p.name {
		t.moved = time.Time{}
		return false
	}
	if t.moved.IsZero() {
		t.moved = now
	}
	return now.Sub(t.moved) >= 2*expireEvery
}

// answered takes a message of answers to this node's calls, or NATS's message that nobody listens where a batch was sent.
// NATS calls it in one goroutine.
func (r *Router) answered(m *nats.Msg) {
	if len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		number, err := strconv.ParseUint(m.Subject[len(r.answersPrefix):], 10, 64)
		if err == nil && number > 0 {
			for _, p := range *r.peers.Load() {
				p.undelivered(number)
			}
		}
		return
	}
	from, parts, err := wire.ReadParts(r.parts[:0], m.Data)
	if err != nil {
		r.metrics.strays.Inc()
		return
	}
	p := (*r.peers.Load())[from]
	if p == nil {
		return
	}
	defer func() {
		clear(parts)
		r.parts = parts
	}()
	for i := range parts {
		if t, body := p.collect(&parts[i]); t != nil {
			r.arrived(t, body, parts[i].Failed)
		}
	}
}

// collect takes one part of an answer. With the last part it returns the call and its whole answer, and forgets the call.
func (p *peer) collect(part *wire.Part) (*try, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.pending[part.ID]
	if t == nil || part.Number != t.part { // the call was given up, or a part was lost: then it ends at its deadline
		return nil, ""
	}
	if !part.More && t.part == 0 {
		p.drop(t)
		return t, part.Body
	}
	if len(t.parted)+len(part.Body) > maxAnswer {
		return nil, ""
	}
	t.part++
	t.parted = append(t.parted, part.Body...)
	p.bytes += len(part.Body)
	if part.More {
		return nil, ""
	}
	body := string(t.parted)
	p.drop(t)
	return t, body
}

// arrived takes the whole answer to a try. failed says that the body is an error, whatever was asked.
func (r *Router) arrived(t *try, body string, failed bool) {
	if t.node != nil && !failed {
		t.node.answered(body, nil)
		return
	}
	a, err := wire.ReadAnswer(body)
	if err != nil {
		r.metrics.strays.Inc()
		r.lost(t)
		return
	}
	switch _, show := t.req.Message.(actors.Show); {
	case a.Err != nil || t.node != nil:
	case show && a.View == nil: // callers rely on a View
		a.View = &presence.View{State: presence.Terminated}
	case !show && a.Stale: // an owner of an earlier release: no write and no fresh lease vouches for the answer (rule 1)
		a = actors.Answer{Err: actors.ErrUnavailable}
	}
	if t.node != nil && a.Err == nil {
		a.Err = actors.ErrUnknown
	}
	r.settle(t, a)
}

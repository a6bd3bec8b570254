package route

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// Bounds of one message and of one answer.
const (
	batchCalls  = 256
	batchBytes  = 256 << 10
	maxAnswer   = 64 << 20
	sweepEvery  = 50 * time.Millisecond
	movedAfter  = time.Second // a call is so old before it is asked whether its shard has moved away
	nothingHere = "503"       // NATS: no responders
)

var errGone = errors.New("the node was declared dead")

// remote is what a peer notes of a try; the peer's lock guards it.
type remote struct {
	id     uint64
	batch  uint64 // 0: not sent yet
	size   int
	sent   time.Time
	parted []byte // of an answer in several parts
	part   int
	moved  time.Time // since when the shard is another's
}

// batch is calls that go in one message.
type batch struct {
	begun time.Time
	clock int64 // when it was begun
	data  []byte
	calls []uint64
}

// peer is what this node has asked of another and not heard of yet. A goroutine sends as long as there is something to
// send: what is asked meanwhile goes together in the next message.
type peer struct {
	router  *Router
	name    string
	subject string

	mu      sync.Mutex
	pending map[uint64]*try // sent or not
	bytes   int             // of all pending, and of answers that came in part
	batches []*batch        // to be sent
	spare   *batch
	sending bool
	closed  bool
	look    time.Time // next sweep
}

// send takes a call on. The answer, or what else becomes of it, comes later; an error says that it was not taken.
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
	if !p.sending {
		if p.sending = p.router.begin(p.flush); !p.sending { // the router is closed
			p.drop(t)
			return actors.ErrUnavailable
		}
	}
	return nil
}

// last is the batch that takes the next call.
func (p *peer) last() *batch {
	if n := len(p.batches); n > 0 {
		if b := p.batches[n-1]; len(b.calls) < batchCalls && len(b.data) < p.router.most {
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

// flush sends until nothing is left to send.
func (p *peer) flush() {
	for {
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
				t.batch, t.sent = number, now // from here on it may have reached the owner
			}
		}
		p.mu.Unlock()
		p.router.metrics.remote.Add(float64(len(b.calls)))
		b.data = wire.AppendNow(b.data, uint64(clock()), p.router.start)
		reply := p.router.self + strconv.FormatUint(number, 10)
		if err := p.router.cfg.Conn.PublishMsg(&nats.Msg{Subject: p.subject, Reply: reply, Data: b.data}); err != nil {
			p.undelivered(number)
		}
		p.mu.Lock()
		if p.spare == nil && cap(b.data) <= 2*batchBytes {
			p.spare = b
		}
		p.mu.Unlock()
	}
}

// remove takes out what which picks. The lock is held.
func (p *peer) remove(which func(*try) bool) (out []*try) {
	for _, t := range p.pending {
		if which(t) {
			out = append(out, t)
			p.drop(t)
		}
	}
	return out
}

// drop forgets a call. The lock is held.
func (p *peer) drop(t *try) {
	delete(p.pending, t.id)
	p.bytes -= t.size + len(t.parted)
	t.parted = nil
}

// undelivered is for a message that NATS found no one for.
func (p *peer) undelivered(number uint64) {
	p.mu.Lock()
	back := p.remove(func(t *try) bool { return t.batch == number })
	p.mu.Unlock()
	for _, t := range back {
		p.router.undelivered(t)
	}
}

// close ends the peer: it is dead.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.batches = nil // so that nothing that is tried elsewhere is sent all the same
	all := p.remove(func(*try) bool { return true })
	p.mu.Unlock()
	p.fate(all)
}

// forget is for a lost connection: what was sent, or its answer, may have gone with it.
func (p *peer) forget() {
	p.mu.Lock()
	sent := p.remove(func(t *try) bool { return t.batch > 0 })
	p.mu.Unlock()
	p.fate(sent)
}

// fate tells of calls that no one answers any more.
func (p *peer) fate(calls []*try) {
	for _, t := range calls {
		if t.batch == 0 {
			p.router.undelivered(t)
			continue
		}
		p.router.metrics.lost.Inc()
		p.router.lost(t)
	}
}

// sweep ends calls whose deadline has come, or whose shard is meanwhile another's: its old owner can't do them any more
// without having done them already.
func (p *peer) sweep(now time.Time) {
	p.mu.Lock()
	if now.Before(p.look) || len(p.pending) == 0 {
		p.mu.Unlock()
		return
	}
	p.look = now.Add(sweepEvery)
	expired := p.remove(func(t *try) bool { return !now.Before(t.req.Deadline) })
	gone := p.remove(func(t *try) bool { return t.batch > 0 && p.moved(t, now) })
	p.mu.Unlock()
	for _, t := range expired {
		if read, _ := nature(t.req.Message); t.batch > 0 && !read { // one that waits to be sent finds its deadline passed
			t.unknown = true
			p.router.metrics.lost.Inc()
		}
		t.late()
	}
	p.fate(gone)
}

// moved says whether a call's shard has been another's for two sweeps: an answer that was on its way has come by then.
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
	return now.Sub(t.moved) >= 2*sweepEvery
}

// answered takes the answers to this node's calls, and NATS's word that no one heard one.
func (r *Router) answered(m *nats.Msg) {
	if len(m.Data) == 0 && m.Header.Get("Status") == nothingHere {
		number, err := strconv.ParseUint(m.Subject[len(r.self):], 10, 64)
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
		if t, body := p.take(&parts[i]); t != nil {
			r.arrived(t, body, parts[i].Failed)
		}
	}
}

// take finds the call that a part belongs to, and gives the whole answer with the last one.
func (p *peer) take(part *wire.Part) (*try, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.pending[part.ID]
	if t == nil || part.Number != t.part { // of a call given up, or with a hole: it stays for its deadline
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

// arrived is for a try that was answered.
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
	if _, show := t.req.Message.(actors.Show); show && a.Err == nil && a.View == nil {
		a.View = &presence.View{State: presence.Terminated}
	}
	if t.node != nil && a.Err == nil {
		a.Err = actors.ErrUnknown
	}
	r.settle(t, a)
}

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	patience = 15 * time.Second // until one that is repeated counts as failed
	again    = 2 * time.Second  // without an answer it is sent once more
	pause    = 50 * time.Millisecond
)

// news sends documents as NATS requests, and again until they are acknowledged.
type news struct {
	conns []*postbox
	next  atomic.Uint32
	out   atomic.Int64 // sent, and not answered
	why   reasons
}

// postbox is one connection with the requests that wait on it.
type postbox struct {
	news  *news
	conn  *nats.Conn
	inbox string
	stop  chan struct{}
	done  sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint64]*letter
	number  uint64
}

// letter is one request.
type letter struct {
	subject string
	doc     []byte
	at      time.Time // when it was meant to leave
	rec     *recorder
	then    func(err error)
	sent    time.Time // last
	soon    bool      // it was turned away, and is sent again after a pause
}

var errGivenUp = errors.New("not acknowledged within 15 s")

func newNews(conns []*nats.Conn) (*news, error) {
	n := &news{}
	for _, c := range conns {
		p := &postbox{news: n, conn: c, inbox: c.NewInbox(), stop: make(chan struct{}), waiting: map[uint64]*letter{}}
		s, err := c.Subscribe(p.inbox+".*", p.answered)
		if err != nil {
			return nil, err
		}
		_ = s.SetPendingLimits(-1, -1)
		n.conns = append(n.conns, p)
		p.done.Go(p.repeat)
	}
	return n, nil
}

func (n *news) close() {
	for _, p := range n.conns {
		close(p.stop)
		p.done.Wait()
	}
}

// send sends a document; then is called once, when it is acknowledged (nil), refused or given up.
func (n *news) send(subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	n.sendBy(int(n.next.Add(1)), subject, doc, at, rec, then)
}

// sendBy is send by one of the connections, so that documents stay in order.
func (n *news) sendBy(conn int, subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	p := n.conns[conn%len(n.conns)]
	l := &letter{subject: subject, doc: doc, at: at, rec: rec, then: then, sent: time.Now()}
	n.out.Add(1)
	p.mu.Lock()
	p.number++
	number := p.number
	p.waiting[number] = l
	p.mu.Unlock()
	p.publish(number, l)
}

func (p *postbox) publish(number uint64, l *letter) {
	if err := p.conn.PublishRequest(l.subject, p.inbox+"."+strconv.FormatUint(number, 10), l.doc); err != nil {
		p.mu.Lock()
		l.soon = true
		p.mu.Unlock()
	}
}

// answered takes a reply.
func (p *postbox) answered(m *nats.Msg) {
	now := time.Now()
	number, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	ok := bytes.Contains(m.Data, []byte(`"Status":"ok"`))
	p.mu.Lock()
	l := p.waiting[number]
	if l != nil && !ok && retriable(m) {
		l.soon, l.sent, l = true, now, nil
	}
	if l != nil {
		delete(p.waiting, number)
	}
	p.mu.Unlock()
	if l == nil {
		return
	}
	if !ok {
		p.end(l, fmt.Errorf("refused: %.200s", m.Data), now)
		return
	}
	p.end(l, nil, now)
}

// retriable says that no one was there or that there was no room; such news is sent again.
func retriable(m *nats.Msg) bool {
	return len(m.Data) == 0 || bytes.Contains(m.Data, []byte(`"Code":"503"`)) || bytes.Contains(m.Data, []byte(`"Code":"429"`))
}

func (p *postbox) end(l *letter, err error, now time.Time) {
	p.news.out.Add(-1)
	if err == nil {
		l.rec.took(l.at, now)
	} else {
		p.news.why.add(err)
		l.rec.fail()
	}
	if l.then != nil {
		l.then(err)
	}
}

// repeat sends again what was turned away or not answered.
func (p *postbox) repeat() {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		var now time.Time
		select {
		case <-p.stop:
			return
		case now = <-t.C:
		}
		resend := map[uint64]*letter{}
		var given []*letter
		p.mu.Lock()
		for number, l := range p.waiting {
			waited := now.Sub(l.sent)
			if !l.soon && waited < again || l.soon && waited < pause {
				continue
			}
			if now.Sub(l.at) > patience {
				delete(p.waiting, number)
				given = append(given, l)
				continue
			}
			l.sent, l.soon = now, false
			resend[number] = l
		}
		p.mu.Unlock()
		for number, l := range resend {
			l.rec.repeat()
			p.publish(number, l)
		}
		for _, l := range given {
			p.end(l, errGivenUp, now)
		}
	}
}

// reasons keeps the first few different errors, for the report.
type reasons struct {
	mu   sync.Mutex
	text []string
}

func (r *reasons) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.text {
		if t == err.Error() {
			return
		}
	}
	if len(r.text) < 10 {
		r.text = append(r.text, err.Error())
	}
}

func (r *reasons) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.text...)
}

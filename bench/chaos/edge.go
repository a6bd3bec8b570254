package chaos

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/bench/gaps"
)

// edge does what BUS.md asks of who sends the NOTIFYs, and keeps what it accepted.
type edge struct {
	name    string
	conn    *nats.Conn
	history *history
	stop    chan struct{}
	done    sync.WaitGroup

	mu       sync.Mutex
	sources  gaps.Sources
	claims   map[int]claim
	watches  map[string]*watch // by Call-ID
	replies  map[string][]any  // by node
	upAt     time.Time
	accepted int
	dropped  int // of an older claim
}

type claim struct {
	epoch      time.Time
	generation int
}

func (c claim) older(than claim) bool {
	return c.epoch.Before(than.epoch) || c.epoch.Equal(than.epoch) && c.generation < than.generation
}

// watch is what one watcher was told last.
type watch struct {
	claim    claim
	sequence int
	state    string
	body     string
	status   string
	from     string // node and number, for a report
}

type notification struct {
	Node        string
	Incarnation string
	Number      int64 `json:"Edge-Seq"`
	Shard       int
	Generation  int
	Epoch       time.Time
	Presentity  string
	Package     string `json:"Event-Package"`
	State       string
	Sequence    int
	Body        string
	Targets     []struct {
		CallID string `json:"Call-ID"`
		Status string `json:"Subscription-State"`
	}
}

func bareEdge(name string, h *history) *edge {
	return &edge{name: name, history: h, stop: make(chan struct{}), upAt: time.Now(), sources: gaps.Sources{}, claims: map[int]claim{},
		watches: map[string]*watch{}, replies: map[string][]any{}}
}

func newEdge(name string, urls []string, h *history) (*edge, error) {
	e := bareEdge(name, h)
	var err error
	e.conn, err = connect(urls, "chaos "+name, nats.ReconnectHandler(func(*nats.Conn) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.up()
	}))
	if err != nil {
		return nil, err
	}
	if _, err := e.conn.Subscribe("lamplight.notify."+token(name), e.hear); err != nil {
		e.conn.Close()
		return nil, err
	}
	e.done.Go(e.speak)
	return e, nil
}

func (e *edge) close() {
	close(e.stop)
	e.done.Wait()
	e.conn.Close()
}

// speak says that the edge is there, and what the watchers answered.
func (e *edge) speak() {
	up := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.up()
	}
	up()
	gaps.Speak(e.stop, up, e.answer)
}

// up sends edge.up. The lock is held.
func (e *edge) up() {
	e.upAt = time.Now()
	b, _ := json.Marshal(map[string]any{"Edge": e.name, "Incarnation": "e1", "Seen": e.sources.Seen()})
	_ = e.conn.Publish("lamplight.edge.up."+token(e.name), b)
}

func (e *edge) answer() {
	e.mu.Lock()
	all := e.replies
	e.replies = map[string][]any{}
	e.mu.Unlock()
	for node, replies := range all {
		for len(replies) > 0 {
			n := min(len(replies), 500)
			b, _ := json.Marshal(map[string]any{"Edge": e.name, "Replies": replies[:n]})
			_ = e.conn.Publish("lamplight.notified."+token(node)+"."+token(e.name), b)
			replies = replies[n:]
		}
	}
}

func (e *edge) hear(m *nats.Msg) {
	var n notification
	if err := json.Unmarshal(m.Data, &n); err != nil {
		e.history.wrong(fmt.Sprintf("%s got no NOTIFY: %v in %.200q", e.name, err, m.Data))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	again, twice, gap := e.sources.Take(n.Node+"/"+n.Incarnation, n.Number)
	if gap && time.Since(e.upAt) > 100*time.Millisecond {
		e.up()
	}
	c := claim{n.Epoch, n.Generation}
	if twice {
		return
	}
	if c.older(e.claims[n.Shard]) {
		e.dropped++
		return
	}
	e.claims[n.Shard] = c
	for _, t := range n.Targets {
		w := e.watches[t.CallID]
		if w != nil && w.claim.epoch.Equal(n.Epoch) && n.Sequence <= w.sequence {
			if !again {
				e.history.wrong(fmt.Sprintf("%s: Sequence of %s went from %d (%s, generation %d) to %d (%s/%s %d, generation %d, %s)", e.name, t.CallID, w.sequence, w.from,
					w.claim.generation, n.Sequence, n.Node, n.Incarnation, n.Number, n.Generation, n.State))
			}
			continue
		}
		e.accepted++
		e.watches[t.CallID] = &watch{c, n.Sequence, n.State, n.Body, t.Status, fmt.Sprintf("%s/%s %d", n.Node, n.Incarnation, n.Number)}
		e.replies[n.Node] = append(e.replies[n.Node], map[string]any{"Presentity": n.Presentity, "Event-Package": n.Package, "Call-ID": t.CallID, "Sequence": n.Sequence, "Reply": 200})
	}
}

// behind says in what a watcher's last NOTIFY differs from what is there now; "": in nothing.
func (e *edge) behind(p *phone, lamp *shown) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.watches[p.callID]
	switch {
	case w == nil:
		return "it was never told"
	case w.state != lamp.State:
		return fmt.Sprintf("it was told %s (Sequence %d, by %s), and the lamp is %s", w.state, w.sequence, w.from, lamp.State)
	case !strings.HasPrefix(w.status, "active"):
		return "it was told that its subscription is " + w.status
	}
	for _, d := range lamp.Dialogs {
		if d.Source == "call" && !strings.Contains(w.body, d.CallID) {
			return "the document does not show " + d.CallID
		}
	}
	return ""
}

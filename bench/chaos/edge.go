package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/transport/edge"
)

// watcherEdge is an edge whose watchers answer every NOTIFY with 200. It keeps each watcher's last NOTIFY.
type watcherEdge struct {
	*edge.Edge
	name    string
	conn    *nats.Conn
	history *history

	mu           sync.Mutex
	lastNotifies map[string]*lastNotify // by Call-ID
	accepted     int                    // NOTIFYs
}

// lastNotify is the last NOTIFY of one watcher.
type lastNotify struct {
	epoch    time.Time
	sequence int64
	state    string
	body     string
	status   string
	origin   string // the node, Edge-Seq and generation of its message, for a report
}

// newEdge makes an edge that has not started.
func newEdge(name string, conn *nats.Conn, h *history) *watcherEdge {
	e := &watcherEdge{name: name, conn: conn, history: h, lastNotifies: map[string]*lastNotify{}}
	e.Edge = edge.New(edge.Config{Conn: conn, Name: name, Incarnation: "e1", Handle: e.handle,
		Unreadable: func(data []byte, err error) {
			h.wrong(fmt.Sprintf("edge %s got a message that is no NOTIFY: %v in %.200q", name, err, data))
		}})
	return e
}

// startEdge starts an edge that moves to another NATS server when its own is gone.
func startEdge(ctx context.Context, name string, urls []string, h *history) (*watcherEdge, error) {
	conn, err := connect(urls, "chaos "+name)
	if err != nil {
		return nil, err
	}
	e := newEdge(name, conn, h)
	if err := e.Start(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return e, nil
}

func (e *watcherEdge) close() {
	_ = e.Stop(context.Background())
	e.conn.Close()
}

// handle keeps what a message tells its watchers. If the message was not repeated, its Sequence must be above the last one.
func (e *watcherEdge) handle(m edge.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := fmt.Sprintf("%s/%s %d, generation %d", m.Node, m.Incarnation, m.EdgeSeq, m.Generation)
	targets := m.Targets[:0]
	for _, t := range m.Targets {
		w := e.lastNotifies[t.CallID]
		if w != nil && w.epoch.Equal(m.Epoch) && m.Sequence <= w.sequence {
			if !m.Repeated {
				e.history.wrong(fmt.Sprintf("%s: Sequence of %s went from %d (%s) to %d (%s, %s)", e.name, t.CallID, w.sequence, w.origin, m.Sequence, from, m.State))
			}
			continue
		}
		e.accepted++
		e.lastNotifies[t.CallID] = &lastNotify{m.Epoch, m.Sequence, m.State, m.Body, t.SubscriptionState, from}
		targets = append(targets, t)
	}
	m.Targets = targets
	e.ReplyAll(m, 200)
}

// behind says how a watcher's last NOTIFY differs from what its lamp shows now, or "" if it does not.
func (e *watcherEdge) behind(p *phone, lamp *shown) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.lastNotifies[p.callID]
	switch {
	case w == nil:
		return "it was never told"
	case w.state != lamp.State:
		return fmt.Sprintf("it was told %s (Sequence %d, by %s), and the lamp is %s", w.state, w.sequence, w.origin, lamp.State)
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

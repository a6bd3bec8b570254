package bench

import (
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/transport/edge"
)

// newEdge is an edge whose watchers answer every NOTIFY with 200. The model hears what they were told.
func newEdge(name string, conn *nats.Conn, m *model) *edge.Edge {
	var e *edge.Edge
	e = edge.New(edge.Config{Conn: conn, Name: name, Incarnation: "1",
		Handle: func(msg edge.Message) {
			told := notified{extension: msg.Presentity, state: lampOf(msg.State), sequence: msg.Sequence, epoch: msg.Epoch, repeated: msg.Repeated, now: time.Now(),
				watchers: make([]int32, len(msg.Targets))}
			for i := range msg.Targets {
				told.watchers[i] = m.world.watcher(msg.Targets[i].CallID)
			}
			e.ReplyAll(msg, 200)
			m.told(&told)
		},
		Unreadable: func(data []byte, err error) { m.wrong("an edge got no NOTIFY: %v in %.200q", err, data) }})
	return e
}

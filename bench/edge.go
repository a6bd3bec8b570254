package bench

import (
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/transport/edge"
)

// newEdge makes an edge whose watchers answer every NOTIFY with 200. It passes each NOTIFY message to the model.
func newEdge(name string, conn *nats.Conn, m *model) *edge.Edge {
	var e *edge.Edge
	e = edge.New(edge.Config{Conn: conn, Name: name, Incarnation: "1",
		Handle: func(msg edge.Message) {
			told := notification{extension: m.world.findExtension(msg.Presentity), state: lampOf(msg.State), sequence: msg.Sequence, epoch: msg.Epoch, repeated: msg.Repeated, heardAt: time.Now(),
				watchers: make([]int32, len(msg.Targets))}
			for i := range msg.Targets {
				told.watchers[i] = m.world.findWatcher(msg.Targets[i].CallID)
			}
			e.ReplyAll(msg, 200)
			m.hear(&told)
		},
		Unreadable: func(data []byte, err error) {
			m.addMistake("an edge got a message that is no NOTIFY: %v in %.200q", err, data)
		}})
	return e
}

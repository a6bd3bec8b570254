package bus

import (
	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// AnswerStatus has a node answer who asks all nodes for the state of the cluster, until the connection is closed: so it
// answers also while it starts and drains. It calls say from NATS's goroutine, one question after the other.
func AnswerStatus(conn *nats.Conn, prefix subject.Prefix, say func() status.Status) error {
	_, err := conn.Subscribe(prefix.Of(subject.Status), func(m *nats.Msg) {
		if !prefix.MayAnswer(m.Reply) {
			return
		}
		s := say()
		s.Schema = status.Schema
		if b, err := json.Marshal(s); err == nil {
			_ = m.Respond(b)
		}
	})
	return err
}

package bus

import (
	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// AnswerStatus makes a node answer questions about the state of the cluster (docs/contract/nats.md, "Cluster status"). It
// answers until the connection is closed, also while the node starts and drains. It calls report on a goroutine of NATS's
// client, once for each question and never at the same time.
func AnswerStatus(conn *nats.Conn, prefix subject.Prefix, report func() status.Status) error {
	_, err := conn.Subscribe(prefix.Of(subject.Status), func(m *nats.Msg) {
		if !subject.MayAnswer(m.Reply) {
			return
		}
		s := report()
		s.Schema = status.Schema
		if b, err := json.Marshal(s); err == nil {
			_ = m.Respond(b)
		}
	})
	return err
}

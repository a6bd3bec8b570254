package bus

import (
	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// maxAsked is how many questions for details may be under way at a time.
const maxAsked = 4

// AnswerStatus makes a node answer questions about the state of the cluster (docs/contract/nats.md, "Cluster status"). It
// answers until the connection is closed, also while the node starts and drains. It calls report on a goroutine of NATS's
// client, once for each question; for questions for details on goroutines of their own, maxAsked at a time. One past that, or one that
// can't be read, is answered without details.
func AnswerStatus(conn *nats.Conn, prefix subject.Prefix, report func(status.Ask) status.Status) error {
	answer := func(m *nats.Msg, ask status.Ask) {
		s := report(ask)
		s.Schema = status.Schema
		if b, err := json.Marshal(s); err == nil {
			_ = m.Respond(b)
		}
	}
	slots := make(chan struct{}, maxAsked)
	for topic, handler := range map[string]nats.MsgHandler{
		subject.Status: func(m *nats.Msg) { answer(m, status.Ask{}) },
		subject.Detail: func(m *nats.Msg) {
			var ask status.Ask
			if len(m.Data) > status.MaxAsk || json.Unmarshal(m.Data, &ask) != nil {
				answer(m, status.Ask{})
				return
			}
			select {
			case slots <- struct{}{}:
				go func() {
					defer func() { <-slots }()
					answer(m, ask)
				}()
			default:
				answer(m, status.Ask{})
			}
		},
	} {
		if _, err := conn.Subscribe(prefix.Of(topic), func(m *nats.Msg) {
			if subject.MayAnswer(m.Reply) {
				handler(m)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

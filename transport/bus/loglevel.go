package bus

import (
	"fmt"
	"log/slog"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/loglevel"
	"lamplight/cluster/subject"
)

// maxLevelDocument is how many bytes a request for log levels may have.
const maxLevelDocument = 1 << 10

// AnswerLogLevels makes a node answer requests for the levels of its log, and change them (docs/contract/nats.md, "Log levels"). It answers
// until the connection is closed, also while the node starts and drains.
func AnswerLogLevels(conn *nats.Conn, prefix subject.Prefix, node string, log *slog.Logger) error {
	levels := loglevel.Of(log)
	if levels == nil {
		return nil
	}
	_, err := conn.Subscribe(prefix.Of(subject.LogLevel), func(m *nats.Msg) {
		if !subject.MayAnswer(m.Reply) {
			return
		}
		a := loglevel.Answer{Schema: 1, Node: node}
		to, err := changeLevels(levels, m.Data, node, log)
		if to != "" && to != node {
			return
		}
		if err != nil {
			a.Error = err.Error()
		}
		a.Levels = levels.All()
		if b, err := json.Marshal(a); err == nil {
			_ = m.Respond(b)
		}
	})
	return err
}

// changeLevels does what a document asks for, if it is for this node. It returns the node that the document is for; "": all.
func changeLevels(levels *loglevel.Levels, data []byte, node string, log *slog.Logger) (to string, err error) {
	var c loglevel.Change
	if len(data) > maxLevelDocument {
		return "", fmt.Errorf("the document has %d bytes; it may have at most %d", len(data), maxLevelDocument)
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &c); err != nil {
			return "", fmt.Errorf("the document can't be read: %w", err)
		}
	}
	if c.Node != "" && c.Node != node || c.Level == "" && c.Part == "" {
		return c.Node, nil
	}
	level, err := loglevel.Parse(c.Level)
	if err == nil {
		err = levels.Set(c.Part, level)
	}
	if err == nil {
		log.Warn("the level of the log was changed over NATS; it is as the flag --log-level says again when the node is started again", "of", c.Part, "level", c.Level)
	}
	return c.Node, err
}

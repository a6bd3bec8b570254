package client

import (
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/subject"
)

// flushTime is how long Watch waits for the NATS server to know its subscription.
const flushTime = 10 * time.Second

// Change is one change of a lamp, as the state feed tells it (docs/contract/nats.md, "State feed").
type Change struct {
	Extension string         `json:"extension"` // the user part
	Realm     string         `json:"realm"`
	AccountID string         `json:"account_id"`
	State     string         `json:"state"`    // early, confirmed or terminated
	Previous  string         `json:"previous"` // the state before
	Dialogs   jsontext.Value `json:"dialogs"`  // a list, the most important dialog first
	Sequence  uint32         `json:"sequence"`
	At        string         `json:"at"`   // RFC 3339
	Node      string         `json:"node"` // that told it

	Raw []byte `json:"-"` // the document as it came
}

// Watch passes each change of the lamps of a realm to got, one at a time and in the order in which they arrive. With a user it
// passes the changes of that extension only. It returns nil when ctx ends, or the error that got returned. It calls ready, if
// that is not nil, once the NATS server knows the subscription: changes from then on arrive.
//
// The feed is best effort. What happens while the connection is broken is not told again, and NATS drops changes when got is
// too slow. A program that must not miss a change asks with Show or Search from time to time, or is an edge.
func (c *Client) Watch(ctx context.Context, realm, user string, ready func(), got func(Change) error) error {
	topic := subject.StateOfRealm(realm)
	if user != "" {
		topic = subject.State(realm, strings.ToLower(user))
	}
	feed, err := c.cfg.Conn.SubscribeSync(c.cfg.Prefix.Of(topic))
	if err != nil {
		return err
	}
	defer func() { _ = feed.Unsubscribe() }()
	soon, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := c.cfg.Conn.FlushWithContext(soon); err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	for {
		m, err := feed.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		change := Change{Raw: m.Data}
		if err := json.Unmarshal(m.Data, &change); err != nil {
			continue // another program published on the subject
		}
		if err := got(change); err != nil {
			return err
		}
	}
}

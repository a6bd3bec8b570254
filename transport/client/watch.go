package client

import (
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/subject"
)

// flushTime is how long NATS may take to note a subscription.
const flushTime = 10 * time.Second

// Change is one change of a lamp, as the state feed tells it (docs/contract/nats.md, "State feed").
type Change struct {
	Extension string         `json:"extension"`
	Realm     string         `json:"realm"`
	AccountID string         `json:"account_id"`
	State     string         `json:"state"`
	Previous  string         `json:"previous"`
	Dialogs   jsontext.Value `json:"dialogs"`
	Sequence  uint32         `json:"sequence"`
	At        string         `json:"at"` // RFC 3339
	Node      string         `json:"node"`

	Raw []byte `json:"-"` // the document as it came
}

// Watch gives each change of the lamps of a realm to got, in the order in which this connection gets them, until ctx
// ends or got returns an error. With a user it gives the changes of that extension only. It calls ready, if that is not
// nil, when no change after that moment is missed. The feed is best effort: what happens while the connection is broken
// is not told again, so a program that must not miss anything asks with Show or Search, or is an edge.
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
			continue // not of this product
		}
		if err := got(change); err != nil {
			return err
		}
	}
}

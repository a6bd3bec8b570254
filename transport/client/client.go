// Package client is what a program needs that talks to Lamplight from outside: it connects to NATS, sends documents until
// they are acknowledged, asks and commands, and watches lamps; over HTTP it makes the requests of the Presence API. The
// command line, the load generator and the chaos suite use it, and so may any other program. What an edge must do beyond
// that is in transport/edge.
//
// A Client owns nothing: its connection is the caller's, who closes it. Its methods may be called from any goroutine and
// block until they have their answer or their context ends.
package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// Errors of a question that got no answer.
var (
	// ErrNoNode says that no node takes the document.
	ErrNoNode = errors.New("no node answers on this NATS; is `lamplight serve` running, with the same --prefix?")
	// ErrNoAnswer says that none came in time: what was asked for may or may not have happened.
	ErrNoAnswer = errors.New("no answer in time; what was asked may or may not have happened")
)

// Refusal is an error reply: Code and Reason are those of the HTTP API, Details is for people.
type Refusal struct {
	Code, Reason, Details string
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Details }

// Config is what a Client needs.
type Config struct {
	Conn       *nats.Conn
	Prefix     subject.Prefix
	App        string // App-Name of the documents
	AppVersion string
}

// Client sends documents and asks questions.
type Client struct{ cfg Config }

// New makes a Client on a connection.
func New(c Config) *Client { return &Client{cfg: c} }

// Fields are the fields of a document besides those that every document has.
type Fields map[string]any

// Document encodes a document with what every document has: docs/contract/nats.md, "Documents".
func (c *Client) Document(event string, fields Fields) ([]byte, error) {
	doc := map[string]any{"App-Name": c.cfg.App, "App-Version": c.cfg.AppVersion, "Event-Category": "presence", "Event-Name": event,
		"Msg-ID": uuid.NewString()}
	for name, value := range fields {
		doc[name] = value
	}
	return json.Marshal(doc, json.Deterministic(true))
}

// Answer is one reply: its fields, still encoded.
type Answer map[string]jsontext.Value

// Text is a field that is a string; "" when it is none.
func (a Answer) Text(name string) string {
	b, err := jsontext.AppendUnquote(nil, a[name])
	if err != nil {
		return ""
	}
	return string(b)
}

// Decode decodes all fields into a struct.
func (a Answer) Decode(into any) error {
	b, err := json.Marshal(map[string]jsontext.Value(a))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// Ask sends a document as a request and gives each answer to got: the parts of a large answer in their order, the last
// one last. A subject is one that package subject makes, without the prefix. An error reply is a *Refusal.
func (c *Client) Ask(ctx context.Context, topic, event string, fields Fields, got func(Answer) error) error {
	data, err := c.Document(event, fields)
	if err != nil {
		return err
	}
	inbox := c.cfg.Conn.NewRespInbox()
	answers, err := c.cfg.Conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := c.cfg.Conn.PublishRequest(c.cfg.Prefix.Of(topic), inbox, data); err != nil {
		return err
	}
	for parts := 0; ; {
		m, err := answers.NextMsgWithContext(ctx)
		switch {
		case noResponders(m, err):
			return ErrNoNode
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		case err != nil:
			return err
		}
		a := Answer{}
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return fmt.Errorf("%s: an answer that can't be read: %w", topic, err)
		}
		if a.Text("Status") == "error" {
			return &Refusal{Code: a.Text("Code"), Reason: a.Text("Reason"), Details: a.Text("Details")}
		}
		if err := got(a); err != nil {
			return err
		}
		if strings.HasSuffix(a.Text("Event-Name"), "_partial_resp") {
			parts++
			continue
		}
		if sent := string(a["Part"]); sent != "" && sent != fmt.Sprint(parts) {
			return fmt.Errorf("%d of %s parts arrived", parts, sent)
		}
		return nil
	}
}

// noResponders says that NATS found no one who takes a request.
func noResponders(m *nats.Msg, err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || err == nil && len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// Search gives every subscription of a realm: extension → event package → Call-ID → subscription, in one or more parts
// of one Answer each. eventPackage "" means all.
func (c *Client) Search(ctx context.Context, realm, eventPackage string, got func(Answer) error) error {
	fields := Fields{"Realm": realm}
	if eventPackage != "" {
		fields["Event-Package"] = eventPackage
	}
	return c.Ask(ctx, subject.Search(realm), "search_req", fields, got)
}

// Show gives one extension as it is; with explain, why. Very large answers come in parts before the last.
func (c *Client) Show(ctx context.Context, realm, user string, explain bool, got func(Answer) error) error {
	user = strings.ToLower(user)
	return c.Ask(ctx, subject.Show(realm, user), "show_req", Fields{"Realm": realm, "Username": user, "Explain": explain}, got)
}

// Set sets the manual state of an extension: early, confirmed or terminated. An ErrNoAnswer leaves it unknown whether it
// was set; who repeats a command gives a new one.
func (c *Client) Set(ctx context.Context, realm, user, state string) (Answer, error) {
	user = strings.ToLower(user)
	return c.one(ctx, subject.Set(realm, user), "set", Fields{"Realm": realm, "Username": user, "State": state})
}

// Reset forgets the calls, registers and manual state of an extension; with the user * of all extensions of the realm.
// An ErrNoAnswer leaves it unknown whether it did; who repeats a command gives a new one.
func (c *Client) Reset(ctx context.Context, realm, user string) (Answer, error) {
	user = strings.ToLower(user)
	return c.one(ctx, subject.Reset(realm, user), "reset", Fields{"Realm": realm, "Username": user})
}

// one is Ask for a question with one answer.
func (c *Client) one(ctx context.Context, topic, event string, fields Fields) (only Answer, err error) {
	err = c.Ask(ctx, topic, event, fields, func(a Answer) error { only = a; return nil })
	return only, err
}

// Status asks all nodes for the state of the cluster. It returns what came when every node that an answer names as alive
// has answered, or when ctx ends; ErrNoNode when nothing came.
func (c *Client) Status(ctx context.Context) ([]status.Status, error) {
	inbox := c.cfg.Conn.NewRespInbox()
	answers, err := c.cfg.Conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := c.cfg.Conn.PublishRequest(c.cfg.Prefix.Of(subject.Status), inbox, nil); err != nil {
		return nil, err
	}
	var all []status.Status
	for !status.Complete(all) {
		m, err := answers.NextMsgWithContext(ctx)
		switch {
		case noResponders(m, err):
			return nil, ErrNoNode
		case ctx.Err() != nil && len(all) > 0:
			return all, nil
		case ctx.Err() != nil:
			return nil, ErrNoNode
		case err != nil:
			return nil, err
		}
		var s status.Status
		if json.Unmarshal(m.Data, &s) == nil && s.Node != "" {
			all = append(all, s)
		}
	}
	return all, nil
}

// Package client is for programs that talk to Lamplight from outside. Over NATS, Connect opens a connection, a Sender sends
// news until it is acknowledged, and a Client shows, sets and resets extensions and watches lamps. Over HTTP, REST makes
// requests of the Presence API. The command line, the load generator and the chaos suite use this package, and any other
// program may. A program that sends NOTIFY requests to phones also needs transport/edge.
//
// The connection to NATS belongs to the caller, who closes it. All methods may be called from any goroutine. Those that take
// a context wait until they have their answer or the context ends.
package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/loglevel"
	"lamplight/cluster/status"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// The errors of a request that got no answer.
var (
	// ErrNoNode says that no node listens on the subject. Nothing was changed.
	ErrNoNode = errors.New("no node answers on this NATS; is `lamplight serve` running, with the same --prefix?")
	// ErrNoAnswer says that no answer came before the context ended. A change that was asked for may or may not have
	// happened.
	ErrNoAnswer = errors.New("no answer in time; what was asked may or may not have happened")
)

// Refusal is an error reply (docs/contract/nats.md, "Replies"). Code and Reason are those of the HTTP API, Details is a text
// for people.
type Refusal struct {
	Code, Reason, Details string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason + ": " + r.Details }

// Config is what a Client needs.
type Config struct {
	Conn       *nats.Conn
	Prefix     subject.Prefix // of the installation; "": none
	App        string         // App-Name of the documents
	AppVersion string         // App-Version of the documents
}

// Client sends requests to the nodes and waits for their answers, and watches lamps.
type Client struct{ cfg Config }

// New makes a Client. It starts nothing.
func New(c Config) *Client { return &Client{cfg: c} }

// Fields are the fields of a document but for those that every document has.
type Fields map[string]any

// Document encodes a document with the given Event-Name. It adds the fields that every document has, with a random Msg-ID
// (docs/contract/nats.md, "Documents"); fields of the same names win.
func (c *Client) Document(event string, fields Fields) ([]byte, error) {
	doc := map[string]any{"App-Name": c.cfg.App, "App-Version": c.cfg.AppVersion, "Event-Category": "presence", "Event-Name": event,
		"Msg-ID": uuid.NewString()}
	for name, value := range fields {
		doc[name] = value
	}
	return json.Marshal(doc, json.Deterministic(true))
}

// Answer is one answer document: its fields by their names. The values are still encoded as JSON.
type Answer map[string]jsontext.Value

// Text returns a field that is a string; "" when there is no such field.
func (a Answer) Text(name string) string {
	b, err := jsontext.AppendUnquote(nil, a[name])
	if err != nil {
		return ""
	}
	return string(b)
}

// Decode decodes the fields into a struct. Names match in their own case: give the struct json tags.
func (a Answer) Decode(into any) error {
	b, err := json.Marshal(map[string]jsontext.Value(a))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// Ask sends a document as a request and passes each answer to got, in the order in which they come. A large answer comes in
// parts, and Ask returns after the last of them. topic is a subject that package subject makes, without the prefix; event is
// the Event-Name. An error of got ends Ask and is returned. An error reply is returned as a *Refusal; got is not called for it.
// Ask sends the document once.
func (c *Client) Ask(ctx context.Context, topic, event string, fields Fields, got func(Answer) error) error {
	data, err := c.Document(event, fields)
	if err != nil {
		return err
	}
	return c.ask(ctx, topic, data, got)
}

// ask is Ask for a document that is encoded.
func (c *Client) ask(ctx context.Context, topic string, data []byte, got func(Answer) error) error {
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
			return fmt.Errorf("%s: the answer is no JSON object: %w", topic, err)
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
			return fmt.Errorf("%d of %s parts of the answer arrived; ask again", parts, sent)
		}
		return nil
	}
}

// noResponders says whether NATS answered a request itself, because nobody listens on its subject.
func noResponders(m *nats.Msg, err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || err == nil && len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// Search passes all subscriptions of a realm to got, in one or more answers. The field Subscriptions of each holds extension →
// event package → Call-ID → subscription. eventPackage selects one event package; "" selects all.
func (c *Client) Search(ctx context.Context, realm, eventPackage string, got func(Answer) error) error {
	fields := Fields{"Realm": realm}
	if eventPackage != "" {
		fields["Event-Package"] = eventPackage
	}
	return c.Ask(ctx, subject.Search(realm), "search_req", fields, got)
}

// Count passes the number of subscriptions of a realm to got, in one or more answers. The field Subscriptions of each holds extension
// → event package → number. A node of an earlier release gives the subscriptions themselves in the place of each number.
func (c *Client) Count(ctx context.Context, realm string, got func(Answer) error) error {
	return c.Ask(ctx, subject.Search(realm), "search_req", Fields{"Realm": realm, "Summary": true}, got)
}

// Lit says which lit lamps Lamps asks for. The zero value asks for all.
type Lit struct {
	State     string        // early or confirmed; "": both
	Source    string        // call, register, manual or mailbox; "": any
	OlderThan time.Duration // only lamps that have been lit for longer; 0: all
}

// ErrNoLamps says that a node of a release that does not know Lit answered.
var ErrNoLamps = errors.New("a node of an earlier release answered, which can't list lit lamps; upgrade all nodes")

// Lamps passes all lamps of a realm that are early or confirmed to got, watched or not, in one or more answers. The field Lamps of
// each holds extension → lamp (docs/contract/nats.md, "Lit lamps").
func (c *Client) Lamps(ctx context.Context, realm string, which Lit, got func(Answer) error) error {
	fields := Fields{"Realm": realm, "Lit": true}
	if which.State != "" {
		fields["State"] = which.State
	}
	if which.Source != "" {
		fields["Source"] = which.Source
	}
	if which.OlderThan != 0 {
		fields["Older-Than"] = which.OlderThan.String()
	}
	return c.Ask(ctx, subject.Search(realm), "search_req", fields, func(a Answer) error {
		if a["Lamps"] == nil {
			return ErrNoLamps
		}
		return got(a)
	})
}

// Show passes the state of one extension to got: its lamp, dialogs and subscriptions. With explain it also says why the lamp is
// as it is. When there are too many subscriptions for one message, they come first, in answers of their own.
func (c *Client) Show(ctx context.Context, realm, user string, explain bool, got func(Answer) error) error {
	user = strings.ToLower(user)
	return c.Ask(ctx, subject.Show(realm, user), "show_req", Fields{"Realm": realm, "Username": user, "Explain": explain}, got)
}

// Set sets the manual state of an extension: early, confirmed or terminated. After ErrNoAnswer, and after a *Refusal with Code
// 503, the state may or may not have been set. To call Set again then is a new command: it overwrites what came in between.
func (c *Client) Set(ctx context.Context, realm, user, state string) (Answer, error) {
	user = strings.ToLower(user)
	return c.one(ctx, subject.Set(realm, user), "set", Fields{"Realm": realm, "Username": user, "State": state})
}

// Reset forgets the calls, registers and manual state of an extension. With the user * it does so for all extensions of the
// realm. Its errors are those of Set.
func (c *Client) Reset(ctx context.Context, realm, user string) (Answer, error) {
	user = strings.ToLower(user)
	return c.one(ctx, subject.Reset(realm, user), "reset", Fields{"Realm": realm, "Username": user})
}

// SwitchTime is how long a caller of SwitchGone should wait: as long as the nodes may take, and a little more.
const SwitchTime = actors.EndSwitchTime + 3*time.Second

// SwitchGone ends the calls of a switch that were last heard of before a moment (the zero time: now), of all realms. Ended of the answer
// is their number.
func (c *Client) SwitchGone(ctx context.Context, switchURI string, before time.Time) (Answer, error) {
	fields := Fields{"Switch-URI": switchURI}
	if !before.IsZero() {
		fields["Before"] = before.UnixMicro()
	}
	return c.one(ctx, subject.SwitchGone, "switch_gone", fields)
}

// SourceUp says that a source of calls lives (docs/contract/nats.md, "Sources").
func (c *Client) SourceUp(ctx context.Context, up presence.SourceUp) (only Answer, err error) {
	err = c.ask(ctx, subject.SourceUp(up.Source), kazoo.AppendSourceUp(nil, &up), func(a Answer) error { only = a; return nil })
	return only, err
}

// one is Ask for a request that has one answer.
func (c *Client) one(ctx context.Context, topic, event string, fields Fields) (only Answer, err error) {
	err = c.Ask(ctx, topic, event, fields, func(a Answer) error { only = a; return nil })
	return only, err
}

// Status asks all nodes for their view of the cluster. It returns the answers once every node that one of them names as alive
// has answered. When ctx ends before, it returns those that came, or ErrNoNode when none came.
func (c *Client) Status(ctx context.Context) ([]status.Status, error) {
	return c.AskStatus(ctx, status.Ask{})
}

// AskStatus is Status that asks for details too.
func (c *Client) AskStatus(ctx context.Context, ask status.Ask) ([]status.Status, error) {
	topic, question := subject.Status, []byte(nil)
	if ask != (status.Ask{}) {
		topic = subject.Detail
		question, _ = json.Marshal(ask) // it has nothing that could fail
	}
	var all []status.Status
	err := c.askAll(ctx, topic, question, func(data []byte) (whole bool) {
		var s status.Status
		if json.Unmarshal(data, &s) == nil && s.Node != "" {
			all = append(all, s)
		}
		return status.Complete(all)
	})
	if len(all) > 0 && ctx.Err() != nil {
		err = nil
	}
	return all, err
}

// LogLevels asks nodes for the levels of their logs, and changes them if the document says so. It returns once the named nodes have
// answered. When ctx ends before, it returns the answers that came, and an error that names the nodes that did not answer.
func (c *Client) LogLevels(ctx context.Context, change loglevel.Change, nodes []string) ([]loglevel.Answer, error) {
	data, err := json.Marshal(change)
	if err != nil {
		return nil, err
	}
	var all []loglevel.Answer
	silent := slices.Clone(nodes)
	err = c.askAll(ctx, subject.LogLevel, data, func(data []byte) (whole bool) {
		var a loglevel.Answer
		if json.Unmarshal(data, &a) == nil && a.Node != "" {
			all = append(all, a)
			silent = slices.DeleteFunc(silent, func(n string) bool { return n == a.Node })
		}
		return len(silent) == 0
	})
	if len(silent) > 0 && errors.Is(err, ErrNoNode) {
		err = fmt.Errorf("%w: %s did not answer", ErrNoNode, strings.Join(silent, ", "))
	}
	return all, err
}

// askAll sends a request that every node answers, and passes the answers to take until it returns true. When ctx ends before, askAll
// returns ErrNoNode.
func (c *Client) askAll(ctx context.Context, topic string, data []byte, take func(data []byte) (whole bool)) error {
	inbox := c.cfg.Conn.NewRespInbox()
	answers, err := c.cfg.Conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := c.cfg.Conn.PublishRequest(c.cfg.Prefix.Of(topic), inbox, data); err != nil {
		return err
	}
	for {
		m, err := answers.NextMsgWithContext(ctx)
		switch {
		case noResponders(m, err), ctx.Err() != nil:
			return ErrNoNode
		case err != nil:
			return err
		case take(m.Data):
			return nil
		}
	}
}

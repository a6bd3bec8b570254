package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/cluster/trace"
	"lamplight/transport/appendjson"
	"lamplight/transport/audit"
	"lamplight/transport/kazoo"
	"lamplight/transport/report"
)

// Router is what a Bus needs of the router, which takes messages to the owners of their extensions. Its methods may be called
// from any goroutine. cluster/route has the implementation.
type Router interface {
	// Go takes a request to its extension and returns without waiting for the answer. It may wait for NATS's client to write
	// to the socket.
	//
	// It calls done exactly once, from any goroutine, also from the caller's before Go returns, and often in a shard's turn.
	// So done must not wait. done may come a little after the request's deadline, for the router looks for late requests
	// from time to time.
	//
	// An answer without an error to anything but a Show says that the change is durable. actors.ErrUnknown says that the
	// change may or may not have happened. All other errors say that nothing was changed. News of a call, and a
	// subscription, may be applied more than once, which does no harm. Everything else is applied at most once.
	//
	// A request that is made after the answer to an earlier one finds what that one changed, unless its own answer is
	// marked Stale. Go promises no order between requests that are under way at the same time.
	Go(r actors.Request, done func(actors.Answer))

	// List passes the subscriptions of a realm to yield, each once, sorted by extension, event package and Call-ID. It
	// waits for the nodes, at the longest until ctx ends, and yields on the caller's goroutine. The coverage names the
	// shards whose subscriptions may be missing. An error of yield ends the listing and is returned.
	//
	// The rows of one extension are those of one moment; two extensions may be listed as of different moments.
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)

	// ResetRealm resets every extension of a realm, each at most once. It waits until the resets are durable, at the longest
	// until ctx ends. The coverage names the shards that may not have been reset in full, with or without an error.
	ResetRealm(ctx context.Context, realm string, origin presence.Origin) (actors.Coverage, error)

	// EndSwitch ends the calls of a switch that were last heard of before a moment, of all realms and on all nodes. Extensions of
	// the coverage is their number. It waits until that is durable, at the longest until ctx ends. To repeat it does no harm.
	EndSwitch(ctx context.Context, gone presence.SwitchGone) (actors.Coverage, error)
}

// Config is what a Bus needs. All fields but Prefix must be set.
type Config struct {
	Conn    *nats.Conn
	Prefix  subject.Prefix
	Node    string        // the node's name
	Version string        // App-Version of the replies
	Timeout time.Duration // of a document or control request, from its arrival
	Router  Router
	Fanout  *Fanout // the node's

	// KnownRealm says whether an account has the realm, as far as this node has heard. It must not wait.
	KnownRealm func(realm string) bool
	// AskRealm asks the directory's bucket whether an account has the realm. It must not wait. It calls then exactly once,
	// from any goroutine, with nil, directory.ErrUnknown, or why the bucket could not be asked.
	AskRealm func(realm string, then func(error))

	// Credentials says with what a phone logs in as a user of a realm, as far as this node has heard; with the user "", whether an
	// account has the realm. It must not wait. The realm is in lower case.
	Credentials func(realm, user string) kazoo.Credentials
	// EdgeSecret returns the secret that all edges share. It may wait for NATS.
	EdgeSecret func(ctx context.Context) ([]byte, error)

	Tracer *trace.Tracer // nil: no document is traced

	// News counts an event of a realm's account, and calls then once: at once or, while the account is over its budget, when its turn comes,
	// from any goroutine; or with presence.ErrOverBudget. Question is the same for what can't wait. Both must not wait.
	News     func(realm string, then func(error))
	Question func(realm string) error

	// Report makes the reports of resets. Account returns the id of the account that has a realm, "" if none has; it must not wait.
	Report  *report.Maker
	Account func(realm string) string

	// Audit is told of each command that has ended. It must not wait.
	Audit func(audit.Entry)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Bus takes in documents and control requests that come over NATS.
type Bus struct {
	cfg        Config
	subs       []*nats.Subscription
	service    micro.Service
	metrics    *metrics
	refusals   *slog.Logger   // writes a line of each kind of document a minute
	background sync.WaitGroup // listings and resets of realms, resets that wait for their report, and events that wait for their turn
	slots      chan struct{}  // bounds their number
	reporting  chan struct{}  // bounds the number of resets of one extension that wait for their report
	stop       context.CancelFunc
	ctx        context.Context // ends when Stop is called
}

// maxBackground is the number of listings and resets of realms that may be under way at a time.
const maxBackground = 16

// maxReporting is the number of resets of one extension that may wait for their report at a time. What comes beyond has none.
const maxReporting = 256

// New makes a Bus and registers its metrics. It starts nothing.
func New(c Config) *Bus {
	b := &Bus{cfg: c, slots: make(chan struct{}, maxBackground), reporting: make(chan struct{}, maxReporting), metrics: newMetrics(c.Registerer), refusals: loglimit.Every(time.Minute, c.Log).With("part", "documents")}
	b.cfg.Log = loglimit.Limit(c.Log).With("part", "documents")
	return b
}

// What may wait for a handler on one subscription. NATS's client drops documents past it; their senders get no answer and
// send them again.
const (
	maxPendingDocuments = 1 << 17
	maxPendingBytes     = 256 << 20
)

// Start subscribes to the subjects of documents and of edges' requests, and registers the control endpoints.
func (b *Bus) Start(context.Context) error {
	b.ctx, b.stop = context.WithCancel(context.Background())
	for topic, handler := range map[string]nats.MsgHandler{
		subject.AnySubscription: b.subscribe, subject.AnySubscriptionOfRealm: b.subscribe,
		subject.AnyDialogUpdate: b.update, subject.AnyUpdate: b.update,
		subject.AnyMailboxUpdate: b.mailbox, subject.AnyPublication: b.publication, subject.AnyRegistration: b.registration, subject.AnyWatcherReply: b.watcherReply,
		subject.AnySourceUp:    b.sourceUp,
		subject.AnyCredentials: b.credentials, subject.EdgeSecret: b.edgeSecret,
	} {
		s, err := b.cfg.Conn.QueueSubscribe(b.cfg.Prefix.Of(topic), subject.Queue, func(m *nats.Msg) {
			if b.mayAnswer(m.Reply) {
				handler(m)
			}
		})
		if err != nil {
			return err
		}
		_ = s.SetPendingLimits(maxPendingDocuments, maxPendingBytes)
		b.subs = append(b.subs, s)
	}
	for topic, handler := range map[string]nats.MsgHandler{
		subject.AnyEdgeUp: b.edgeUp, subject.NotifiedTo(b.cfg.Node): b.notified,
	} {
		s, err := b.cfg.Conn.Subscribe(b.cfg.Prefix.Of(topic), handler)
		if err != nil {
			return err
		}
		b.subs = append(b.subs, s)
	}
	return b.control()
}

// mayAnswer says whether the node may publish an answer on a reply subject. It rejects everything but inboxes: answering
// elsewhere would lend the sender this node's permissions.
func (b *Bus) mayAnswer(reply string) bool {
	may := subject.MayAnswer(reply)
	if !may {
		b.metrics.refused.WithLabelValues("other", "reply_subject").Inc()
		b.refusals.Warn("a document was refused: its reply subject is no inbox; its sender must use one whose first token is _INBOX or begins with _INBOX_", "reply", reply)
	}
	return may
}

// Stop takes no more documents and control requests. It waits until all that came have been handed to the router, at the
// longest until ctx ends. The router may answer them later, so the connection has to stay open. Stop breaks off the listings
// and resets of realms that are under way: they are answered with what they have, or with an error.
func (b *Bus) Stop(ctx context.Context) error {
	if b.stop == nil || b.ctx.Err() != nil {
		return nil
	}
	b.stop()
	if b.service != nil { // nil: Start failed
		_ = b.service.Stop()
	}
	var taken sync.WaitGroup
	for _, s := range b.subs {
		taken.Add(1)
		s.SetClosedHandler(func(string) { taken.Done() })
		if !b.cfg.Conn.IsConnected() || s.Drain() != nil {
			_ = s.Unsubscribe() // without a connection no document comes any more, and no answer would reach its asker
		}
	}
	done := make(chan struct{})
	go func() { taken.Wait(); b.background.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tokens returns the decoded tokens of a subject that follow the first fixed ones, in lower case.
func (b *Bus) tokens(full string, fixed int) ([]string, error) {
	parts := strings.Split(b.cfg.Prefix.Cut(full), ".")
	out := make([]string, 0, 2)
	for _, p := range parts[min(fixed, len(parts)):] {
		name, err := subject.ParseToken(p)
		if err != nil {
			return nil, refuse("the subject's token %.60q is %s", p, err)
		}
		out = append(out, strings.ToLower(name))
	}
	return out, nil
}

// refuse counts a document as refused and answers it with an error.
func (b *Bus) refuse(m *nats.Msg, f *kazoo.Document, err error) {
	b.acknowledge(m, f, err, presence.IgnoredNot)
}

// note counts a document that is done, or that was refused with err. It logs a sample of those that were refused.
func (b *Bus) note(full string, f *kazoo.Document, err error) {
	b.metrics.done(f, err)
	if err != nil {
		code, _ := codeOf(err)
		b.refusals.Warn("a document of the kind "+f.Kind+" was refused; its sender has to correct it, or to repeat it when the code is 429 or 503",
			"subject", full, "code", code, "reason", err.Error(), "request_id", string(f.MsgID), "by", string(f.AppName))
	}
}

// acknowledge answers a document, if its sender asked for an answer. ignored is why news that was taken has changed nothing.
func (b *Bus) acknowledge(m *nats.Msg, f *kazoo.Document, err error, ignored presence.Ignored) {
	b.note(m.Subject, f, err)
	if m.Reply == "" {
		return
	}
	d := b.ackDocument(f, err)
	if reasons := presence.Reasons(); err == nil && ignored != presence.IgnoredNot && int(ignored) < len(reasons) {
		d = append(appendjson.Field(d[:len(d)-1], "Ignored", reasons[ignored]), '}')
	}
	_ = m.Respond(d)
}

// ackPublication answers a publication that was taken.
func (b *Bus) ackPublication(m *nats.Msg, f *kazoo.Document, tag string, expires int) {
	b.note(m.Subject, f, nil)
	if m.Reply == "" {
		return
	}
	d := b.beginReply(f, string(f.EventName)+"_ack")
	d = appendjson.Field(d, "Status", "ok")
	d = appendjson.Field(d, "ETag", tag)
	d = appendjson.Number(d, "Expires", int64(expires))
	_ = m.Respond(append(d, '}'))
}

// ackDocument encodes the answer to a document or command: ok, or an error reply.
func (b *Bus) ackDocument(f *kazoo.Document, err error) []byte {
	d := b.beginReply(f, string(f.EventName)+"_ack")
	if err == nil {
		d = appendjson.Field(d, "Status", "ok")
		return append(d, '}')
	}
	code, reason := codeOf(err)
	d = appendjson.Field(d, "Status", "error")
	d = appendjson.Field(d, "Code", code)
	d = appendjson.Field(d, "Reason", reason)
	d = appendjson.Field(d, "Details", err.Error())
	return append(d, '}')
}

// beginReply encodes the fields that all answers to f begin with. The caller appends more and the closing brace.
func (b *Bus) beginReply(f *kazoo.Document, name string) []byte {
	d := make([]byte, 0, 256)
	d = append(d, '{')
	d = appendjson.Field(d, "App-Name", "lamplight")
	d = appendjson.Field(d, "App-Version", b.cfg.Version)
	d = appendjson.Field(d, "Event-Category", "presence")
	d = appendjson.Field(d, "Event-Name", name)
	d = appendjson.Field(d, "Msg-ID", string(f.MsgID))
	return appendjson.Field(d, "Node", b.cfg.Node)
}

// codeOf is the table from errors to the Code and Reason of an error reply. They are those of docs/contract/http.md, "Errors", but for
// 480 and 481, which only a SUBSCRIBE can be answered with.
// An error that the table does not have, such as presence.ErrTooNew, is answered 503, and Details say what it is.
func codeOf(err error) (code, message string) {
	var r kazoo.Refusal
	switch {
	case errors.As(err, &r) && r.Code == 404:
		return "404", "bad_identifier"
	case errors.As(err, &r) && r.Code == 413:
		return "413", "request_too_large"
	case errors.As(err, &r) && r.Code == 415:
		return "415", "unsupported_media_type"
	case errors.Is(err, presence.ErrNoPublication):
		return "412", "precondition_failed"
	case errors.As(err, &r), errors.Is(err, presence.ErrInvalid):
		return "400", "validation error"
	case errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls),
		errors.Is(err, presence.ErrTooManyTombstones):
		return "429", "too_many_requests"
	case errors.Is(err, presence.ErrOverBudget):
		return "429", kazoo.OverBudget
	case errors.Is(err, presence.ErrTooManySubscriptions):
		return "480", kazoo.TooManySubscriptions
	case errors.Is(err, presence.ErrNoSubscription):
		return "481", "no_such_subscription"
	}
	return "503", "datastore_unreachable"
}

// refuse returns the error of a document that contradicts its subject.
func refuse(format string, a ...any) error {
	return kazoo.Refusal{Code: 400, Reason: fmt.Sprintf(format, a...)}
}

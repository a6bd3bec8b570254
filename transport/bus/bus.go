package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
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
	ResetRealm(ctx context.Context, realm string) (actors.Coverage, error)
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

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Bus takes in documents and control requests that come over NATS.
type Bus struct {
	cfg        Config
	subs       []*nats.Subscription
	service    micro.Service
	refused    prometheus.Counter
	anonymous  prometheus.Counter
	background sync.WaitGroup // listings and resets of realms
	slots      chan struct{}  // bounds their number
	stop       context.CancelFunc
	ctx        context.Context // ends when Stop is called
}

// maxBackground is the number of listings and resets of realms that may be under way at a time.
const maxBackground = 16

// New makes a Bus and registers its metrics. It starts nothing.
func New(c Config) *Bus {
	c.Log = loglimit.Limit(c.Log)
	b := &Bus{cfg: c, slots: make(chan struct{}, maxBackground)}
	b.refused = prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_documents_refused_total",
		Help: "Documents and watchers' replies that this node refused, and control requests that it answered with an error."})
	b.anonymous = prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_documents_anonymous_total",
		Help: "Documents and control requests that came without App-Name, App-Version or Msg-ID. They are taken; the script that sends them should be completed."})
	c.Registerer.MustRegister(b.refused, b.anonymous)
	return b
}

// queue is the queue group of all nodes. NATS gives each document to one member of the group.
const queue = "lamplight"

// What may wait for a handler on one subscription. NATS's client drops documents past it; their senders get no answer and
// send them again.
const (
	maxPendingDocuments = 1 << 17
	maxPendingBytes     = 256 << 20
)

// Start subscribes to the subjects of documents and registers the control endpoints.
func (b *Bus) Start(context.Context) error {
	b.ctx, b.stop = context.WithCancel(context.Background())
	for topic, handler := range map[string]nats.MsgHandler{
		subject.AnySubscription: b.subscribe, subject.AnySubscriptionOfRealm: b.subscribe,
		subject.AnyDialogUpdate: b.update, subject.AnyUpdate: b.update,
		subject.AnyMailboxUpdate: b.mailbox, subject.AnyWatcherReply: b.watcherReply,
	} {
		s, err := b.cfg.Conn.QueueSubscribe(b.cfg.Prefix.Of(topic), queue, func(m *nats.Msg) {
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

// mayAnswer says whether the node may publish an answer on a reply subject. It rejects subjects in our own or NATS's
// namespace: answering there would lend the sender this node's permissions.
func (b *Bus) mayAnswer(reply string) bool {
	may := b.cfg.Prefix.MayAnswer(reply)
	if !may {
		b.refused.Inc()
		b.cfg.Log.Debug("a document was refused: its reply subject belongs to Lamplight or NATS; its sender must use an inbox", "reply", reply)
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

// checkRealm calls then with nil if an account has the realm, else with an error. It asks the directory's bucket before it
// calls a realm unknown. It does not wait: it calls then once, from any goroutine.
func (b *Bus) checkRealm(realm string, then func(error)) {
	if b.cfg.KnownRealm(realm) {
		then(nil)
		return
	}
	b.cfg.AskRealm(realm, func(err error) {
		if errors.Is(err, directory.ErrUnknown) {
			err = kazoo.Refusal{Code: 404, Reason: "no account has the realm " + realm}
		}
		then(err)
	})
}

// sameRealm refuses a document about another realm than that of its subject.
func sameRealm(realm string, to actors.Address) error {
	if to.Realm != realm {
		return refuse("the document is about the realm %.100q, its subject about %.100q", to.Realm, realm)
	}
	return nil
}

// named returns the extension that the tokens of a subject name: a realm, and a user or an address.
func named(t []string) (actors.Address, error) {
	to, err := presence.ParseName(t[1], t[0])
	if err != nil {
		err = refuse("the user in the subject %v", err)
	}
	return to, err
}

// sameUser refuses a document about another extension than that of its subject. field is where the document names it.
func sameUser(field string, to actors.Address, t []string) error {
	about, err := named(t)
	if err == nil && about != to {
		err = refuse("%s is %.100q, the subject is about %.100q; they must be the same", field, to, about)
	}
	return err
}

// The handlers of documents. Each decodes one kind of document, checks it against its subject and has it processed.

func (b *Bus) subscribe(m *nats.Msg) {
	f, t, err := b.read(m, 2, "subscription")
	var a kazoo.Addressed
	if err == nil {
		a, err = f.Subscription()
	}
	if err == nil && len(t) > 1 {
		err = sameUser("User", a.To, t)
	}
	b.process(m, f, t, err, a)
}

func (b *Bus) update(m *nats.Msg) {
	name := "dialog_update"
	if strings.HasPrefix(b.cfg.Prefix.Cut(m.Subject), strings.TrimSuffix(subject.AnyUpdate, "*.*")) {
		name = "update"
	}
	f, t, err := b.read(m, 2, name)
	var a kazoo.Addressed
	if err == nil {
		callID, _ := subject.ParseToken(subject.Last(m.Subject)) // not from t: the case of a Call-ID matters
		a, err = f.Update(callID)
	}
	b.process(m, f, t, err, a)
}

func (b *Bus) mailbox(m *nats.Msg) {
	f, t, err := b.read(m, 2, "mwi_update")
	var all []kazoo.Addressed
	var update presence.MailboxUpdate
	if err == nil {
		update, all, err = f.Mailbox()
	}
	if err == nil {
		err = sameUser("To", all[0].To, t)
	}
	b.admit(m, f, t, err, all, func(deadline time.Time) {
		// The mailbox comes first: its extension knows which lamps it lit before and lights no more.
		b.cfg.Router.Go(request(all[0], deadline), func(a actors.Answer) {
			if a.Err != nil {
				b.acknowledge(m, f, a.Err)
				return
			}
			lamps := all[1:]
			for _, user := range a.Former {
				if !slices.ContainsFunc(lamps, func(lamp kazoo.Addressed) bool { return lamp.To.User == user }) {
					dark := update.Dark(user)
					lamps = append(lamps, kazoo.Addressed{To: dark.To, Event: dark.Message})
				}
			}
			b.requestAll(deadline, lamps, func(err error) { b.acknowledge(m, f, err) })
		})
	})
}

// request is the request that brings a message to its extension.
func request(to kazoo.Addressed, deadline time.Time) actors.Request {
	return actors.Request{To: to.To, Message: to.Event, Deadline: deadline}
}

func (b *Bus) watcherReply(m *nats.Msg) {
	f, t, err := b.read(m, 2, "notify")
	var a kazoo.Addressed
	var to actors.Address
	if err == nil {
		to, err = named(t)
	}
	if err == nil {
		a, err = f.WatcherReply(to)
	}
	b.process(m, f, t, err, a)
}

// read decodes a document, whose Event-Name must be one of names, and the tokens of its subject that follow the first fixed
// ones.
func (b *Bus) read(m *nats.Msg, fixed int, names ...string) (*kazoo.Document, []string, error) {
	f, err := b.decode(m.Data, names...)
	t, terr := b.tokens(m.Subject, fixed)
	if err == nil {
		err = terr
	}
	return f, t, err
}

// decode decodes a document, and counts it if it is anonymous.
func (b *Bus) decode(data []byte, names ...string) (*kazoo.Document, error) {
	f, err := kazoo.Read(data, names...)
	if err == nil && f.Anonymous() {
		b.anonymous.Inc()
	}
	return f, err
}

// process sends the message that a document means to its extension, and acknowledges the document when the message is
// durable. t are the tokens of its subject. With an err, or when it is about a realm that no account has, it refuses the
// document.
func (b *Bus) process(m *nats.Msg, f *kazoo.Document, t []string, err error, a kazoo.Addressed) {
	b.admit(m, f, t, err, []kazoo.Addressed{a}, func(deadline time.Time) {
		b.cfg.Router.Go(request(a, deadline), func(a actors.Answer) { b.acknowledge(m, f, a.Err) })
	})
}

// admit refuses a document with an err, or about another realm than that of its subject, or about a realm that no account has.
// Else it calls then with the time until which the document is to be answered.
func (b *Bus) admit(m *nats.Msg, f *kazoo.Document, t []string, err error, all []kazoo.Addressed, then func(deadline time.Time)) {
	for i := range all {
		if err == nil {
			err = sameRealm(t[0], all[i].To)
		}
	}
	if err != nil {
		b.refuse(m, f, err)
		return
	}
	deadline := time.Now().Add(b.cfg.Timeout)
	b.checkRealm(t[0], func(err error) {
		if err != nil {
			b.refuse(m, f, err)
			return
		}
		then(deadline)
	})
}

// requestAll sends messages to their extensions. It calls done with the first error, or nil, once all have answered.
func (b *Bus) requestAll(deadline time.Time, all []kazoo.Addressed, done func(error)) {
	var mu sync.Mutex
	left, first := len(all), error(nil)
	for _, one := range all {
		b.cfg.Router.Go(request(one, deadline), func(a actors.Answer) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = a.Err
			}
			if left--; left == 0 {
				done(first)
			}
		})
	}
}

// refuse counts a document as refused and answers it with an error.
func (b *Bus) refuse(m *nats.Msg, f *kazoo.Document, err error) {
	b.refused.Inc()
	b.cfg.Log.Debug("a document was refused; its sender has to correct or repeat it", "subject", m.Subject, "err", err)
	b.acknowledge(m, f, err)
}

// acknowledge answers a document, if its sender asked for an answer.
func (b *Bus) acknowledge(m *nats.Msg, f *kazoo.Document, err error) {
	if m.Reply == "" {
		return
	}
	_ = m.Respond(b.ackDocument(f, err))
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

// codeOf is the table from errors to the Code and Reason of an error reply. They are those of docs/contract/http.md, "Errors".
// An error that the table does not have, such as presence.ErrTooNew, is answered 503, and Details say what it is.
func codeOf(err error) (code, message string) {
	var r kazoo.Refusal
	switch {
	case errors.As(err, &r) && r.Code == 404:
		return "404", "bad_identifier"
	case errors.As(err, &r) && r.Code == 413:
		return "413", "request_too_large"
	case errors.As(err, &r), errors.Is(err, presence.ErrInvalid):
		return "400", "validation error"
	case errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls),
		errors.Is(err, presence.ErrTooManyTombstones):
		return "429", "too_many_requests"
	}
	return "503", "datastore_unreachable"
}

// refuse returns the error of a document that contradicts its subject.
func refuse(format string, a ...any) error {
	return kazoo.Refusal{Code: 400, Reason: fmt.Sprintf(format, a...)}
}

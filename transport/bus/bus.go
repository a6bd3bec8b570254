package bus

import (
	"cmp"
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
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// Router takes messages to their extensions. Go calls done exactly once, from any goroutine.
type Router interface {
	Go(r actors.Request, done func(actors.Answer))
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)
	ResetRealm(ctx context.Context, realm string) (actors.Coverage, error)
}

// Config is what a Bus needs.
type Config struct {
	Conn       *nats.Conn
	Prefix     subject.Prefix
	Node       string
	Version    string
	Timeout    time.Duration
	Router     Router
	Fanout     *Fanout
	KnownRealm func(realm string) bool              // says what this node knows
	AskRealm   func(realm string, then func(error)) // asks the directory; never blocks, calls then once, from any goroutine
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Bus is the NATS edge of a node.
type Bus struct {
	cfg      Config
	subs     []*nats.Subscription
	service  micro.Service
	refused  prometheus.Counter
	listings sync.WaitGroup
	listing  chan struct{} // bounds listings at a time
	stop     context.CancelFunc
	ctx      context.Context
}

// New makes a Bus that has not started.
func New(c Config) *Bus {
	b := &Bus{cfg: c, listing: make(chan struct{}, 16)}
	b.refused = prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_documents_refused_total", Help: "Documents refused with an error reply."})
	c.Registerer.MustRegister(b.refused)
	return b
}

// queue is the group of all nodes: each document is taken in by one of them.
const queue = "lamplight"

// Start begins to take documents in.
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
		_ = s.SetPendingLimits(1<<17, 256<<20)
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

// mayAnswer refuses who wants the answer where this node may publish and he may not.
func (b *Bus) mayAnswer(reply string) bool {
	may := b.cfg.Prefix.MayAnswer(reply)
	if !may {
		b.refused.Inc()
		b.cfg.Log.Debug("a document is refused: its reply subject is one of Lamplight's or NATS's own", "reply", reply)
	}
	return may
}

// Stop stops the intake. What came before is still answered.
func (b *Bus) Stop(ctx context.Context) error {
	if b.stop == nil || b.ctx.Err() != nil {
		return nil
	}
	b.stop()
	_ = b.service.Stop()
	var taken sync.WaitGroup
	for _, s := range b.subs {
		taken.Add(1)
		s.SetClosedHandler(func(string) { taken.Done() })
		if !b.cfg.Conn.IsConnected() || s.Drain() != nil {
			_ = s.Unsubscribe() // nothing comes any more, and no answer would get through
		}
	}
	done := make(chan struct{})
	go func() { taken.Wait(); b.listings.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tokens gives the decoded tokens of a subject behind the fixed ones, in lower case.
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

// known says whether an account has the realm; it asks the directory before it says no, and does not block.
func (b *Bus) known(realm string, then func(error)) {
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

// sameRealm checks that a document is about the realm of its subject.
func sameRealm(realm string, to actors.Address) error {
	if to.Realm != realm {
		return refuse("the document is about the realm %.100q, its subject about %.100q", to.Realm, realm)
	}
	return nil
}

func (b *Bus) subscribe(m *nats.Msg) {
	f, t, err := b.read(m, 2, "subscription")
	var a kazoo.Addressed
	if err == nil {
		a, err = f.Subscription()
	}
	if s, ok := a.Event.(presence.Subscribe); err == nil && ok && s.Expires > 0 && !b.cfg.Fanout.room(cmp.Or(s.ServerID, s.Queue, subject.AnyEdge)) {
		err = errEdges
	}
	if err == nil && len(t) > 1 && t[1] != a.To.User {
		err = refuse("User is %.100q, the subject is about %.100q", a.To.User, t[1])
	}
	b.take(m, f, t, err, a)
}

func (b *Bus) update(m *nats.Msg) {
	name := "dialog_update"
	if strings.HasPrefix(b.cfg.Prefix.Cut(m.Subject), strings.TrimSuffix(subject.AnyUpdate, "*.*")) {
		name = "update"
	}
	f, t, err := b.read(m, 2, name)
	var a kazoo.Addressed
	if err == nil {
		callID, _ := subject.ParseToken(subject.Last(m.Subject)) // in its own case, which matters in a Call-ID
		a, err = f.Update(callID)
	}
	b.take(m, f, t, err, a)
}

func (b *Bus) mailbox(m *nats.Msg) {
	f, t, err := b.read(m, 2, "mwi_update")
	var all []kazoo.Addressed
	if err == nil {
		all, err = f.Mailbox()
	}
	if err == nil && t[1] != all[0].To.User {
		err = refuse("To is %.100q, the subject is about %.100q", all[0].To.User, t[1])
	}
	b.take(m, f, t, err, all...)
}

func (b *Bus) watcherReply(m *nats.Msg) {
	f, t, err := b.read(m, 2, "notify")
	var a kazoo.Addressed
	if err == nil {
		a, err = f.WatcherReply(actors.Address{Realm: t[0], User: t[1]})
	}
	b.take(m, f, t, err, a)
}

// read decodes a document and its subject.
func (b *Bus) read(m *nats.Msg, fixed int, names ...string) (*kazoo.Document, []string, error) {
	f, err := kazoo.Read(m.Data, names...)
	t, terr := b.tokens(m.Subject, fixed)
	if err == nil {
		err = terr
	}
	return f, t, err
}

// take sends the messages of one document to their extensions, and answers when all are durable.
func (b *Bus) take(m *nats.Msg, f *kazoo.Document, t []string, err error, all ...kazoo.Addressed) {
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
	b.known(t[0], func(err error) {
		if err != nil {
			b.refuse(m, f, err)
			return
		}
		b.hand(deadline, all, func(err error) { b.ack(m, f, err) })
	})
}

// hand gives messages to their extensions; done hears the first error once all have answered.
func (b *Bus) hand(deadline time.Time, all []kazoo.Addressed, done func(error)) {
	if len(all) == 1 {
		b.cfg.Router.Go(actors.Request{To: all[0].To, Message: all[0].Event, Deadline: deadline}, func(a actors.Answer) { done(a.Err) })
		return
	}
	var mu sync.Mutex
	left, first := len(all), error(nil)
	for _, one := range all {
		b.cfg.Router.Go(actors.Request{To: one.To, Message: one.Event, Deadline: deadline}, func(a actors.Answer) {
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

func (b *Bus) refuse(m *nats.Msg, f *kazoo.Document, err error) {
	b.refused.Inc()
	b.cfg.Log.Debug("document refused", "subject", m.Subject, "err", err)
	b.ack(m, f, err)
}

// ack answers a document that came as a request.
func (b *Bus) ack(m *nats.Msg, f *kazoo.Document, err error) {
	if m.Reply == "" {
		return
	}
	_ = m.Respond(b.reply(f, err))
}

func (b *Bus) reply(f *kazoo.Document, err error) []byte {
	d := b.begin(f, string(f.EventName)+"_ack")
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

// begin starts a document in answer to f.
func (b *Bus) begin(f *kazoo.Document, name string) []byte {
	d := make([]byte, 0, 256)
	d = append(d, '{')
	d = appendjson.Field(d, "App-Name", "lamplight")
	d = appendjson.Field(d, "App-Version", b.cfg.Version)
	d = appendjson.Field(d, "Event-Category", "presence")
	d = appendjson.Field(d, "Event-Name", name)
	d = appendjson.Field(d, "Msg-ID", string(f.MsgID))
	return appendjson.Field(d, "Node", b.cfg.Node)
}

// codeOf is the one table from errors to HTTP's codes and messages.
func codeOf(err error) (code, message string) {
	var r kazoo.Refusal
	switch {
	case errors.As(err, &r) && r.Code == 404:
		return "404", "bad_identifier"
	case errors.As(err, &r) && r.Code == 413:
		return "413", "request_too_large"
	case errors.As(err, &r), errors.Is(err, presence.ErrInvalid):
		return "400", "validation error"
	case errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, errEdges), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls),
		errors.Is(err, presence.ErrTooManyTombstones):
		return "429", "too_many_requests"
	}
	return "503", "datastore_unreachable"
}

// edgeUp hears an edge say that it lives and what it has seen.
func (b *Bus) edgeUp(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	var d kazoo.EdgeUp
	if err == nil {
		d, err = kazoo.ReadEdgeUp(m.Data, edge)
	}
	if err != nil || edge == subject.AnyEdge {
		b.refused.Inc()
		return
	}
	seen, known := d.Seen[b.cfg.Node+"/"+b.cfg.Fanout.cfg.Incarnation()]
	b.cfg.Fanout.up(edge, d.Incarnation, uint64(seen), known)
}

// notified hears what the watchers behind an edge answered.
func (b *Bus) notified(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	var replies []kazoo.Addressed
	wrong := 1
	if err == nil {
		replies, wrong, err = kazoo.ReadNotified(m.Data, edge)
	}
	if err != nil {
		b.refused.Inc()
		return
	}
	b.refused.Add(float64(wrong))
	deadline := time.Now().Add(b.cfg.Timeout)
	for _, r := range replies {
		b.cfg.Router.Go(actors.Request{To: r.To, Message: r.Event, Deadline: deadline}, func(actors.Answer) {})
	}
}

// refuse makes the error of a document that contradicts its subject.
func refuse(format string, a ...any) error {
	return kazoo.Refusal{Code: 400, Reason: fmt.Sprintf(format, a...)}
}

package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster"
	"lamplight/cluster/directory"
	"lamplight/transport/document"
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
	Prefix     string
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
func (b *Bus) Start() error {
	b.ctx, b.stop = context.WithCancel(context.Background())
	for subject, handler := range map[string]nats.MsgHandler{
		"omnipresence.subscribe.*.*": b.subscribe, "presence.subscriptions.*": b.subscribe,
		"presence.dialog.*.*": b.dialog, "presence.update.*.*": b.dialog,
		"presence.mwi_updates.*.*": b.mailbox, "omnipresence.notify.*.*": b.notify,
	} {
		s, err := b.cfg.Conn.QueueSubscribe(b.cfg.Prefix+subject, queue, func(m *nats.Msg) {
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
	for subject, handler := range map[string]nats.MsgHandler{
		"lamplight.edge.up.*": b.edgeUp, "lamplight.notified." + Token(b.cfg.Node) + ".*": b.notified,
	} {
		s, err := b.cfg.Conn.Subscribe(b.cfg.Prefix+subject, handler)
		if err != nil {
			return err
		}
		b.subs = append(b.subs, s)
	}
	return b.control()
}

// mayAnswer refuses who wants the answer where this node may publish and he may not.
func (b *Bus) mayAnswer(reply string) bool {
	may := cluster.MayAnswer(b.cfg.Prefix, reply)
	if !may {
		b.refused.Inc()
		b.cfg.Log.Debug("a document is refused: its reply subject is one of Lamplight's or NATS's own", "reply", reply)
	}
	return may
}

// Close stops the intake; what came is still answered.
func (b *Bus) Close(ctx context.Context) error {
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

// tokens gives the decoded tokens of a subject behind the fixed ones.
func (b *Bus) tokens(subject string, fixed int) ([]string, error) {
	parts := strings.Split(strings.TrimPrefix(subject, b.cfg.Prefix), ".")
	out := make([]string, 0, 2)
	for _, p := range parts[min(fixed, len(parts)):] {
		name, err := ParseToken(p)
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
			err = refusal{404, "no account has the realm " + realm}
		}
		then(err)
	})
}

// sameRealm checks that a document is about the realm of its subject.
func sameRealm(subject string, to actors.Address) error {
	if to.Realm != subject {
		return refuse("the document is about the realm %.100q, its subject about %.100q", to.Realm, subject)
	}
	return nil
}

func (b *Bus) subscribe(m *nats.Msg) {
	f, t, err := b.read(m, 2, "subscription")
	var a addressed
	if err == nil {
		a, err = f.subscription()
	}
	if s, ok := a.event.(presence.Subscribe); err == nil && ok && s.Expires > 0 && !b.cfg.Fanout.room(cmp.Or(s.ServerID, s.Queue, anyEdge)) {
		err = errEdges
	}
	if err == nil && len(t) > 1 && t[1] != a.to.User {
		err = refuse("User is %.100q, the subject is about %.100q", a.to.User, t[1])
	}
	b.take(m, f, t, err, a)
}

func (b *Bus) dialog(m *nats.Msg) {
	name := "dialog_update"
	if strings.HasPrefix(strings.TrimPrefix(m.Subject, b.cfg.Prefix), "presence.update.") {
		name = "update"
	}
	f, t, err := b.read(m, 2, name)
	var a addressed
	if err == nil {
		callID, _ := ParseToken(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]) // case matters in a Call-ID
		a, err = f.update(callID)
	}
	b.take(m, f, t, err, a)
}

func (b *Bus) mailbox(m *nats.Msg) {
	f, t, err := b.read(m, 2, "mwi_update")
	var all []addressed
	if err == nil {
		all, err = f.mailbox()
	}
	if err == nil && t[1] != all[0].to.User {
		err = refuse("To is %.100q, the subject is about %.100q", all[0].to.User, t[1])
	}
	b.take(m, f, t, err, all...)
}

func (b *Bus) notify(m *nats.Msg) {
	f, t, err := b.read(m, 2, "notify")
	var a addressed
	if err == nil {
		a, err = f.notified(actors.Address{Realm: t[0], User: t[1]})
	}
	b.take(m, f, t, err, a)
}

// read decodes a document and its subject.
func (b *Bus) read(m *nats.Msg, fixed int, names ...string) (*fields, []string, error) {
	f, err := decode(m.Data, names...)
	t, terr := b.tokens(m.Subject, fixed)
	if err == nil {
		err = terr
	}
	return f, t, err
}

// take sends the messages of one document to their extensions, and answers when all are durable.
func (b *Bus) take(m *nats.Msg, f *fields, t []string, err error, all ...addressed) {
	for i := range all {
		if err == nil {
			err = sameRealm(t[0], all[i].to)
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
func (b *Bus) hand(deadline time.Time, all []addressed, done func(error)) {
	if len(all) == 1 {
		b.cfg.Router.Go(actors.Request{To: all[0].to, Message: all[0].event, Deadline: deadline}, func(a actors.Answer) { done(a.Err) })
		return
	}
	var mu sync.Mutex
	left, first := len(all), error(nil)
	for _, one := range all {
		b.cfg.Router.Go(actors.Request{To: one.to, Message: one.event, Deadline: deadline}, func(a actors.Answer) {
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

func (b *Bus) refuse(m *nats.Msg, f *fields, err error) {
	b.refused.Inc()
	b.cfg.Log.Debug("document refused", "subject", m.Subject, "err", err)
	b.ack(m, f, err)
}

// ack answers a document that came as a request.
func (b *Bus) ack(m *nats.Msg, f *fields, err error) {
	if m.Reply == "" {
		return
	}
	_ = m.Respond(b.reply(f, err))
}

func (b *Bus) reply(f *fields, err error) []byte {
	d := b.begin(f, string(f.EventName)+"_ack")
	if err == nil {
		d = document.Field(d, "Status", "ok")
		return append(d, '}')
	}
	code, reason := status(err)
	d = document.Field(d, "Status", "error")
	d = document.Field(d, "Code", code)
	d = document.Field(d, "Reason", reason)
	d = document.Field(d, "Details", err.Error())
	return append(d, '}')
}

// begin starts a document in answer to f.
func (b *Bus) begin(f *fields, name string) []byte {
	d := make([]byte, 0, 256)
	d = append(d, '{')
	d = document.Field(d, "App-Name", "lamplight")
	d = document.Field(d, "App-Version", b.cfg.Version)
	d = document.Field(d, "Event-Category", "presence")
	d = document.Field(d, "Event-Name", name)
	d = document.Field(d, "Msg-ID", string(f.MsgID))
	return document.Field(d, "Node", b.cfg.Node)
}

// status is the one table from errors to API.md's codes and messages.
func status(err error) (code, message string) {
	var r refusal
	switch {
	case errors.As(err, &r) && r.code == 404:
		return "404", "bad_identifier"
	case errors.As(err, &r) && r.code == 413:
		return "413", "request_too_large"
	case errors.As(err, &r), errors.Is(err, presence.ErrInvalid):
		return "400", "validation error"
	case errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, errEdges), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls),
		errors.Is(err, presence.ErrTooManyTombstones):
		return "429", "too_many_requests"
	}
	return "503", "datastore_unreachable"
}

// edgeUp hears an edge say that it is there and what it has seen.
func (b *Bus) edgeUp(m *nats.Msg) {
	var d struct {
		Edge        text             `json:"Edge"`
		Incarnation text             `json:"Incarnation"`
		Seen        map[string]count `json:"Seen"`
	}
	t, err := b.tokensAsSent(m.Subject)
	if err != nil || len(m.Data) > 1<<20 || json.Unmarshal(m.Data, &d) != nil || string(d.Edge) != t || t == anyEdge || d.Incarnation == "" {
		b.refused.Inc()
		return
	}
	seen, known := d.Seen[b.cfg.Node+"/"+b.cfg.Fanout.cfg.Incarnation()]
	b.cfg.Fanout.up(t, string(d.Incarnation), uint64(max(seen.n, 0)), known)
}

// tokensAsSent is the last token of a subject, decoded, in its own case.
func (b *Bus) tokensAsSent(subject string) (string, error) {
	return ParseToken(subject[strings.LastIndexByte(subject, '.')+1:])
}

// notified hears what the watchers behind an edge answered.
func (b *Bus) notified(m *nats.Msg) {
	var d struct {
		Edge    text `json:"Edge"`
		Replies []struct {
			Presentity text  `json:"Presentity"`
			Package    text  `json:"Event-Package"`
			CallID     text  `json:"Call-ID"`
			Sequence   count `json:"Sequence"`
			Reply      count `json:"Reply"`
		} `json:"Replies"`
	}
	t, err := b.tokensAsSent(m.Subject)
	if err != nil || len(m.Data) > 1<<20 || json.Unmarshal(m.Data, &d) != nil || string(d.Edge) != t || len(d.Replies) > maxTargets {
		b.refused.Inc()
		return
	}
	deadline := time.Now().Add(b.cfg.Timeout)
	for _, r := range d.Replies {
		to, err := address("Presentity", r.Presentity)
		p, perr := eventPackage(r.Package)
		if err != nil || perr != nil || r.Sequence.n < 0 || r.Sequence.n > 1<<31 || r.Reply.n < 0 || r.Reply.n > 999 {
			b.refused.Inc()
			continue
		}
		b.cfg.Router.Go(actors.Request{To: to, Deadline: deadline, Message: presence.Notified{Package: p, HasPackage: true, CallID: string(r.CallID),
			Sequence: uint32(r.Sequence.n), Reply: int(r.Reply.n)}}, func(actors.Answer) {})
	}
}

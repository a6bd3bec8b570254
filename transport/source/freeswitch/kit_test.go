package freeswitch

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/source"
	"lamplight/transport/source/freeswitch/freeswitchtest"
)

const acme = "acme.example.com"

// patience is how long a test waits for something that comes soon, unless the machine is busy with other things.
const patience = time.Minute

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // it ends by itself, within 10 s
}

// bench is a switch, a bridge and a node.
type bench struct {
	t        *testing.T
	fs       *freeswitchtest.Server
	node     *node.Node
	registry *prometheus.Registry
	log      *transcript
	gate     *gate
	ended    chan error   // what the bridge's Run returned, when it returned by itself
	stop     func() error // stops the bridge and returns what its Run returned

	mu        sync.Mutex
	documents []document
}

// document is a document that the bridge has sent.
type document struct {
	Subject string
	Fields  map[string]any
}

// transcript is a log.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// gate is a Sink that lets nothing through while it is closed.
type gate struct {
	source.Sink
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil: it is open
}

func (g *gate) Send(ctx context.Context, d source.Document, done func(error)) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.Sink.Send(ctx, d, done)
}

// close shuts the gate and returns what opens it.
func (g *gate) close() (open func()) {
	shut := make(chan struct{})
	g.mu.Lock()
	g.shut = shut
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		g.shut = nil
		g.mu.Unlock()
		close(shut)
	}
}

// gated is a source behind a gate.
type gated struct {
	*Source
	gate *gate
}

func (g gated) Run(ctx context.Context, sink source.Sink) error {
	g.gate.Sink = sink
	return g.Source.Run(ctx, g.gate)
}

// start starts a node and a switch, and a bridge between them. change may change the switch and the bridge before they start.
func start(t *testing.T, change func(fs *freeswitchtest.Server, s *Source)) *bench {
	t.Helper()
	b := &bench{t: t, fs: freeswitchtest.Start(t), node: nodetest.Start(t, nodetest.Config("a", t.TempDir()))}
	if _, err := b.node.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": acme}}}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{subject.AnyDialogUpdate, subject.AnyUpdate, subject.AnyMailboxUpdate, subject.AnyRegistration, subject.AnySourceUp, subject.SwitchGone} {
		if _, err := b.node.Conn().Subscribe(topic, b.note); err != nil {
			t.Fatal(err)
		}
	}
	b.bridge(change)
	return b
}

// bridge starts a bridge from the switch to the node.
func (b *bench) bridge(change func(fs *freeswitchtest.Server, s *Source)) {
	b.t.Helper()
	b.log, b.registry, b.gate = &transcript{}, prometheus.NewRegistry(), &gate{}
	log := slog.New(slog.NewTextHandler(b.log, nil))
	s := New(Config{Address: b.fs.Addr(), Password: freeswitchtest.Password, CallerRinging: presence.Confirmed, Log: log})
	s.silence, s.resyncPause = 5*time.Second, 50*time.Millisecond
	if change != nil {
		change(b.fs, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, config := make(chan error, 1), source.Config{Conn: b.node.Conn(), Version: "0.1.0", Log: log, Registerer: b.registry}
	bridge := gated{s, b.gate}
	go func() {
		ended <- source.Run(ctx, config, bridge)
		close(ended)
	}()
	b.ended = ended
	b.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	b.t.Cleanup(func() {
		_ = b.stop()
		if b.t.Failed() {
			b.t.Logf("the bridge's log:\n%s", b.log)
		}
	})
}

// note keeps a document. It acknowledges registrations, which a node may not know yet.
func (b *bench) note(m *nats.Msg) {
	d := document{Subject: m.Subject}
	if err := json.Unmarshal(m.Data, &d.Fields); err != nil {
		b.t.Errorf("%s: %v", m.Data, err)
	}
	b.mu.Lock()
	b.documents = append(b.documents, d)
	b.mu.Unlock()
	if strings.HasPrefix(m.Subject, "registration.") {
		_ = m.Respond([]byte(`{"Status":"ok"}`))
	}
}

// told returns the documents whose subject begins with a text.
func (b *bench) told(prefix string) (all []document) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.documents {
		if strings.HasPrefix(d.Subject, prefix) {
			all = append(all, d)
		}
	}
	return all
}

// until waits for a condition.
func (b *bench) until(what string, within time.Duration, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// view returns the state of an extension.
func (b *bench) view(extension string) *presence.View {
	b.t.Helper()
	a := b.node.Router().Request(b.t.Context(), actors.Request{To: actors.Address{Realm: acme, User: extension}, Message: presence.Show{}})
	if a.Err != nil {
		b.t.Fatal(a.Err)
	}
	return a.View
}

// lamp waits until the lamp of an extension is in a state.
func (b *bench) lamp(extension string, want presence.State) {
	b.t.Helper()
	b.until(extension+" is "+want.String(), patience, func() bool { return b.view(extension).State == want })
}

// ready waits until the bridge listens to events.
func (b *bench) ready() {
	b.t.Helper()
	b.until("the bridge has resynchronized", patience, func() bool { return len(b.told("presence.switch_gone")) > 0 })
}

// counted returns the value of a metric for a reason; "": of all reasons.
func (b *bench) counted(name, reason string) (sum float64) {
	b.t.Helper()
	all, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			right := reason == ""
			for _, l := range m.Label {
				right = right || l.GetName() == "reason" && strings.Contains(l.GetValue(), reason)
			}
			if f.GetName() == name && right {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

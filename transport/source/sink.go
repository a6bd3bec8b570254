package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
)

// ErrRefused says that the nodes have refused a document: to send it again would not help.
var ErrRefused = errors.New("the document was refused")

const (
	maxUnderWay = 2000             // documents that are not acknowledged; Send waits past it
	upEvery     = 10 * time.Second // how often a source says that it lives
	upExpires   = 30               // seconds: how long it may say nothing before it is taken for gone
	upTime      = 3 * time.Second  // how long the nodes may take to answer one source.up
	forEver     = 10 * 365 * 24 * time.Hour
)

// Config is what Run needs. All fields but Prefix must be set.
type Config struct {
	Conn       *nats.Conn // it should reconnect for ever, as one of client.Connect does
	Prefix     subject.Prefix
	Version    string // App-Version of the documents
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Run runs a source until ctx ends or the source gives up. Documents that are under way then may or may not have been taken. When ctx ends, it says
// that the source stops in good order.
func Run(ctx context.Context, c Config, s Source) error {
	k := newSink(c, s.Name())
	if err := k.sender.Start(ctx); err != nil {
		return err
	}
	defer k.stop()
	err := s.Run(ctx, k)
	if ctx.Err() != nil {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = k.Down(down)
		return nil
	}
	return err
}

// sink implements Sink.
type sink struct {
	cfg    Config
	name   string
	sender *client.Sender
	client *client.Client
	slots  chan struct{} // one for each document under way

	mu       sync.Mutex
	said     map[string]saying // what is repeated, by the name under which it is said
	repeated sync.WaitGroup

	documents *prometheus.CounterVec
	refused   *prometheus.CounterVec
	latency   prometheus.Histogram
	connected prometheus.Gauge
	heard     prometheus.Gauge
}

// saying is one thing that a source says of itself, and what ends its repetition.
type saying struct {
	up  presence.SourceUp
	end context.CancelFunc
}

func newSink(c Config, name string) *sink {
	c.Log = loglimit.Limit(c.Log).With("part", "bridge")
	k := &sink{cfg: c, name: name, sender: client.NewSender(c.Conn, c.Prefix), slots: make(chan struct{}, maxUnderWay), said: map[string]saying{},
		client: client.New(client.Config{Conn: c.Conn, Prefix: c.Prefix, App: "lamplight-" + name, AppVersion: c.Version})}
	labels := prometheus.Labels{"source": name}
	k.documents = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_source_documents_total", ConstLabels: labels,
		Help: "Documents of this source that the nodes have acknowledged, by Event-Name."}, []string{"event"})
	k.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_source_refused_total", ConstLabels: labels,
		Help: "What this source could make no document of, and documents that the nodes have refused, by reason. The log has a sample of each kind every 10 s."}, []string{"reason"})
	k.latency = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lamplight_source_latency_seconds", ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		Help: "Seconds from the moment at which the source had a document until the nodes acknowledged it."})
	k.connected = prometheus.NewGauge(prometheus.GaugeOpts{Name: "lamplight_source_connected", ConstLabels: labels, Help: "1 while the source reaches its switch, else 0."})
	k.heard = prometheus.NewGauge(prometheus.GaugeOpts{Name: "lamplight_source_heard_timestamp_seconds", ConstLabels: labels, Help: "When the source last heard something of its switch, in seconds since 1970."})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_source_documents_under_way", ConstLabels: labels, Help: "Documents of this source that are not acknowledged yet."},
		func() float64 { return float64(len(k.slots)) })
	c.Registerer.MustRegister(k.documents, k.refused, k.latency, k.connected, k.heard, waiting)
	return k
}

// stop ends the repetition of what the source says of itself, and of documents.
func (k *sink) stop() {
	for _, name := range k.names() {
		k.hush(name)
	}
	k.repeated.Wait()
	_ = k.sender.Stop(context.Background())
}

func (k *sink) Send(ctx context.Context, d Document, done func(error)) error {
	data := d.Data
	if data == nil {
		var err error
		if data, err = k.client.Document(d.Event, d.Fields); err != nil {
			return err
		}
	}
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	begun := time.Now()
	k.sender.Go(d.Subject, data, begun.Add(forEver), func(s client.Sent) {
		<-k.slots
		err := s.Err
		if err == nil {
			k.documents.WithLabelValues(d.Event).Inc()
			k.latency.Observe(s.At.Sub(begun).Seconds())
		} else {
			k.Refused(reason(err), fmt.Sprintf("%v: %.300s", err, data))
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if done != nil {
			done(err)
		}
	})
	return nil
}

// reason is why the nodes have refused a document, as a metric's label.
func reason(err error) string {
	if r, ok := errors.AsType[*client.Refusal](err); ok {
		return "refused by the nodes: " + r.Code + " " + r.Reason
	}
	return "refused by the nodes"
}

func (k *sink) Up(ctx context.Context, switchURI, incarnation string) error {
	return k.lives(ctx, presence.SourceUp{Source: k.name, Switch: switchURI, Incarnation: incarnation, Expires: upExpires})
}

func (k *sink) UpOf(ctx context.Context, switchURI, incarnation string, lease time.Duration) error {
	return k.lives(ctx, presence.SourceUp{Source: k.nameOf(switchURI), Switch: switchURI, Incarnation: incarnation, Expires: int(lease.Seconds())})
}

// nameOf is the name under which the source speaks of one of several switches.
func (k *sink) nameOf(switchURI string) string { return k.name + "/" + switchURI }

// lives says that a source lives until a node has acknowledged it, and then has it repeated.
func (k *sink) lives(ctx context.Context, up presence.SourceUp) error {
	k.hush(up.Source) // what was said before must not be heard behind it
	for {
		err := k.ask(ctx, up)
		if r, ok := errors.AsType[*client.Refusal](err); ok && r.Code != "503" && r.Code != "429" {
			return err
		}
		if err == nil {
			break
		}
		k.cfg.Log.Warn("no node has taken word of this source; that is tried again", "source", up.Source, "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.say(up)
	return nil
}

// ask sends one source.up and waits for its answer.
func (k *sink) ask(ctx context.Context, up presence.SourceUp) error {
	ctx, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	up.Timestamp = time.Now()
	_, err := k.client.SourceUp(ctx, up)
	return err
}

// say has what a source says of itself repeated, in the place of what it said before under the same name.
func (k *sink) say(up presence.SourceUp) {
	k.hush(up.Source)
	ctx, cancel := context.WithCancel(context.Background())
	k.mu.Lock()
	k.said[up.Source] = saying{up, cancel}
	k.mu.Unlock()
	k.repeated.Go(func() {
		t := time.NewTicker(upEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if err := k.ask(ctx, up); err != nil && ctx.Err() == nil {
					k.cfg.Log.Warn("no node has taken word of this source; its calls end when that lasts", "source", up.Source, "err", err, "expires_s", up.Expires)
				}
			}
		}
	})
}

func (k *sink) Silent() {
	for _, name := range k.names() {
		k.hush(name)
	}
}

// hush ends the repetition of what a source says under a name, and returns what it said.
func (k *sink) hush(name string) (up presence.SourceUp, said bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, said := k.said[name]
	if said {
		s.end()
		delete(k.said, name)
	}
	return s.up, said
}

// names returns the names under which the source says that it lives.
func (k *sink) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.said))
}

func (k *sink) Down(ctx context.Context) (err error) {
	for _, name := range k.names() {
		err = errors.Join(err, k.down(ctx, name))
	}
	return err
}

func (k *sink) DownOf(ctx context.Context, switchURI string) error {
	return k.down(ctx, k.nameOf(switchURI))
}

// down says that a source stops, if it has said that it lives.
func (k *sink) down(ctx context.Context, name string) error {
	up, said := k.hush(name)
	if !said {
		return nil
	}
	up.Expires = 0
	return k.ask(ctx, up)
}

func (k *sink) SwitchGone(ctx context.Context, switchURI string, before time.Time) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, client.SwitchTime)
	defer cancel()
	a, err := k.client.SwitchGone(ctx, switchURI, before)
	if err != nil {
		return 0, err
	}
	var ended struct {
		Ended int `json:"Ended"`
	}
	err = a.Decode(&ended)
	return ended.Ended, err
}

func (k *sink) Connected(is bool, why error) {
	if is {
		k.connected.Set(1)
		k.cfg.Log.Info("the source reaches its switch", "source", k.name)
		return
	}
	k.connected.Set(0)
	k.cfg.Log.Warn("the source does not reach its switch; it tries again", "source", k.name, "err", why)
}

func (k *sink) Heard() { k.heard.SetToCurrentTime() }

func (k *sink) Refused(reason, sample string) {
	k.refused.WithLabelValues(reason).Inc()
	k.cfg.Log.Warn("something that the switch told was not taken", "source", k.name, "err", reason, "sample", sample)
}

package amqp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/directory"
	"lamplight/cluster/status"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
	"lamplight/transport/source"
)

const (
	realm   = "acme.example.com"
	fs1     = "sip:10.0.0.1:5060"
	fs1URL  = "sip:mod_sofia@10.0.0.1:5060"
	another = "sip:10.0.0.2:5060"
)

// doc is a document of Kazoo's.
type doc map[string]any

// site is a zone of Kazoo's, with one of its nodes and one media server.
type site struct{ zone, node, server, uri string }

var (
	west = site{"west", "ecallmgr@kz1.example.com", "freeswitch@fs1.example.com", fs1}
	east = site{"east", "ecallmgr@kz2.example.com", "freeswitch@fs2.example.com", another}
)

// url is the Switch-URL of the channels of the site's media server.
func (s *site) url() string { return strings.Replace(s.uri, "sip:", "sip:mod_sofia@", 1) }

// fakeKazoo plays the parts of Kazoo that speak over AMQP: ecallmgr with its channels, voicemail, park, queues and Crossbar.
type fakeKazoo struct {
	t   testing.TB
	url string
	site

	mu       sync.Mutex
	conn     *amqp091.Connection
	ch       *amqp091.Channel
	channels map[string]doc // what runs, by UUID
	uuid     string         // the Instance-UUID of the media server
	startup  int64
	mute     bool  // the media server is silent
	got      []doc // what came to Crossbar's queue and, of the exchange presence, probes and queries
	queue    string
}

// newKazoo connects to a broker and answers as ecallmgr does until the test ends.
func newKazoo(t testing.TB, url string) *fakeKazoo { return newKazooAt(t, url, west) }

func newKazooAt(t testing.TB, url string, at site) *fakeKazoo {
	t.Helper()
	k := &fakeKazoo{t: t, url: url, site: at, channels: map[string]doc{}, uuid: "uuid-1", startup: time.Now().Unix() + 62167219200}
	k.connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			k.beat()
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; k.mu.Lock(); defer k.mu.Unlock(); _ = k.conn.Close() })
	return k
}

// connect connects, declares as Kazoo does and consumes what ecallmgr and Crossbar consume. The test fails when the broker is gone for a minute.
func (k *fakeKazoo) connect() {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := amqp091.Dial(k.url)
		if err == nil {
			err = k.declare(conn)
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			k.t.Errorf("Kazoo does not reach the broker: %v", err)
			return
		}
	}
}

func (k *fakeKazoo) declare(conn *amqp091.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := brokers.Declare(ch, exchanges...); err != nil {
		return err
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return err
	}
	for key, exchange := range map[string]string{q.Name: "targeted", "call.status_req.channels": "callevt", "probes.*": "presence", "mwi_queries.*": "presence", "": "nodes"} {
		if err := ch.QueueBind(q.Name, key, exchange, false, nil); err != nil {
			return err
		}
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.conn, k.ch, k.queue = conn, ch, q.Name
	k.mu.Unlock()
	go func() {
		for d := range deliveries {
			var in doc
			if json.Unmarshal(d.Body, &in) != nil {
				k.t.Errorf("no JSON came: %s", d.Body)
				continue
			}
			if in["Event-Name"] == "query_channels_req" {
				k.answer(in)
				continue
			}
			if in["App-Name"] == "ecallmgr" {
				continue
			}
			in["key"], in["exchange"] = d.RoutingKey, d.Exchange
			k.mu.Lock()
			k.got = append(k.got, in)
			k.mu.Unlock()
		}
	}()
	return nil
}

// answer answers as ecallmgr does.
func (k *fakeKazoo) answer(q doc) {
	k.mu.Lock()
	channels := doc{}
	for id, c := range k.channels {
		channels[id] = c
	}
	k.mu.Unlock()
	_ = k.try("targeted", fmt.Sprint(q["Server-ID"]), doc{"Event-Category": "call_event", "Event-Name": "query_channels_resp", "Msg-ID": q["Msg-ID"], "Channels": channels})
}

// beat publishes ecallmgr's heartbeat.
func (k *fakeKazoo) beat() {
	k.mu.Lock()
	servers := doc{}
	if !k.mute {
		servers[k.server] = doc{"Startup": k.startup, "Instance-UUID": k.uuid, "Interfaces": doc{"sipinterface_1": doc{"info": doc{"url": k.site.url()}}}}
	}
	k.mu.Unlock()
	_ = k.try("nodes", "", doc{"Event-Category": "nodes", "Event-Name": "advertise", "Expires": 500, "Zone": k.zone, "Media-Servers": servers})
}

// try publishes a document, with the fields that every document has.
func (k *fakeKazoo) try(exchange, key string, d doc) error {
	for name, value := range map[string]any{"App-Name": "ecallmgr", "App-Version": "4.3", "Msg-ID": fmt.Sprint(time.Now().UnixNano()), "Node": k.node, "Event-Category": "presence"} {
		if _, has := d[name]; !has {
			d[name] = value
		}
	}
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return k.raw(exchange, key, amqp091.Publishing{ContentType: "application/json", Body: body})
}

func (k *fakeKazoo) raw(exchange, key string, p amqp091.Publishing) error {
	k.mu.Lock()
	ch := k.ch
	k.mu.Unlock()
	return ch.PublishWithContext(context.Background(), exchange, key, false, false, p)
}

// publish publishes a document, on a new connection when the broker was restarted.
func (k *fakeKazoo) publish(exchange, key string, d doc) {
	for k.try(exchange, key, d) != nil {
		k.connect()
	}
}

// dialog publishes ecallmgr's dialog_update and keeps its channels up to date.
func (k *fakeKazoo) dialog(user, callID, direction, state string) {
	expires := 0
	k.mu.Lock()
	if state == "terminated" {
		expires = 20
		delete(k.channels, callID)
	} else {
		way := map[string]string{"initiator": "inbound", "recipient": "outbound"}[direction]
		k.channels[callID] = doc{"Call-ID": callID, "Call-Direction": way, "Answered": state == "confirmed", "Presence-ID": user + "@" + realm, "Realm": realm,
			"Caller-ID-Number": "2125550100", "Destination": "2125550100", "Switch-URL": k.site.url(), "Media-Node": k.server}
	}
	k.mu.Unlock()
	k.publish("presence", "dialog."+subject.Token(realm)+"."+subject.Token(callID), doc{"Event-Name": "dialog_update", "Presence-ID": user + "@" + realm,
		"From": "sip:" + user + "@" + realm, "To": "sip:2125550100@" + realm, "Call-ID": callID, "Direction": direction, "State": state, "Expires": expires,
		"Switch-URI": k.uri, "Event-Package": "dialog"})
}

// update publishes the update of a register.
func (k *fakeKazoo) update(user, state string) {
	k.publish("presence", "update."+subject.Token(realm)+".x", doc{"Event-Name": "update", "Presence-ID": user + "@" + realm, "State": state})
}

// park publishes the dialog_update of a parking slot, as the application park does.
func (k *fakeKazoo) park(slot, callID string) {
	k.publish("presence", "dialog."+subject.Token(realm)+"."+subject.Token(callID), doc{"App-Name": "park", "Event-Name": "dialog_update", "Presence-ID": slot + "@" + realm,
		"From": "sip:" + slot + "@" + realm, "To": "sip:1002@" + realm, "From-Tag": "A", "To-Tag": "B", "Call-ID": callID, "Direction": "recipient", "State": "early",
		"Expires": 3600, "Switch-URI": k.uri})
}

// mailbox publishes the mwi_update of a mailbox.
func (k *fakeKazoo) mailbox(user string, n int) {
	k.publish("presence", "mwi_updates."+subject.Token(realm)+"."+user, doc{"Event-Name": "mwi_update", "To": "sip:" + user + "@" + realm, "From": "sip:" + user + "@" + realm,
		"Messages-New": n, "Messages-Saved": 1, "Message-Account": "sip:" + user + "@" + realm})
}

// received returns what came to Kazoo with an Event-Name.
func (k *fakeKazoo) received(event string) (all []doc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.got {
		if d["Event-Name"] == event {
			all = append(all, d)
		}
	}
	return all
}

// lamplight is a node and a client of it.
type lamplight struct {
	t    testing.TB
	n    *node.Node
	cfg  node.Config
	url  string
	ask  *client.Client
	data string
}

// newLamplight starts a node whose NATS keeps its port over restarts.
func newLamplight(t testing.TB) *lamplight {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	l := &lamplight{t: t, data: t.TempDir()}
	l.cfg = nodetest.Config("a", l.data)
	l.cfg.Embedded.Listen = fmt.Sprintf("127.0.0.1:%d", port)
	l.url = "nats://" + l.cfg.Embedded.Listen
	l.start()
	if _, err := l.n.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": realm}}}); err != nil {
		t.Fatal(err)
	}
	conn, err := client.Connect(client.Options{URL: l.url}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	l.ask = client.New(client.Config{Conn: conn, App: "test", AppVersion: "1"})
	return l
}

func (l *lamplight) start() { l.n = nodetest.Start(l.t, l.cfg) }

// lamps returns the lamps that are lit.
func (l *lamplight) lamps() map[string]string {
	all := map[string]string{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = l.ask.Lamps(ctx, realm, client.Lit{}, func(a client.Answer) error {
		var part struct {
			Lamps map[string]struct{ State string }
		}
		if err := json.Unmarshal(a["Lamps"], &part.Lamps); err != nil {
			return err
		}
		for user, lamp := range part.Lamps {
			all[user] = lamp.State
		}
		return nil
	})
	return all
}

// up says whether a switch is up, for as long as a bridge may be down.
func (l *lamplight) up(uri string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all, _ := l.ask.Status(ctx)
	return slices.ContainsFunc(status.Sources(all), func(v status.SourceView) bool {
		left := time.Until(v.ExpiresAt)
		return v.SwitchURI == uri && !v.Silent && left > lease-time.Minute && left <= lease
	})
}

// shows waits until exactly these lamps are lit.
func (l *lamplight) shows(want map[string]string, within time.Duration) {
	l.t.Helper()
	var got map[string]string
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		got = l.lamps()
		if wrong := difference(want, got); wrong == "" {
			return
		} else if time.Now().After(end) {
			l.t.Fatalf("%d lamps are lit, %d should be: %s", len(got), len(want), wrong)
		}
	}
}

// difference names some lamps that differ.
func difference(want, got map[string]string) string {
	var wrong []string
	for user, state := range want {
		if got[user] != state {
			wrong = append(wrong, fmt.Sprintf("%s is %q instead of %q", user, got[user], state))
		}
	}
	for user, state := range got {
		if want[user] == "" {
			wrong = append(wrong, fmt.Sprintf("%s is %q instead of dark", user, state))
		}
	}
	if len(wrong) > 5 {
		wrong = append(wrong[:5], fmt.Sprintf("and %d more", len(wrong)-5))
	}
	return strings.Join(wrong, "; ")
}

// eventually waits until done returns true.
func eventually(t testing.TB, what string, within time.Duration, done func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// bridge is a bridge in the process of the test.
type bridge struct {
	registry *prometheus.Registry
	log      *lockedBuffer
	failed   chan error
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu  sync.Mutex
	all strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// short are times that a test can wait for.
var short = times{answer: 300 * time.Millisecond, grace: 500 * time.Millisecond, silent: time.Second, tick: 20 * time.Millisecond, advert: 200 * time.Millisecond, arrange: 200 * time.Millisecond, refused: 2 * time.Second}

// run starts a bridge that ends with the test.
func (l *lamplight) run(c Config) *bridge {
	l.t.Helper()
	b := &bridge{registry: prometheus.NewRegistry(), log: &lockedBuffer{}, failed: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := client.Connect(client.Options{URL: l.url}, "bridge")
	if err != nil {
		l.t.Fatal(err)
	}
	c.Conn, c.Version, c.Log = conn, "1", slog.New(slog.NewTextHandler(b.log, nil))
	if c.Resync == 0 {
		c.Resync = time.Second
	}
	s := New(c)
	s.times = short
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.failed <- source.Run(ctx, source.Config{Conn: conn, Version: "1", Log: c.Log, Registerer: b.registry}, s)
	}()
	l.t.Cleanup(func() {
		cancel()
		<-done
		conn.Close()
		if l.t.Failed() {
			l.t.Log(b.log.String())
		}
	})
	return b
}

// counted returns the sum of a metric over the values of its labels that contain a text.
func (b *bridge) counted(name, label string) (n float64) {
	all, _ := b.registry.Gather()
	for _, f := range all {
		for _, m := range f.Metric {
			if f.GetName() == name && strings.Contains(m.String(), label) {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// ready waits until the bridge consumes.
func (b *bridge) ready(t testing.TB) {
	t.Helper()
	eventually(t, "the bridge reaches its broker", 20*time.Second, func() bool { return b.counted("lamplight_source_connected", "") == 1 })
}

// bridgeProcess is a bridge that can be killed: the test's binary with LAMPLIGHT_TEST_BRIDGE. With LAMPLIGHT_TEST_COUNT it has a bridge's usual times, and
// logs when so many dialog_updates are durable.
func bridgeProcess(ctx context.Context, broker, nats, queue string) error {
	conn, err := client.Connect(client.Options{URL: nats}, "bridge")
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	b, c := &bridge{registry: prometheus.NewRegistry()}, Config{Brokers: []string{broker}, Queue: queue, Resync: time.Second, Conn: conn, Version: "1", Log: log}
	n, _ := strconv.Atoi(os.Getenv("LAMPLIGHT_TEST_COUNT"))
	if n > 0 {
		c.Resync = time.Hour
		go func() {
			for b.counted("lamplight_source_documents_total", "dialog_update") < float64(n) {
				time.Sleep(20 * time.Millisecond)
			}
			log.Info("all are durable")
		}()
	}
	s := New(c)
	if n == 0 {
		s.times = short
		s.times.refused = 20 * time.Second
	}
	return source.Run(ctx, source.Config{Conn: conn, Version: "1", Log: log, Registerer: b.registry}, s)
}

// process starts a bridge as a process.
func (l *lamplight) process(b *broker, queue string) *exec.Cmd {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	log := &lockedBuffer{}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LAMPLIGHT_TEST_BRIDGE="+b.url(), "LAMPLIGHT_TEST_NATS="+l.url, "LAMPLIGHT_TEST_QUEUE="+queue)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		if l.t.Failed() {
			l.t.Log(log.String())
		}
	})
	return cmd
}

package amqp

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
	"lamplight/transport/shadow/shadowtest"
)

// role plays Kazoo's presence role, a Kamailio: it keeps the state of extensions that are watched and forgets all else, tells it to its watchers
// and publishes what they answered, advertises the role and answers searches. It has the faults that a test gives it.
type role struct {
	t    testing.TB
	node string
	ch   *amqp091.Channel

	mu       sync.Mutex
	watchers map[string]map[string]*watching // by extension and watcher
	deaf     map[string]bool                 // extensions whose documents it loses
	failing  map[string]int                  // what a watcher answers instead of 200; it is then dropped
	mute     bool                            // it publishes no notify documents, as Kazoo does by default
	dumb     bool                            // it answers no searches
	cseq     int
}

// watching is a subscription of the role's.
type watching struct {
	body   string
	at     int64
	result int
}

// newRole starts a node with the presence role, which ends with the test.
func newRole(t testing.TB, url, node string) *role {
	t.Helper()
	conn, err := amqp091.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &role{t: t, node: node, watchers: map[string]map[string]*watching{}, deaf: map[string]bool{}, failing: map[string]int{}}
	if r.ch, err = conn.Channel(); err == nil {
		err = brokers.Declare(r.ch, "presence", "omnipresence", "targeted", "nodes")
	}
	if err != nil {
		t.Fatal(err)
	}
	q, err := r.ch.QueueDeclare("", false, true, true, false, nil)
	for _, key := range []string{"dialog.*.*", "presence.search_req.*"} {
		if err == nil {
			err = r.ch.QueueBind(q.Name, key, "presence", false, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := r.ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	go func() {
		beat := time.NewTicker(200 * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-ended:
				return
			case <-beat.C:
				r.publish("nodes", "", doc{"Event-Category": "nodes", "Event-Name": "advertise", "Expires": 1000, "Roles": doc{"Presence": doc{"Subscribers": doc{}}, "Proxy": doc{}}})
			case d, ok := <-deliveries:
				if !ok {
					return
				}
				var in doc
				if json.Unmarshal(d.Body, &in) == nil {
					r.take(in)
				}
			}
		}
	}()
	return r
}

func (r *role) publish(exchange, key string, d doc) {
	for name, value := range map[string]any{"App-Name": "kamailio", "App-Version": "5.6.3", "Msg-ID": fmt.Sprint(time.Now().UnixNano()), "Node": r.node, "Event-Category": "presence"} {
		if _, has := d[name]; !has {
			d[name] = value
		}
	}
	body, _ := json.Marshal(d)
	_ = r.ch.PublishWithContext(r.t.Context(), exchange, key, false, false, amqp091.Publishing{ContentType: "application/json", Body: body})
}

// take takes a document of a call or a search.
func (r *role) take(in doc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in["Event-Name"] == "search_req" {
		if r.dumb {
			return
		}
		for user, watchers := range r.watchers {
			for watcher, w := range watchers {
				r.publish("targeted", fmt.Sprint(in["Server-ID"]), doc{"Event-Name": "search_partial_resp", "Msg-ID": in["Msg-ID"], "Subscriptions": doc{user: doc{"dialog": doc{watcher: doc{r.node: doc{
					"call-" + watcher: doc{"time": w.at, "result": w.result, "sent": w.body, "received": fmt.Sprintf("SIP/2.0 %d", w.result), "user_agent": "test"}}}}}}})
			}
		}
		r.publish("targeted", fmt.Sprint(in["Server-ID"]), doc{"Event-Name": "search_resp", "Msg-ID": in["Msg-ID"], "Subscriptions": doc{}})
		return
	}
	user, of, _ := strings.Cut(fmt.Sprint(in["Presence-ID"]), "@")
	if of != realm || r.deaf[user] {
		return
	}
	for _, watcher := range slices.Sorted(maps.Keys(r.watchers[user])) {
		r.tell(user, watcher, fmt.Sprint(in["State"]), fmt.Sprint(in["Call-ID"]))
	}
}

// tell sends a NOTIFY to a watcher. The caller holds r.mu.
func (r *role) tell(user, watcher, state, callID string) {
	r.cseq++
	dialog := ""
	if callID != "" {
		dialog = fmt.Sprintf(`<dialog id="%s" call-id="%s" direction="recipient"><state>%s</state></dialog>`, callID, callID, state)
	}
	body := fmt.Sprintf("NOTIFY sip:%s@10.0.0.9 SIP/2.0\r\nCSeq: %d NOTIFY\r\nEvent: dialog\r\nContent-Type: application/dialog-info+xml\r\n\r\n<?xml version=\"1.0\"?>\n"+
		"<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"%d\" state=\"full\" entity=\"sip:%s@%s\">%s</dialog-info>", watcher, r.cseq, r.cseq, user, realm, dialog)
	at, code := time.Now().Unix(), 200
	if c := r.failing[watcher]; c != 0 {
		code = c
	}
	r.watchers[user][watcher] = &watching{body, at, code}
	if code != 200 {
		delete(r.watchers[user], watcher)
		if len(r.watchers[user]) == 0 {
			delete(r.watchers, user)
		}
	}
	if !r.mute {
		r.publish("omnipresence", "notify."+subject.Token(realm)+"."+user, doc{"Event-Name": "notify", "To": "sip:" + user + "@" + realm, "From": "sip:" + watcher + "@" + realm, "Call-ID": "call-" + watcher,
			"Event-Package": "dialog", "Timestamp": at, "Sent": at, "Reply": code, "Sequence": r.cseq, "Body": "Hostname : kam1\nTimestamp : 1\n" + body + "\nResponse : SIP/2.0 200 OK"})
	}
}

// watch makes a subscription, whose watcher is told that the extension is dark: the role knows of no call that it was not told of while it was watched.
func (r *role) watch(user string, watchers ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers[user] == nil {
		r.watchers[user] = map[string]*watching{}
	}
	for _, watcher := range watchers {
		r.tell(user, watcher, "terminated", "")
	}
}

func (r *role) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// Five faults of Kazoo's presence role, each named by the command, beside calls of which both sides tell the same. Two nodes have the role, and
// what comes over the broker also holds rubbish.
func TestShadowNamesFaults(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	r, other := newRole(t, b.url(), "kamailio@kam1"), newRole(t, b.url(), "kamailio@kam2")
	for _, user := range []string{"1001", "1002", "1004", "1005", "1006"} {
		r.watch(user, "2"+user[1:])
	}
	other.watch("1007", "2007", "2008")
	l.run(Config{Brokers: []string{b.url()}, Queue: "shadow-faults", Resync: time.Hour}).ready(t)
	for _, watcher := range []string{"2004", "2009"} { // 2009 is only at Lamplight
		err := l.ask.Ask(t.Context(), subject.Subscription(realm, "1004"), "subscription", client.Fields{"User": "1004@" + realm, "From": watcher + "@" + realm, "Call-ID": "l-" + watcher,
			"Server-ID": "edge1", "Expires": 3600, "Event-Package": "dialog"}, func(client.Answer) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	c := shadowtest.Start(t, built(t), "--realm", realm, "--nats", l.url, "--amqp", b.url())
	c.Await(6, "extensions", "agreed")
	c.Await(1, "listings", "running_system", "complete")
	c.Await(1, "subscriptions", "both")

	// Calls of which both tell the same are no difference; one side is later.
	for i := range 3 {
		for _, state := range []string{"early", "confirmed", "terminated"} {
			k.dialog("1007", fmt.Sprintf("same-%d", i), "recipient", state)
		}
	}
	// A lost hang-up.
	k.dialog("1001", "lost", "recipient", "confirmed")
	l.shows(map[string]string{"1001": "confirmed"}, 10*time.Second)
	eventually(t, "the role tells of the call", 10*time.Second, func() (lit bool) {
		r.set(func() { lit = strings.Contains(r.watchers["1001"]["2001"].body, "<state>confirmed") })
		return lit
	})
	r.set(func() { r.deaf["1001"] = true })
	k.dialog("1001", "lost", "recipient", "terminated")
	f := c.Names("1001", "lost hang-up", `became terminated at .*dialog_update.* told confirmed at .* nothing since; it was sent terminated of call lost`)
	if f.Lamplight.State != "terminated" || f.Running.State != "confirmed" || len(f.Events.Lamplight) < 2 || len(f.Events.Running) < 3 {
		t.Errorf("%+v", f)
	}
	// An early that comes after the end of its call.
	late := func() {
		k.publish("presence", "dialog."+subject.Token(realm)+".late", doc{"Event-Name": "dialog_update", "Presence-ID": "1002@" + realm, "From": "sip:1002@" + realm, "To": "sip:x@" + realm,
			"Call-ID": "late", "Direction": "recipient", "State": "early", "Switch-URI": fs1})
	}
	late()
	k.dialog("1002", "late", "recipient", "confirmed")
	k.dialog("1002", "late", "recipient", "terminated")
	late()
	c.Names("1002", "early after terminated", `was sent terminated at .* and then early of the same call late at`)
	// A call that begins while nobody watches.
	k.dialog("1003", "unwatched", "recipient", "confirmed")
	l.shows(map[string]string{"1003": "confirmed"}, 10*time.Second)
	c.Await(1, "extensions", "unwatched")
	if len(c.All("1003")) != 0 {
		t.Error("an extension that nobody watches is a difference")
	}
	c.Await(c.Sum("listings", "running_system", "complete")+2, "listings", "running_system", "complete")
	r.watch("1003", "2003")
	c.Names("1003", "event without watchers", `listed no watcher at .*, has one since`)
	// A subscription that is dropped after one 500.
	r.set(func() { r.failing["2004"] = 500 })
	k.dialog("1004", "failed", "recipient", "confirmed")
	f = c.Names("1004", "subscription dropped after one failure", `answered a NOTIFY with 500 at`)
	if f.Kind != "subscription" || f.Watcher != "2004" {
		t.Errorf("%+v", f)
	}
	k.dialog("1004", "failed", "recipient", "terminated")
	if c.Sum("subscriptions", "only_lamplight") < 1 { // 2009 has never been at Kazoo
		t.Errorf("a subscription that only Lamplight has is not counted")
	}
	// Rubbish is counted, and breaks nothing.
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"Event-Name":"notify","To":7}`))
	_ = z.Close()
	key := "notify." + subject.Token(realm) + ".1007"
	for _, p := range []amqp091.Publishing{{Body: []byte("{")}, {Body: []byte(`{"To":"1007","From":"2007","Body":"<dialog-info state=\"full\"><dialog>"}`)}, {Body: zipped.Bytes(), ContentEncoding: "gzip"},
		{Body: []byte("x"), ContentEncoding: "gzip"}, {Body: bytes.Repeat([]byte("x"), 100<<10)}} {
		if err := k.raw("omnipresence", key, p); err != nil {
			t.Fatal(err)
		}
	}
	c.Await(5, "unreadable")
	// A dead switch.
	k.dialog("1005", "dead-1", "recipient", "confirmed")
	k.dialog("1006", "dead-2", "recipient", "early")
	l.shows(map[string]string{"1003": "confirmed", "1005": "confirmed", "1006": "early"}, 10*time.Second)
	k.mu.Lock()
	k.mute = true
	clear(k.channels)
	k.mu.Unlock()
	counts := map[string]bool{}
	for _, user := range []string{"1005", "1006"} {
		f := c.Names(user, "dead switch", `took the switch `+fs1+` for gone at `)
		_, count, _ := strings.Cut(f.Because, "lit still at the running system: ")
		counts[count[:1]] = true
	}
	if !counts["1"] || !counts["2"] {
		t.Errorf("the lamps of the dead switch are counted as %v", counts)
	}

	if all := c.All(""); len(all) != 6 {
		t.Errorf("there are other differences than those of the faults: %+v", all)
	}
	if c.Sum("later", "lamplight", "changes")+c.Sum("later", "running_system", "changes") < 5 {
		t.Errorf("the summary does not say who was later")
	}
	answer, err := http.Get("http://" + c.HTTP() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	for _, want := range []string{`lamplight_shadow_differences_total{cause="lost hang-up"} 1`, `lamplight_shadow_connected{side="running_system"} 1`, `lamplight_shadow_extensions{result="unwatched"}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	c.Stop()
	if got := c.Sum("differences", "by_cause", "dead switch"); got != 2 {
		t.Errorf("the last summary has %v differences of a dead switch", got)
	}
}

// Kazoo's presence servers publish no notify documents by default: the command then knows their lamps from its listings alone. Lamplight's own
// bridge, which answers searches as well, is none of them. What a node does not list that has not answered is not taken for gone. A
// connection that is lost comes again.
func TestShadowWithoutNotifies(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	r, other := newRole(t, b.url(), "kamailio@kam1"), newRole(t, b.url(), "kamailio@kam2")
	for _, r := range []*role{r, other} {
		r.set(func() { r.mute = true })
	}
	r.watch("1001", "2001")
	other.watch("1002", "2002")
	l.run(Config{Brokers: []string{b.url()}, Queue: "shadow-listings", Serve: true, Resync: time.Hour}).ready(t)
	c := shadowtest.Start(t, built(t), "--realm", realm, "--nats", l.url, "--amqp", b.url())
	wrong := exec.Command(c.Binary(), "shadow", "--realm", realm, "--nats", l.url, "--http", "127.0.0.1:0", "--amqp", strings.Replace(b.url(), "guest:guest", "guest:wrong", 1))
	var refused bytes.Buffer
	wrong.Stderr = &refused
	if err := wrong.Start(); err != nil {
		t.Fatal(err)
	}
	c.Await(2, "extensions", "agreed")
	c.Await(1, "listings", "running_system", "complete")
	k.dialog("1001", "lost", "recipient", "confirmed")
	k.dialog("1002", "kept", "recipient", "confirmed")
	l.shows(map[string]string{"1001": "confirmed", "1002": "confirmed"}, 10*time.Second)
	eventually(t, "both roles tell of the calls", 10*time.Second, func() bool {
		lit := 0
		r.set(func() { lit += strings.Count(r.watchers["1001"]["2001"].body, "<state>confirmed") })
		other.set(func() { lit += strings.Count(other.watchers["1002"]["2002"].body, "<state>confirmed") })
		return lit == 2
	})
	c.Await(c.Sum("listings", "running_system", "complete")+2, "listings", "running_system", "complete")
	r.set(func() { r.deaf["1001"] = true })
	k.dialog("1001", "lost", "recipient", "terminated")
	c.Names("1001", "lost hang-up", "told confirmed at .* and nothing since; it was sent terminated of call lost")
	// The second node does not answer any more.
	other.set(func() { other.dumb = true })
	c.Await(1, "listings", "running_system", "incomplete")
	if got := c.Sum("extensions", "compared"); got != 2 {
		t.Errorf("%v extensions are compared; what is not listed is taken for gone", got)
	}
	other.set(func() { other.dumb = false })
	c.Await(c.Sum("listings", "running_system", "complete")+1, "listings", "running_system", "complete")
	// The broker closes the command's connection.
	for line := range strings.SplitSeq(b.ctl(t, "-q", "list_connections", "pid", "client_properties"), "\n") {
		if pid, _, _ := strings.Cut(line, "\t"); strings.Contains(line, "lamplight shadow") {
			b.ctl(t, "-q", "close_connection", pid, "by the test")
		}
	}
	eventually(t, "the connection comes again", 20*time.Second, func() bool { return strings.Count(c.Log(), "the running system is followed") == 2 })
	c.Await(c.Sum("listings", "running_system", "complete")+1, "listings", "running_system", "complete")
	c.Stop()
	if all := c.All(""); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	if err := wrong.Wait(); err == nil || !strings.Contains(refused.String(), "the user in --amqp needs the right password") || strings.Contains(refused.String(), "wrong@") {
		t.Errorf("%v: %s", err, refused.String())
	}
}

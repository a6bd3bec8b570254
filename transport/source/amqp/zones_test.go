package amqp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
)

// Two zones feed one Lamplight. One of their brokers is killed in the middle of calls and comes back; the other zone goes on meanwhile, and in the
// end every lamp is right. The media server of the broker that is gone keeps its calls, and that of the other one that falls silent loses them.
func TestZones(t *testing.T) {
	one, l := theBroker(t), newLamplight(t)
	two, err := newBroker()
	t.Cleanup(two.end)
	if err != nil {
		t.Fatal(err)
	}
	w, e := newKazooAt(t, one.url(), west), newKazooAt(t, two.url(), east)
	s := l.run(Config{Brokers: []string{one.url(), two.url()}, Queue: "zones"})
	s.ready(t)
	want := map[string]string{}
	call := func(k *fakeKazoo, user, state string) {
		k.dialog(user, "z-"+user, "recipient", state)
		if want[user] = state; state == "terminated" {
			delete(want, user)
		}
	}
	for i := range 50 {
		call(w, fmt.Sprint(1000+i), "early")
		call(e, fmt.Sprint(2000+i), "early")
	}
	l.shows(want, 20*time.Second)
	eventually(t, "both media servers are known", 10*time.Second, func() bool { return strings.Count(s.log.String(), "a media server is new") == 2 })
	two.kill()
	eventually(t, "the loss is noticed", 20*time.Second, func() bool { return s.counted("lamplight_source_connected", "") == 0 })
	for i := range 50 { // the west goes on
		call(w, fmt.Sprint(1000+i), []string{"confirmed", "terminated"}[i%2])
	}
	call(w, "1100", "early")
	l.shows(want, 20*time.Second)
	if err := two.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bridge consumes in both zones", 30*time.Second, func() bool { return s.counted("lamplight_source_connected", "") == 1 })
	for i := range 50 {
		call(e, fmt.Sprint(2000+i), []string{"terminated", "confirmed"}[i%2])
	}
	call(e, "2100", "early")
	l.shows(want, 20*time.Second)
	if strings.Contains(s.log.String(), "names a media server any more") {
		t.Error("a media server was taken for silent whose broker was gone")
	}

	two.kill() // from here on, the silence of the west counts although the other broker is gone
	w.mu.Lock()
	w.mute, w.channels = true, map[string]doc{}
	w.mu.Unlock()
	for user := range want {
		if user < "2000" {
			delete(want, user)
		}
	}
	l.shows(want, 30*time.Second)
	if err := two.start(); err != nil {
		t.Fatal(err)
	}
	e.connect()
	l.shows(want, 20*time.Second)
}

// declareAs makes an exchange with other flags than Kazoo's in the place of Kazoo's.
func declareAs(t *testing.T, b *broker, name string, durable bool) {
	t.Helper()
	conn, err := amqp091.Dial(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDelete(name, false, false)
	}
	if err == nil {
		err = ch.ExchangeDeclare(name, brokers.Kind(name), durable, false, false, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An exchange with other flags than Kazoo's is used as it is; the bridge says which one, what differs and what to do. It notices when that was
// mended, and binds its queues anew to an exchange that somebody has deleted and Kazoo has made again.
func TestExchangeDiffers(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	declareAs(t, b, "nodes", true)
	t.Cleanup(func() { declareAs(t, b, "nodes", false) })
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "flags"})
	eventually(t, "the bridge says what differs", 20*time.Second, func() bool {
		out := s.log.String()
		return strings.Contains(out, "the exchange nodes differs from Kazoo's, which is of the type fanout, not durable") && strings.Contains(out, "delete it") &&
			strings.Contains(out, "inequivalent arg 'durable'")
	})
	if s.counted("lamplight_source_connected", "") != 0 {
		t.Error("the source counts as connected")
	}
	conn, err := amqp091.Dial(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	publish := func(user string) {
		t.Helper()
		body := fmt.Sprintf(`{"Event-Category":"presence","Event-Name":"update","Presence-ID":"%s@%s","State":"early"}`, user, realm)
		if err := ch.PublishWithContext(context.Background(), "presence", "update.x.y", false, false, amqp091.Publishing{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	publish("*3101") // which comes over another exchange
	l.shows(map[string]string{"*3101": "early"}, 10*time.Second)
	nodes := `{"Event-Category":"nodes","Event-Name":"advertise","Expires":60000,"Node":"ecallmgr@kz1","Media-Servers":{"freeswitch@fs1":{"Startup":1,"Interfaces":{"a":{"URL":"sip:10.0.0.1:5060"}}}}}`
	eventually(t, "the exchange is used as it is", 10*time.Second, func() bool {
		_ = ch.PublishWithContext(context.Background(), "nodes", "", false, false, amqp091.Publishing{Body: []byte(nodes)})
		return strings.Contains(s.log.String(), "a media server is new")
	})
	declareAs(t, b, "nodes", false)
	s.ready(t)

	declareAs(t, b, "presence", false) // as after a deletion by hand: all bindings are gone
	eventually(t, "the queue is bound again", 10*time.Second, func() bool {
		return strings.Contains(b.ctl(t, "-q", "list_bindings", "source_name", "destination_name"), "presence\tflags")
	})
	publish("*3102")
	l.shows(map[string]string{"*3101": "early", "*3102": "early"}, 10*time.Second)
}

// A user who may not use one exchange hears what comes over the others, and the bridge says what is missing. A user who may not make exchanges, and
// finds them made, is enough.
func TestPermissions(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	b.ctl(t, "-q", "add_user", "narrow", "secret")
	t.Cleanup(func() { b.ctl(t, "-q", "delete_user", "narrow") })
	own := `^(narrow.*|amq\.gen.*)$`
	some := `^(presence|targeted|callevt|registrar|omnipresence|narrow.*|amq\.gen.*)$`
	b.ctl(t, "-q", "set_permissions", "narrow", own, own, some)
	s := l.run(Config{Brokers: []string{strings.Replace(b.url(), "guest:guest", "narrow:secret", 1)}, Queue: "narrow"})
	eventually(t, "the bridge says what is missing", 20*time.Second, func() bool {
		return strings.Contains(s.log.String(), "does not let the bridge use the exchange nodes")
	})
	if out := s.log.String(); strings.Contains(out, "use the exchange presence") || strings.Contains(out, "secret") {
		t.Errorf("the log says more: %s", out)
	}
	k.dialog("1001", "p-1", "recipient", "early")
	l.shows(map[string]string{"1001": "early"}, 10*time.Second)
	b.ctl(t, "-q", "set_permissions", "narrow", own, own, ".*")
	s.ready(t)
	eventually(t, "heartbeats come", 10*time.Second, func() bool { return strings.Contains(s.log.String(), "a media server is new") })
	eventually(t, "the broker refuses questions", 20*time.Second, func() bool {
		return strings.Count(s.log.String(), "access to exchange 'callevt'") >= 3 // each time that Kazoo is asked which calls run
	})
	k.dialog("1001", "p-1", "recipient", "confirmed")
	l.shows(map[string]string{"1001": "confirmed"}, 10*time.Second)
	if n := strings.Count(s.log.String(), "a media server is new"); n != 1 || s.counted("lamplight_source_connected", "") != 1 {
		t.Errorf("the connection did not last: %s", s.log)
	}
	b.ctl(t, "-q", "set_permissions", "narrow", own, ".*", ".*")
	eventually(t, "Kazoo answers", 10*time.Second, func() bool { return strings.Contains(s.log.String(), "Kazoo said which calls run") })
}

// A broker that closes the channel because messages were not acknowledged in its time, which RabbitMQ says with the code of a queue that differs,
// does not end the bridge: it comes again, and what waited is told.
func TestConsumerTimeout(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	set := func(timeout, tick int) {
		b.ctl(t, "-q", "eval", fmt.Sprintf("application:set_env(rabbit, consumer_timeout, %d), application:set_env(rabbit, channel_tick_interval, %d).", timeout, tick))
	}
	set(500, 200)
	t.Cleanup(func() { set(1800000, 60000) })
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "slow"})
	s.ready(t)
	if err := l.n.Stop(context.Background()); err != nil { // nothing is acknowledged from here on
		t.Fatal(err)
	}
	k.dialog("1001", "t-1", "recipient", "early")
	eventually(t, "the broker closes the channel", 30*time.Second, func() bool { return strings.Contains(s.log.String(), "delivery acknowledgement") })
	set(1800000, 60000)
	l.start()
	l.shows(map[string]string{"1001": "early"}, 40*time.Second)
	select {
	case err := <-s.failed:
		t.Errorf("the bridge has ended: %v", err)
	default:
	}
}

// The forms of a reset of the realm *: all calls of a zone, of a host, of a media server or of a switch end, and no others.
func TestResetOfSwitches(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	w, e := newKazooAt(t, b.url(), west), newKazooAt(t, b.url(), east)
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "resets", Resync: time.Hour})
	s.ready(t)
	eventually(t, "both media servers are known", 10*time.Second, func() bool { return strings.Count(s.log.String(), "a media server is new") == 2 })
	eventually(t, "both switches are up", 10*time.Second, func() bool { return l.up(fs1) && l.up(another) })
	for i, name := range []string{"east", "kz2.example.com", "fs2.example.com", "freeswitch@fs2.example.com", "ecallmgr@kz2.example.com", another, "sip:mod_sofia@10.0.0.2:5060", "*"} {
		both := map[string]string{"1001": "early", "1002": "early"}
		w.dialog("1001", fmt.Sprint("w-", i), "recipient", "early")
		e.dialog("1002", fmt.Sprint("e-", i), "recipient", "early")
		l.shows(both, 10*time.Second)
		w.publish("presence", "presence.reset.*."+subject.Token(name), doc{"Event-Name": "reset", "Realm": "*", "Username": name})
		if name == "*" {
			delete(both, "1001")
		}
		delete(both, "1002")
		l.shows(both, 10*time.Second)
		w.dialog("1001", fmt.Sprint("w-", i), "recipient", "terminated")
		e.dialog("1002", fmt.Sprint("e-", i), "recipient", "terminated")
		l.shows(map[string]string{}, 10*time.Second)
	}
	w.publish("presence", "presence.reset.*.nowhere", doc{"Event-Name": "reset", "Realm": "*", "Username": "nowhere"})
	eventually(t, "a name that is none is counted", 5*time.Second, func() bool { return s.counted("lamplight_source_refused_total", reasonReset) == 1 })
}

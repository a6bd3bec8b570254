package amqp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
)

// What ecallmgr, voicemail, park, queues and Crossbar publish lights the lamps that it should; what is wrong is counted and taken from the queue.
func TestShadow(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "shadow"})
	s.ready(t)
	k.dialog("1001", "c-1", "recipient", "early")
	k.dialog("1002", "c-2", "initiator", "confirmed")
	k.update("*3101", "confirmed")
	k.mailbox("1003", 2)
	k.park("*4101", "c-2")
	l.shows(map[string]string{"1001": "early", "1002": "confirmed", "*3101": "confirmed", "*981003": "confirmed", "*4101": "early"}, 10*time.Second)

	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = fmt.Fprintf(w, `{"Event-Category":"presence","Event-Name":"update","Presence-ID":"*3102@%s","State":"early"}`, realm)
	_ = w.Close()
	_ = k.raw("presence", "update.x.y", amqp091.Publishing{ContentEncoding: "gzip", Body: zipped.Bytes()})
	_ = k.raw("presence", "update.x.y", amqp091.Publishing{ContentEncoding: "gzip", Body: []byte("no gzip")})
	_ = k.raw("presence", "update.x.y", amqp091.Publishing{Body: []byte("{")})
	_ = k.raw("presence", "update.x.y", amqp091.Publishing{ContentEncoding: "gzip", Body: bomb()})
	k.publish("presence", "update.x.y", doc{"Event-Name": "update", "Presence-ID": "1@nowhere.example.com", "State": "early"})
	k.publish("presence", "update.x.y", doc{"Event-Name": "update", "Presence-ID": "1004@" + realm, "State": "early", "App-Name": "lamplight"})
	k.publish("presence", "dialog.x."+strings.Repeat("y", 200), doc{"Event-Name": "dialog_update", "From": "1005@" + realm, "To": "1@" + realm, "Call-ID": strings.Repeat("%", 3000), "State": "early"})
	k.dialog("1001", "c-1", "recipient", "terminated")
	k.mailbox("1003", 0)
	k.publish("presence", "presence.reset."+subject.Token(realm)+".%2A3101", doc{"Event-Name": "reset", "Realm": realm, "Username": "*3101"})
	l.shows(map[string]string{"1002": "confirmed", "*4101": "early", "*3102": "early"}, 10*time.Second)
	for reason, n := range map[string]float64{reasonUnreadable: 2, reasonWrong: 2, reasonLoop: 1, "404": 1} {
		eventually(t, reason+" is counted", 5*time.Second, func() bool { return s.counted("lamplight_source_refused_total", reason) == n })
	}
	eventually(t, "the queue is empty", 10*time.Second, func() bool { return depth(t, b, "shadow") == 0 })
	if out := s.log.String(); !strings.Contains(out, "nowhere.example.com") {
		t.Errorf("the log has no sample of a document of an unknown realm: %s", out)
	}
}

// bomb is a megabyte that is small when it is compressed.
func bomb() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	return b.Bytes()
}

// depth returns how many messages of a queue are ready or not acknowledged.
func depth(t testing.TB, b *broker, queue string) int {
	t.Helper()
	for line := range strings.SplitSeq(b.ctl(t, "-q", "list_queues", "name", "messages"), "\n") {
		var name string
		var n int
		if c, _ := fmt.Sscan(line, &name, &n); c == 2 && name == queue {
			return n
		}
	}
	t.Fatalf("there is no queue %s", queue)
	return 0
}

// A broker that refuses for good ends the bridge, which says what differs.
func TestRefusedByBroker(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	conn, err := amqp091.Dial(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDeclare("differs", false, false, false, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ url, queue, want string }{
		{strings.Replace(b.url(), "guest:guest", "guest:wrong", 1), "refused", "password"},
		{b.url() + "nowhere", "refused", "virtual host"},
		{b.url(), "differs", "durable"},
	} {
		s := l.run(Config{Brokers: []string{c.url}, Queue: c.queue})
		select {
		case err := <-s.failed:
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "guest") {
				t.Errorf("%s: %v", c.want, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the bridge does not end", c.want)
		}
	}
	if _, err := ch.QueueDelete("differs", false, false, false); err != nil {
		t.Error(err)
	}
}

// A bridge whose connection the broker closes, and one whose queue somebody deletes, comes again.
func TestClosedByBroker(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "closed"})
	s.ready(t)
	consumed := func() int { return strings.Count(s.log.String(), "the bridge consumes") }
	b.ctl(t, "-q", "delete_queue", "closed")
	eventually(t, "the bridge declares its queue again", 10*time.Second, func() bool { return consumed() == 2 })
	b.ctl(t, "-q", "close_all_connections", "by the test")
	k.connect()
	eventually(t, "the bridge connects again", 10*time.Second, func() bool { return consumed() == 3 })
	k.dialog("1001", "c-1", "recipient", "early")
	l.shows(map[string]string{"1001": "early"}, 10*time.Second)
}

// Whatever happens on the way, every lamp is right in the end: the bridge is killed, RabbitMQ is restarted and Lamplight is gone for a while, in the
// middle of 10,000 events.
func TestEverythingFails(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	cmd := l.process(b, "fails")
	eventually(t, "the bridge has its queue", 20*time.Second, func() bool { return strings.Contains(b.ctl(t, "-q", "list_queues", "name"), "fails") })
	const extensions, events = 300, 10000
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	calls := map[string]string{}
	number := 0
	set := func(user, state string) {
		if state == "terminated" {
			delete(want, user)
		} else {
			want[user] = state
		}
	}
	register := func(user string) {
		state := []string{"confirmed", "terminated", "early"}[random.IntN(3)]
		set(user, state)
		k.update(user, state)
	}
	mailbox := func(user string) {
		n := random.IntN(2)
		set("*98"+user, []string{"terminated", "confirmed"}[n])
		k.mailbox(user, n)
	}
	wait := make(chan struct{})
	back := func(what func()) {
		<-wait
		wait = make(chan struct{})
		go func(done chan struct{}) { what(); close(done) }(wait)
	}
	close(wait)
	for i := range events {
		switch i {
		case 2500:
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		case 3500:
			l.process(b, "fails")
		case 5000:
			b.stop()
			back(func() {
				if err := b.start(); err != nil {
					t.Error(err)
				}
			})
		case 5200: // what came before the bridge had bound its queue again, RabbitMQ has thrown away
			<-wait
			eventually(t, "the bridge consumes again", 30*time.Second, func() bool {
				return strings.Contains(b.ctl(t, "-q", "list_queues", "name", "consumers"), "fails\t1")
			})
		case 7500:
			if err := l.n.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		case 8500:
			l.start()
		}
		user := fmt.Sprint(1000 + random.IntN(extensions))
		switch random.IntN(10) {
		case 0:
			register("*31" + user)
		case 1:
			mailbox(user)
		default: // the next state of the extension's call
			switch want[user] {
			case "":
				number++
				calls[user] = fmt.Sprintf("call-%d@10.0.0.1", number)
				set(user, "early")
			case "early":
				set(user, "confirmed")
			default:
				set(user, "terminated")
			}
			state := want[user]
			if state == "" {
				state = "terminated"
			}
			k.dialog(user, calls[user], "recipient", state)
		}
	}
	for i := range extensions { // what RabbitMQ itself has lost when it was restarted, Kazoo tells again: it can't be asked for
		register(fmt.Sprint("*31", 1000+i))
		mailbox(fmt.Sprint(1000 + i))
	}
	l.shows(want, 45*time.Second)
}

// What an answer lists is told, and what two answers in a row do not list ends. A media server that was started again, and one that is silent,
// loses its calls.
func TestResync(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	k.dialog("1001", "r-1", "recipient", "confirmed") // before there is a bridge
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "resync"})
	s.ready(t)
	l.shows(map[string]string{"1001": "confirmed"}, 10*time.Second)
	k.dialog("1002", "r-2", "initiator", "confirmed")
	k.publish("presence", "dialog.x.y", doc{"Event-Name": "dialog_update", "From": "1003@" + realm, "To": "1@" + realm, "Call-ID": "r-3", "State": "confirmed", "Switch-URI": another})
	l.shows(map[string]string{"1001": "confirmed", "1002": "confirmed", "1003": "confirmed"}, 10*time.Second)
	k.mu.Lock()
	delete(k.channels, "r-2") // its end got lost
	k.mu.Unlock()
	l.shows(map[string]string{"1001": "confirmed", "1003": "confirmed"}, 10*time.Second)

	k.dialog("1004", "r-4", "recipient", "early")
	l.shows(map[string]string{"1001": "confirmed", "1003": "confirmed", "1004": "early"}, 10*time.Second)
	k.mu.Lock()
	k.uuid, k.channels = "uuid-2", map[string]doc{"r-1": k.channels["r-1"]} // 1001's call is one of the new instance
	k.mu.Unlock()
	eventually(t, "the restart is seen", 10*time.Second, func() bool { return strings.Count(s.log.String(), "was started again") == 2 })
	l.shows(map[string]string{"1001": "confirmed", "1003": "confirmed"}, 10*time.Second)

	k.mu.Lock()
	k.mute, k.channels = true, map[string]doc{}
	k.mu.Unlock()
	eventually(t, "the silence is seen", 20*time.Second, func() bool { return strings.Contains(s.log.String(), "names a media server any more") })
	l.shows(map[string]string{"1003": "confirmed"}, 10*time.Second)
	k.publish("presence", "presence.reset.*.x", doc{"Event-Name": "reset", "Realm": "*", "Username": another})
	l.shows(map[string]string{}, 10*time.Second)
}

// A bridge that was started anew ends calls of before whose end got lost, and leaves parking slots lit whose calls run.
func TestResyncAfterStart(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	first := l.process(b, "after")
	eventually(t, "the bridge has its queue", 20*time.Second, func() bool { return strings.Contains(b.ctl(t, "-q", "list_queues", "name"), "after") })
	k.dialog("1001", "a-1", "recipient", "confirmed")
	k.dialog("1002", "a-2", "initiator", "confirmed")
	k.park("*4101", "a-2")
	l.shows(map[string]string{"1001": "confirmed", "1002": "confirmed", "*4101": "early"}, 10*time.Second)
	_ = first.Process.Kill()
	_ = first.Wait()
	k.mu.Lock()
	delete(k.channels, "a-1")
	k.mu.Unlock()
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "after"})
	eventually(t, "older calls are compared", 20*time.Second, func() bool { return strings.Contains(s.log.String(), "calls from before the bridge was started ended") })
	l.shows(map[string]string{"1002": "confirmed", "*4101": "early"}, 10*time.Second)
}

// jsonOf shows a document in an error.
func jsonOf(d any) string { b, _ := json.Marshal(d); return string(b) }

package amqp

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
)

// cpu returns the processor time that a process and its threads have used.
func cpu(pid int) time.Duration {
	var ticks [2]int64
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		var skip string
		_, _ = fmt.Sscan(string(text), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &ticks[0], &ticks[1])
	}
	return time.Duration(ticks[0]+ticks[1]) * 10 * time.Millisecond
}

// fill publishes dialog_update documents of calls that begin and end, each of one of 1,000 extensions, until a queue has them all.
func fill(b *testing.B, k *fakeKazoo, rabbit *broker, queue string, n int) {
	b.Helper()
	run := uuid.NewString() // calls that have ended before would cost less
	for i := range n {
		user, state := fmt.Sprint(1000+i/2%1000), []string{"early", "terminated"}[i%2]
		body, _ := json.Marshal(doc{"App-Name": "ecallmgr", "App-Version": "4.3", "Msg-ID": fmt.Sprint(i), "Event-Category": "presence", "Event-Name": "dialog_update",
			"Presence-ID": user + "@" + realm, "From": "sip:" + user + "@" + realm, "To": "sip:2125550100@" + realm, "Call-ID": fmt.Sprintf("%s-%d", run, i/2),
			"Direction": "recipient", "State": state, "Switch-URI": fs1, "Event-Package": "dialog"})
		if err := k.raw("presence", "dialog."+subject.Token(realm)+".x", amqp091.Publishing{ContentType: "application/json", Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "the queue has all", time.Minute, func() bool { return depth(b, rabbit, queue) == n })
}

// BenchmarkBridge measures how many events a second go from a full queue of RabbitMQ through the bridge until they are durable
// (-bench Bridge/bridge), beside a consumer that only acknowledges (-bench Bridge/bare), and how much processor time each part takes. The bridge is a
// process of its own; the node with its NATS, and the bare consumer, are in that of the test.
func BenchmarkBridge(b *testing.B) {
	const n = 20000
	rabbit, l := theBroker(b), newLamplight(b)
	k := newKazoo(b, rabbit.url())
	conn, err := amqp091.Dial(rabbit.url())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	measure := func(b *testing.B, parts map[string]int) (report func()) {
		begun, before := time.Now(), map[string]time.Duration{}
		for part, pid := range parts {
			before[part] = cpu(pid)
		}
		return func() {
			b.ReportMetric(n/time.Since(begun).Seconds(), "events/s")
			for part, pid := range parts {
				b.ReportMetric(float64((cpu(pid)-before[part]).Microseconds())/n, "us-"+part+"/event")
			}
			b.ReportMetric(0, "ns/op")
		}
	}
	prepare := func(b *testing.B, queue string) *amqp091.Channel {
		ch, err := conn.Channel()
		if err != nil {
			b.Fatal(err)
		}
		z := &zone{source: &Source{cfg: Config{Queue: queue}}}
		err = z.declare(ch)
		if err == nil {
			err = ch.QueueBind(queue, "dialog.*.*", "presence", false, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		fill(b, k, rabbit, queue, n)
		return ch
	}
	b.Run("bare", func(b *testing.B) {
		for range b.N {
			ch := prepare(b, "bare")
			if err := ch.Qos(prefetch, 0, false); err != nil {
				b.Fatal(err)
			}
			report := measure(b, map[string]int{"rabbitmq": rabbitPid(rabbit), "consumer": os.Getpid()})
			news, err := ch.Consume("bare", "", false, false, false, false, nil)
			if err != nil {
				b.Fatal(err)
			}
			for range n {
				d := <-news
				if err := d.Ack(false); err != nil {
					b.Fatal(err)
				}
			}
			report()
			_, _ = ch.QueueDelete("bare", false, false, false)
			_ = ch.Close()
		}
	})
	b.Run("bridge", func(b *testing.B) {
		for range b.N {
			ch := prepare(b, "bridge")
			b.Setenv("LAMPLIGHT_TEST_COUNT", fmt.Sprint(n))
			cmd := l.process(rabbit, "bridge")
			log := cmd.Stdout.(*lockedBuffer)
			eventually(b, "the bridge consumes", time.Minute, func() bool { return strings.Contains(log.String(), "the bridge consumes") })
			report := measure(b, map[string]int{"rabbitmq": rabbitPid(rabbit), "bridge": cmd.Process.Pid, "node": os.Getpid()})
			eventually(b, "all is durable", 2*time.Minute, func() bool { return strings.Contains(log.String(), "all are durable") })
			report()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_, _ = ch.QueueDelete("bridge", false, false, false)
			_ = ch.Close()
		}
	})
}

// rabbitPid is the process of RabbitMQ.
func rabbitPid(b *broker) int {
	var pid int
	if text, err := os.ReadFile(b.dir + "/pid"); err == nil {
		_, _ = fmt.Sscan(string(text), &pid)
	}
	return pid
}

// BenchmarkSearch measures how long Crossbar waits for the summary of a realm with 1,000 extensions that are watched, and for the detail.
func BenchmarkSearch(b *testing.B) {
	rabbit, l := theBroker(b), newLamplight(b)
	k := newKazoo(b, rabbit.url())
	s := l.run(Config{Brokers: []string{rabbit.url()}, Queue: "searched", Serve: true})
	eventually(b, "the bridge reaches its broker", 20*time.Second, func() bool { return s.counted("lamplight_source_connected", "") == 1 })
	for i := range 1000 {
		l.subscribe(fmt.Sprint(1000+i), "dialog", fmt.Sprint("b-", i), "2001")
	}
	for _, kind := range []string{"summary", "detail"} {
		b.Run(kind, func(b *testing.B) {
			for range b.N {
				parts, resp := k.search(doc{"Search-Type": kind})
				users := 0
				for _, part := range append(parts, resp) {
					users += len(part["Subscriptions"].(map[string]any))
				}
				if users != 1000 {
					b.Fatalf("%d extensions", users)
				}
			}
		})
	}
}

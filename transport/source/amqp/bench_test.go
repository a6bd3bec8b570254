package amqp

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
)

// cpu returns the processor time that this process, and another one with its threads, have used. pid 0: only this one.
func cpu(pid int) (own, other time.Duration) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	var ticks [2]int64
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		var skip string
		_, _ = fmt.Sscan(string(text), &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &ticks[0], &ticks[1])
	}
	return own, time.Duration(ticks[0]+ticks[1]) * 10 * time.Millisecond
}

// fill publishes dialog_update documents of calls that begin and end, each of one of 1,000 extensions, until a queue has them all.
func fill(b *testing.B, k *fakeKazoo, rabbit *broker, queue string, n int) {
	b.Helper()
	for i := range n {
		user, state := fmt.Sprint(1000+i/2%1000), []string{"early", "terminated"}[i%2]
		body, _ := json.Marshal(doc{"App-Name": "ecallmgr", "App-Version": "4.3", "Msg-ID": fmt.Sprint(i), "Event-Category": "presence", "Event-Name": "dialog_update",
			"Presence-ID": user + "@" + realm, "From": "sip:" + user + "@" + realm, "To": "sip:2125550100@" + realm, "Call-ID": fmt.Sprintf("%s-%d", queue, i/2),
			"Direction": "recipient", "State": state, "Switch-URI": fs1, "Event-Package": "dialog"})
		if err := k.raw("presence", "dialog."+subject.Token(realm)+".x", amqp091.Publishing{ContentType: "application/json", Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "the queue has all", time.Minute, func() bool { return depth(b, rabbit, queue) == n })
}

// BenchmarkBridge measures how many events a second go from a full queue of RabbitMQ through the bridge until they are durable and acknowledged
// (-bench Bridge/bridge), beside a consumer that only acknowledges (-bench Bridge/bare). The bridge, the node and NATS are one process.
func BenchmarkBridge(b *testing.B) {
	const n = 20000
	rabbit, l := theBroker(b), newLamplight(b)
	k := newKazoo(b, rabbit.url())
	conn, err := amqp091.Dial(rabbit.url())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	report := func(b *testing.B, begun time.Time, own, other time.Duration) {
		took := time.Since(begun)
		own2, other2 := cpu(rabbitPid(rabbit))
		b.ReportMetric(n/took.Seconds(), "events/s")
		b.ReportMetric(float64((own2-own).Microseconds())/n, "us-own-cpu/event")
		b.ReportMetric(float64((other2-other).Microseconds())/n, "us-rabbitmq-cpu/event")
		b.ReportMetric(0, "ns/op")
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
			own, other := cpu(rabbitPid(rabbit))
			begun := time.Now()
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
			report(b, begun, own, other)
			_, _ = ch.QueueDelete("bare", false, false, false)
		}
	})
	b.Run("bridge", func(b *testing.B) {
		for range b.N {
			ch := prepare(b, "bridge")
			own, other := cpu(rabbitPid(rabbit))
			begun := time.Now()
			s := l.run(Config{Brokers: []string{rabbit.url()}, Queue: "bridge", Resync: time.Hour})
			eventually(b, "all is durable", 2*time.Minute, func() bool { return s.counted("lamplight_source_documents_total", "dialog_update") >= n })
			report(b, begun, own, other)
			_ = ch
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

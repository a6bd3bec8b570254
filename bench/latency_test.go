package bench_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// BenchmarkTold measures, on an idle system, the time from a change until the last of 1000 watchers behind four edges has its
// NOTIFY. The floor is what no design can do without: one durable record in JetStream, and then one publish of an edge's
// message to its subscriber.
func BenchmarkTold(b *testing.B) {
	n := start(b, b.TempDir())
	to := n.watched(b, 1000)
	client := connect(b, n)
	heard := make(chan int, 1024)
	if _, err := client.Subscribe("lamplight.notify.*", func(m *nats.Msg) { heard <- len(m.Data) }); err != nil {
		b.Fatal(err)
	}
	_ = client.Flush()
	size, changes := 0, 0 // changes counts over all tries of the benchmark, so that each one really changes the state
	var ours time.Duration
	b.Run("lamplight", func(b *testing.B) {
		states := []presence.State{presence.Early, presence.Confirmed}
		for range b.N {
			changes++
			n.Router().Go(actors.Request{To: to, Message: presence.SetManual{State: states[changes%2]}}, func(a actors.Answer) {
				if a.Err != nil {
					b.Error(a.Err)
				}
			})
			for range 4 {
				size = <-heard
			}
		}
		ours = b.Elapsed() / time.Duration(b.N)
	})
	b.Run("floor=commit+publish", func(b *testing.B) {
		js, err := jetstream.New(n.Conn())
		if err != nil {
			b.Fatal(err)
		}
		_, err = js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: "TOLD", Subjects: []string{"told.>"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage})
		if err != nil {
			b.Fatal(err)
		}
		claim, err := js.Publish(context.Background(), "told.claim", []byte("x"))
		if err != nil {
			b.Fatal(err)
		}
		record, message := make([]byte, 120), make([]byte, size)
		b.ResetTimer()
		for i := range b.N {
			m := &nats.Msg{Subject: fmt.Sprint("told.", i%2), Data: record, Header: nats.Header{
				"Nats-Expected-Last-Subject-Sequence": []string{strconv.FormatUint(claim.Sequence, 10)}, "Nats-Expected-Last-Subject-Sequence-Subject": []string{"told.claim"}}}
			if _, err := js.PublishMsg(context.Background(), m); err != nil {
				b.Fatal(err)
			}
			_ = n.Conn().Publish("lamplight.notify.floor", message)
			<-heard
		}
		b.ReportMetric(float64(ours)/float64(b.Elapsed()/time.Duration(b.N)), "times-the-floor")
	})
}

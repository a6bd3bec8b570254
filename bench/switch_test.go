package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// TestSwitch measures how long the end of all calls of one switch takes until the last watcher has been told, and how long refreshes take
// meanwhile, and the heap that a call takes. Every extension has a call on that switch and a watcher.
func TestSwitch(t *testing.T) {
	onlyToMeasure(t)
	count := extensions()
	n := start(t, t.TempDir())
	n.subscribe(t, count, "c")
	without := heap()
	var calls sync.WaitGroup
	slots := make(chan struct{}, 2000)
	var begin func(i int)
	begin = func(i int) { // news may be repeated
		to := addressOf(i)
		n.Router().Go(actors.Request{To: to, Message: presence.CallEvent{CallID: fmt.Sprintf("call-%d@10.0.0.5", i), State: presence.Confirmed, SwitchURI: "sip:10.0.0.5:11000",
			From: to.String(), To: "2125550100@" + realm}}, func(a actors.Answer) {
			if a.Err != nil && t.Context().Err() == nil {
				time.AfterFunc(50*time.Millisecond, func() { begin(i) })
				return
			}
			<-slots
			calls.Done()
		})
	}
	for i := range count {
		slots <- struct{}{}
		calls.Add(1)
		begin(i)
	}
	calls.Wait()
	t.Logf("a call: %d B of our heap and of the embedded server's", (heap()-without)/int64(count))

	conn, err := nats.Connect(n.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dark := map[string]bool{} // only the goroutine of the subscription uses it
	var told atomic.Int64
	done := make(chan struct{})
	if _, err := conn.Subscribe(subject.AnyNotify, func(m *nats.Msg) {
		d, err := kazoo.ReadNotify(m.Data)
		if err != nil || d.State != presence.Terminated.String() || dark[d.Presentity] {
			return
		}
		dark[d.Presentity] = true
		if told.Add(1) == int64(count) {
			close(done)
		}
	}); err != nil || conn.Flush() != nil {
		t.Fatal(err)
	}

	stop := make(chan struct{})
	var refreshes sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	refreshes.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			begun := time.Now()
			i := rand.IntN(count)
			refreshes.Add(1)
			n.Router().Go(actors.Request{To: addressOf(i), Message: subscribeEvent(i, "c")}, func(actors.Answer) {
				mu.Lock()
				took = append(took, time.Since(begun))
				mu.Unlock()
				refreshes.Done()
			})
		}
	})
	begun, used := time.Now(), cpu()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cover, err := n.Router().EndSwitch(ctx, presence.SwitchGone{Switch: "sip:10.0.0.5:11000"})
	ended := time.Since(begun)
	if err != nil || cover.Extensions != count {
		t.Fatalf("%d of %d calls ended, %v", cover.Extensions, count, err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%d of %d watchers were told", told.Load(), count)
	}
	all := time.Since(begun)
	used = cpu() - used
	close(stop)
	refreshes.Wait()
	slices.Sort(took)
	t.Logf("%d calls of a switch: ended after %v, all watchers told after %v, %v of CPU; %d refreshes meanwhile: p50 %v, p99 %v, at most %v", count, ended.Round(time.Millisecond), all.Round(time.Millisecond), used.Round(time.Millisecond),
		len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

package bench

import (
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lamplight/actors"
)

func init() {
	if os.Getenv("LAMPLIGHT_MEASURE") != "" {
		runtime.MemProfileRate = 4096
	}
}

// inUse is the heap in use after a collection: the embedded NATS server's and all the rest, which is ours.
func inUse() (ours, server int64) {
	runtime.GC()
	runtime.GC()
	n, _ := runtime.MemProfile(nil, false)
	records := make([]runtime.MemProfileRecord, n+500)
	n, _ = runtime.MemProfile(records, false)
	for _, r := range records[:n] {
		frames := runtime.CallersFrames(r.Stack())
		of := &ours
		for {
			f, more := frames.Next()
			if strings.Contains(f.Function, "nats-server/v2") {
				of = &server
			}
			if !more {
				break
			}
		}
		if k := r.InUseObjects(); k > 0 { // the profile samples: scale up what it saw
			size := float64(r.InUseBytes()) / float64(k)
			*of += int64(float64(r.InUseBytes()) / (1 - math.Exp(-size/float64(runtime.MemProfileRate))))
		}
	}
	return ours, server
}

// subscribe adds one more subscription to each of count extensions.
func (n *node) subscribe(t testing.TB, count int, call string) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2000)
	for i := range count {
		slots <- struct{}{}
		wg.Add(1)
		n.router.Go(actors.Request{To: name(i), Message: watcher(i, call)}, func(a actors.Answer) {
			if a.Err != nil {
				t.Errorf("subscribe: %v", a.Err)
			}
			<-slots
			wg.Done()
		})
	}
	wg.Wait()
}

// Heap per extension with one subscription and per further subscription, the embedded server's apart, and the time
// until a node with that many records is ready.
func TestMemoryAndStart(t *testing.T) {
	if os.Getenv("LAMPLIGHT_MEASURE") == "" {
		t.Skip("a measurement, not a test: `make measure` runs it")
	}
	data, count := t.TempDir(), extensions()
	t.Run("memory", func(t *testing.T) {
		n := start(t, data)
		none, noServer := inUse()
		n.subscribe(t, count, "c")
		one, oneServer := inUse()
		n.subscribe(t, count, "d")
		two, twoServer := inUse()
		t.Logf("an extension with one subscription: %d B ours, %d B embedded server", (one-none)/int64(count), (oneServer-noServer)/int64(count))
		t.Logf("a further subscription: %d B ours, %d B embedded server", (two-one)/int64(count), (twoServer-oneServer)/int64(count))
	})
	t.Run("start", func(t *testing.T) {
		n := start(t, data)
		t.Logf("ready after %v with %d records", n.started.Round(time.Millisecond), 2*count)
	})
}

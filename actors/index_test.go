package actors

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"lamplight/actors/presence"
)

// TestSwitchIndexMemory measures what it takes to find the calls of a switch: the index of a node and the counts that its extensions keep for it. Each
// extension has one call, of one of 50 switches. It always holds a bound; LAMPLIGHT_BENCH_EXTENSIONS=1000000 measures a million calls.
func TestSwitchIndexMemory(t *testing.T) {
	const switches, most = 50, 100
	calls := 100_000
	if n, err := strconv.Atoi(os.Getenv("LAMPLIGHT_BENCH_EXTENSIONS")); err == nil {
		calls = n
	}
	names := make([]string, max(1, switches*calls/1_000_000)) // as many calls of a switch in a shard as with a million
	for i := range names {
		names[i] = fmt.Sprintf("sip:10.0.0.%d:11000", i)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	rules := &presence.Rules{CallLease: time.Hour, TombstoneLife: time.Minute}
	now := time.Now()
	fill := func(named bool) (took int64) {
		all := make([]*extension, 0, calls)
		before := heap()
		node := &counts{names: map[string]*counted{}}
		shards := make([]shardCounts, Shards)
		for i := range shards {
			shards[i] = shardCounts{node: node, shard: i}
		}
		for i := range calls {
			x := &extension{state: presence.New("acme.test", "1", rules), timer: -1}
			ev := presence.CallEvent{CallID: "c", Direction: presence.Recipient, State: presence.Confirmed, From: "1@acme.test", To: "2@acme.test"}
			if named {
				ev.SwitchURI = names[i%len(names)]
			}
			fx, err := x.state.Apply(ev, now)
			if err != nil {
				t.Fatal(err)
			}
			shards[i/len(names)%Shards].add(x, fx.Switches)
			all = append(all, x)
		}
		took = heap() - before
		runtime.KeepAlive([]any{all, node, shards})
		return took
	}
	without, with := fill(false), fill(true)
	each := (with - without) / int64(calls)
	t.Logf("%d calls of %d switches: %d B a call for the index and the counts", calls, len(names), each)
	if each > most {
		t.Errorf("a call takes %d B in the index; at most %d are allowed", each, most)
	}
}

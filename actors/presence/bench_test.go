package presence

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func phone(i int) Subscribe {
	return Subscribe{Package: Dialog, CallID: fmt.Sprintf("%08x-%04x@10.0.%d.%d", i*2654435761, i, i>>8&255, i&255),
		From: fmt.Sprintf("%d@acme.example.com", 2000+i), FromTag: fmt.Sprintf("ft%08x", i), ToTag: fmt.Sprintf("tt%08x", i),
		Contact: fmt.Sprintf("<sip:%d@10.0.%d.%d:5060>", 2000+i, i>>8&255, i&255), SubscriptionID: fmt.Sprintf("sub-%08x", i),
		ServerID: "edge-1.example.com", UserAgent: "Yealink SIP-T46S 66.86.0.15", Expires: 3600, HasCSeq: true, CSeq: 1}
}

func crowd(n int) *Extension {
	rules := testRules()
	rules.MaxWatchers = n
	e := New("acme.example.com", "1001", rules)
	for i := range n {
		if _, err := e.Apply(phone(i), begin); err != nil {
			panic(err)
		}
	}
	return e
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Many extensions with one subscription, and one with many: what each costs.
func TestMemory(t *testing.T) {
	const n = 20_000
	keep := make([]*Extension, n)
	rules := testRules()
	before := heap()
	for i := range keep {
		keep[i] = New("acme.example.com", "1001", rules)
		if _, err := keep[i].Apply(phone(i), begin); err != nil {
			t.Fatal(err)
		}
	}
	first := (heap() - before) / n
	runtime.KeepAlive(keep)
	before = heap()
	e := crowd(n)
	further := (heap() - before) / n
	runtime.KeepAlive(e)
	t.Logf("%d B for an extension with one subscription, %d B for a further one", first, further)
	if first > 700 || further > 450 {
		t.Errorf("aim: 700 B and 450 B")
	}
}

func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", n), func(b *testing.B) {
			e := crowd(n)
			ev := phone(n / 2)
			now := begin
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				ev.CSeq++
				if _, err := e.Apply(ev, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1, 10, 1000, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", n), func(b *testing.B) {
			e := crowd(n)
			now := begin
			states := []State{Early, Terminated}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(250 * time.Millisecond)
				eff, err := e.Apply(SetManual{states[i%2]}, now)
				if err != nil || len(eff.Notices) != 1 || len(eff.Notices[0].Watchers) != n {
					b.Fatal(len(eff.Notices), err)
				}
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	e := crowd(1)
	now := begin
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Second)
		id := fmt.Sprint("c", i)
		for _, s := range []State{Early, Confirmed, Terminated} {
			if _, err := e.Apply(ring(id, s), now); err != nil {
				b.Fatal(err)
			}
		}
		_, _ = e.Apply(Tick{}, now)
	}
}

func BenchmarkLoadSubscription(b *testing.B) {
	e := crowd(1)
	data := e.encodeSubscription(e.watchers[0])
	b.ReportAllocs()
	for b.Loop() {
		if err := New("acme.example.com", "1001", e.rules).Load(KindSubscription, data); err != nil {
			b.Fatal(err)
		}
	}
}

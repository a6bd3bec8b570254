package httpd

import (
	"net"
	"strconv"
	"testing"
	"time"
)

// At a bound, the body that has been slow for longest makes room: one of the same account if that has all its places, else any. One
// that comes at 50 KB/s is not slow, and without need none is dropped.
func TestSlowBodyMakesRoom(t *testing.T) {
	a, now := newBodies(), time.Unix(1000, 0)
	begin := func(who string) *body {
		t.Helper()
		client, conn := net.Pipe()
		t.Cleanup(func() { _, _ = client.Close(), conn.Close() })
		return &body{conn: conn, who: who}
	}
	take := func(who string) *body {
		t.Helper()
		b := begin(who)
		if !a.take(b, now) {
			t.Fatalf("no room for %s", who)
		}
		return b
	}
	steady, drip, still := take("one"), take("one"), take("one")
	var others []*body
	for range LargeOfOne - 3 {
		others = append(others, take("one"))
	}
	if a.take(begin("one"), now) {
		t.Fatal("more than the account may have")
	}
	for range 100 { // 10 s
		now = now.Add(100 * time.Millisecond)
		steady.came(5000, now)
		drip.came(1, now)
		for _, b := range others {
			b.came(5000, now)
		}
	}
	if drip.dropped.Load() || still.dropped.Load() {
		t.Error("dropped though nobody waited")
	}
	take("two")
	for i, want := range []*body{still, drip} {
		if take("one"); !want.dropped.Load() {
			t.Errorf("number %d was not dropped", i)
		}
		if _, err := want.conn.Read(make([]byte, 1)); err == nil {
			t.Error("a dropped body is read on")
		}
	}
	if a.take(begin("one"), now) || steady.dropped.Load() {
		t.Error("a body that comes steadily was dropped")
	}
	a.done(still) // its reader ends later
	a.done(steady)
	take("one")
	for i := len(a.all); i < MaxLarge; i++ {
		take(strconv.Itoa(i))
	}
	if a.take(begin("new"), now) {
		t.Error("more than all may have")
	}
	now = now.Add(2 * slowGrace)
	for i := range MaxLarge {
		take("new " + strconv.Itoa(i))
		now = now.Add(2 * slowGrace)
	}
	if len(a.all) != MaxLarge {
		t.Errorf("%d bodies", len(a.all))
	}
}

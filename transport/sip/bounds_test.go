package sip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
	"lamplight/transport/sip/message"
	"lamplight/transport/sip/profile"
)

// A source may do something so often at once, and then at its rate. Others are not touched, and an IPv6 network of 64 bits is one source.
func TestLimitOfASource(t *testing.T) {
	l, now := newLimiter(2, 3, 100), time.Now()
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, want := range []bool{true, true, true, false, false} {
		if l.exhausted(one, now) == want || l.allow(one, now) != want {
			t.Errorf("the try %d was allowed: %v", i, !want)
		}
	}
	if l.exhausted(other, now) || !l.allow(other, now) {
		t.Error("another source pays for the first one")
	}
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{499 * time.Millisecond, false}, {500 * time.Millisecond, true}, {500 * time.Millisecond, false}, {time.Second, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}} {
		if got := l.allow(one, now.Add(step.after)); got != step.want {
			t.Errorf("after %v it is allowed: %v", step.after, got)
		}
	}
	for range 3 {
		l.allow(netip.MustParseAddr("2001:db8:0:1::1"), now)
	}
	if l.allow(netip.MustParseAddr("2001:db8:0:1:ffff::2"), now) || !l.allow(netip.MustParseAddr("2001:db8:0:2::1"), now) {
		t.Error("a source is not the network of 64 bits")
	}
}

// However many sources there are, the limiter holds a fixed number. Whoever is busy stays known.
func TestLimiterIsBounded(t *testing.T) {
	const most = 64
	l, now := newLimiter(1, 1, most), time.Now()
	busy := netip.MustParseAddr("192.0.2.1")
	if !l.allow(busy, now) {
		t.Fatal("the first try was refused")
	}
	for i := range 100 * most {
		l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		if len(l.new)+len(l.older) > 2*most {
			t.Fatalf("%d sources are held", len(l.new)+len(l.older))
		}
		if i%(most/2) == 0 {
			now = now.Add(time.Second)
			if !l.allow(busy, now) || l.allow(busy, now) {
				t.Fatalf("after %d other sources the busy one is not known any more", i)
			}
		}
	}
}

// A copy of a request is known while it waits for its answer and after it (RFC 3261 §17.2.2), for one to two generations.
func TestSeenRequests(t *testing.T) {
	s, now := newSeen(1000), time.Now()
	if _, known := s.before(1); known || !s.begin(1, now) || s.begin(1, now) {
		t.Fatal("a request was not noted once")
	}
	if how, known := s.before(1); !known || how.code != 0 {
		t.Errorf("while it waits: %+v, %v", how, known)
	}
	want := answered{code: 200, expires: 600, begun: 7, tag: "e1"}
	s.end(1, want)
	if how, known := s.before(1); !known || how != want {
		t.Errorf("after its answer: %+v, %v", how, known)
	}
	s.begin(2, now.Add(seenLife)) // of the same generation
	s.begin(3, now.Add(seenLife+time.Second))
	if how, known := s.before(1); !known || how != want || s.begin(1, now.Add(seenLife+time.Second)) {
		t.Errorf("in the next generation: %+v, %v", how, known)
	}
	late := answered{code: 503}
	s.end(2, late) // the answer to a request of the generation before
	if how, _ := s.before(2); how != late {
		t.Errorf("a late answer: %+v", how)
	}
	s.forget(2)
	if _, known := s.before(2); known {
		t.Error("a request that was forgotten is known")
	}
	s.begin(4, now.Add(2*seenLife+2*time.Second))
	if _, known := s.before(1); known {
		t.Error("after two generations the request is known")
	}
	if _, known := s.before(3); !known {
		t.Error("after one generation the request is not known")
	}
}

func TestSeenIsBounded(t *testing.T) {
	const most = 64
	s, now := newSeen(most), time.Now()
	for i := range uint64(100 * most) {
		s.begin(i, now)
		if len(s.new)+len(s.older) > 2*most {
			t.Fatalf("%d requests are held", len(s.new)+len(s.older))
		}
	}
	if _, known := s.before(100*most - 1); !known {
		t.Error("the newest request is not known")
	}
}

// Transactions differ by branch, sent-by, Call-ID, CSeq and From-tag (RFC 3261 §17.2.3), not by what a proxy may change on the way.
func TestKeyOfATransaction(t *testing.T) {
	s := newSeen(10)
	const text = "SUBSCRIBE sip:1001@a SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s\r\nFrom: <sip:b@a>;tag=%s\r\nTo: <sip:1001@a>\r\nCall-ID: %s\r\nCSeq: %s SUBSCRIBE\r\nMax-Forwards: %s\r\n\r\n"
	parts := []any{"192.0.2.9:5062", "z9hG4bK1", "8f", "c1", "20", "70"}
	key := func(change int) uint64 {
		p := append([]any(nil), parts...)
		if change >= 0 {
			p[change] = p[change].(string) + "1"
		}
		var m message.Message
		if err := m.Read(fmt.Appendf(nil, text, p...)); err != nil {
			t.Fatal(err)
		}
		return s.key(&m)
	}
	for i := range parts {
		if same := key(i) == key(-1); same != (i == 5) {
			t.Errorf("with another %v the key is the same: %v", parts[i], same)
		}
	}
}

// What a storm has left is forgotten although nothing comes after it: copies of requests, what watchers were told last, sources, and the
// memory of the NOTIFYs under way.
func TestForgottenWithoutTraffic(t *testing.T) {
	s := newTestServer(nil)
	now := time.Now()
	n := s.senders[0]
	n.now = tickOf(now)
	for i := range 5000 {
		s.seen.begin(uint64(i), now)
		s.strangers.allow(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), now)
		key := subscription{callID: fmt.Sprint(i)}
		n.newer(key, &Told{Sequence: 1}, now)
		n.hold(key)
	}
	for i := range 5000 {
		n.release(subscription{callID: fmt.Sprint(i)})
	}
	n.slots, n.free = make([]*outgoing, 5000), make([]int32, 5000)
	for i := range 2 { // two generations
		at := now.Add(time.Duration(i+1) * (recentLife + time.Second))
		s.seen.sweep(at)
		n.sweep(at)
		s.strangers.turn()
	}
	if k := len(s.seen.new) + len(s.seen.older); k != 0 {
		t.Errorf("%d requests are remembered", k)
	}
	if k := len(n.recent) + len(n.before) + len(n.all) + cap(n.slots) + cap(n.free); k != 0 {
		t.Errorf("%d entries of NOTIFYs are kept", k)
	}
	if k := len(s.strangers.new) + len(s.strangers.older); k != 0 {
		t.Errorf("%d sources are remembered", k)
	}
}

// All phones subscribe at once, more than may wait. Those that are too many get 503 with a Retry-After that differs from phone to phone, a
// refresh finds room where a new phone finds none, and all get through when they come again.
func TestStormPastTheBound(t *testing.T) {
	const most, count = 64, 400
	held := &slowRealm{release: make(chan struct{})}
	c := Config{Name: "edge1", Profiles: profile.Default(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), NoAuth: true, MaxWaiting: most,
		Listen: []Listen{{Transport: UDP, Address: "127.0.0.1:0"}}}
	s := New(c, held)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(ctx) }()
	conn, err := net.Dial("udp", s.Addr(UDP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	_ = conn.(*net.UDPConn).SetReadBuffer(receiveBuffer)
	send := func(i, try int) {
		if _, err := fmt.Fprintf(conn, "SUBSCRIBE sip:1001@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%[2]d-%[3]d;rport\r\nFrom: <sip:1002@%[1]s>;tag=1\r\nTo: <sip:1001@%[1]s>\r\nCall-ID: %[2]d\r\nCSeq: %[3]d SUBSCRIBE\r\nContact: <sip:1002@127.0.0.1>\r\nEvent: dialog\r\nContent-Length: 0\r\n\r\n",
			testRealm, i, try); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, 4096)
	var m message.Message
	next := func() (call int) {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Read(buffer[:n]); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Sscan(string(m.CallID()), &call)
		return call
	}
	for i := range count {
		send(i, 1)
	}
	waits := map[uint32]bool{}
	refused := map[int]bool{}
	for len(refused) < count-most*3/4 { // no more than these can be refused while the others wait
		i := next()
		if seconds, found, ok := m.Seconds(message.RetryAfter); m.Status != 503 || !found || !ok || seconds < 5 || seconds > 34 {
			t.Fatalf("%d with Retry-After %d", m.Status, seconds)
		} else {
			waits[seconds] = true
		}
		refused[i] = true
	}
	if len(waits) < 10 {
		t.Errorf("Retry-After is random: there were %d different ones", len(waits))
	}
	if s.waiting.Load() != most*3/4 || !s.admit(true) || s.admit(false) {
		t.Errorf("%d wait; a refresh finds room, and a new phone does not", s.waiting.Load())
	}
	s.waiting.Add(-1)
	close(held.release)
	accepted := map[int]bool{}
	for try := 2; len(accepted) < count; {
		if i := next(); m.Status == 200 {
			accepted[i] = true
		} else {
			refused[i] = true
		}
		for i := range refused { // a phone would wait for Retry-After
			delete(refused, i)
			send(i, try)
			try++
		}
	}
}

// slowRealm is oneRealm that answers no SUBSCRIBE until release is closed.
type slowRealm struct {
	oneRealm
	release chan struct{}
}

func (c *slowRealm) Subscribe(_ presence.Address, _ *presence.Subscribe, _ time.Time, done func(Outcome)) {
	go func() {
		<-c.release
		done(Outcome{Code: 200})
	}()
}

// A phone that never answers costs at most 11 datagrams for each NOTIFY (RFC 3261 §17.1.2.2: 0.5, 1, 2, 4, 4 … s, until 32 s), and however
// often it is told meanwhile, one NOTIFY waits: the newest. In the end nothing of it is held.
func TestSilentPhone(t *testing.T) {
	s, conn := startEdge(t, UDP, nil)
	told := func(sequence uint32) {
		s.Tell(&Told{To: presence.Address{Realm: testRealm, User: "1001"}, Sequence: sequence, Made: time.Now(), Targets: []Target{{CallID: "c", From: "1002@" + testRealm, ToTag: "t",
			Contact: "<sip:1002@" + conn.LocalAddr().String() + ">", Route: presence.EdgeBegin + "udp.0." + conn.LocalAddr().String() + presence.EdgeHost + presence.EdgeEnd, Expires: 600}}})
	}
	buffer := make([]byte, 4096)
	next := func() (sequence uint32) {
		var m message.Message
		n, err := conn.Read(buffer)
		if err != nil || m.Read(buffer[:n]) != nil || m.Method != message.Notify {
			t.Fatalf("%v: %q", err, buffer[:n])
		}
		return m.CSeq
	}
	told(1)
	if next() != 1 {
		t.Fatal("another NOTIFY came first")
	}
	n := s.notifierOf(presence.Address{Realm: testRealm, User: "1001"})
	for i := range 1000 {
		told(uint32(i + 2))
	}
	held := func() (all int, newest uint32) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, o := range n.all {
			if o.next != nil {
				newest = o.next.Sequence
			}
		}
		return len(n.all) + len(n.places) + n.flying, newest
	}
	for since := time.Now(); ; {
		all, newest := held()
		if all == 3 && newest == 1001 {
			break
		}
		if time.Since(since) > patience {
			t.Fatalf("%d entries are held, and NOTIFY %d waits", all, newest)
		}
	}
	copies := map[uint32]int{1: 1}
	at := time.Now()
	for range 2 * int(timerF/wheelTick) {
		at = at.Add(wheelTick)
		n.fire(at)
	}
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	for {
		k, err := conn.Read(buffer)
		if err != nil {
			break
		}
		var m message.Message
		if m.Read(buffer[:k]) == nil {
			copies[m.CSeq]++
		}
	}
	if copies[1] < 10 || copies[1] > 11 || copies[1001] > 11 || len(copies) != 2 {
		t.Errorf("NOTIFYs by CSeq: %v", copies)
	}
}

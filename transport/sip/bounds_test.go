package sip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"lamplight/transport/sip/message"
)

// A source may do something so often at once, and then at its rate. Others are not touched, and an IPv6 network of 64 bits is one source.
func TestLimitOfASource(t *testing.T) {
	l, now := newLimiter(2, 3, 100), time.Unix(1_800_000_000, 0)
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
	l, now := newLimiter(1, 1, most), time.Unix(1_800_000_000, 0)
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
	s, now := newSeen(1000), time.Unix(1_800_000_000, 0)
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
	s, now := newSeen(most), time.Unix(1_800_000_000, 0)
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

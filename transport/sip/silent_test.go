package sip

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"lamplight/actors/presence"
	"lamplight/cluster/age"
	"lamplight/transport/sip/message"
)

// noting is a Cluster that notes how watchers answered.
type noting struct {
	oneRealm
	replies []presence.Notified
}

func (c *noting) Replied(_ string, _ presence.Address, r presence.Notified) {
	c.replies = append(c.replies, r)
}

// besidePhone makes a server with a socket, and a phone on UDP that does nothing by itself. tell has the phone told, in the subscription "silent".
func besidePhone(t *testing.T, c Cluster) (s *Server, l *listener, phone *net.UDPConn, tell func(sequence uint32, now time.Time)) {
	phone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { phone.Close() })
	s = newTestServer(nil)
	s.cluster = c
	if l, err = listen(t.Context(), UDP, "127.0.0.1:0", ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	s.sockets = []*listener{l}
	n := s.senders[0]
	to := presence.Address{Realm: testRealm, User: "1001"}
	return s, l, phone, func(sequence uint32, now time.Time) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.push(&Told{To: to, Package: presence.Dialog, Sequence: sequence, Made: now, Targets: []Target{{CallID: "silent", From: "1002@" + testRealm, FromTag: "f", ToTag: "t", Expires: 600,
			Contact: "<sip:1002@" + phone.LocalAddr().String() + ">", Route: "<sip:udp.0." + phone.LocalAddr().String() + "@" + presence.EdgeHost + ";lr>"}}}, 0, now)
	}
}

// The wheel stands still while nothing is under way. A NOTIFY after that is sent again when no answer comes.
func TestWheelThatStoodStill(t *testing.T) {
	s, _, phone, tell := besidePhone(t, &noting{})
	n := s.senders[0]
	var running sync.WaitGroup
	defer running.Wait()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	running.Go(func() { n.run(ctx) })
	stands := func() bool { // fire has found no timer
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.now > 0
	}
	for since := time.Now(); !stands(); time.Sleep(time.Millisecond) {
		if time.Since(since) > patience {
			t.Fatal("the wheel does not turn")
		}
	}
	tell(1, time.Now())
	_ = phone.SetReadDeadline(time.Now().Add(patience))
	for copies := range 3 {
		if _, err := phone.Read(make([]byte, 4096)); err != nil {
			t.Fatalf("after %d copies: %v", copies, err)
		}
	}
}

// A phone on UDP that never answers: the NOTIFY is sent again after 0.5, 1, 2, 4, 4 … s until 32 s are over (RFC 3261 §17.1.2.2, timers E and
// F). Then the owner is told 408, the newest NOTIFY that waited goes out, and after its answer nothing is left in memory.
func TestPhoneThatDoesNotAnswer(t *testing.T) {
	c := &noting{}
	s, l, phone, tell := besidePhone(t, c)
	n := s.senders[0]
	count := func() float64 {
		var m dto.Metric
		if err := s.metrics.sent.Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetCounter().GetValue()
	}
	begun := time.Now()
	begun = begun.Add(7*time.Millisecond - age.Of(begun)%wheelTick)
	n.now = tickOf(begun)
	tell(1, begun)
	sent := []time.Duration{0}
	for after := time.Duration(0); len(c.replies) == 0; after += wheelTick {
		if after > time.Minute {
			t.Fatal("the edge goes on for ever")
		}
		before := count()
		if after == 10*time.Second {
			tell(2, begun.Add(after))
			tell(3, begun.Add(after))
		}
		n.fire(begun.Add(after))
		if count() > before {
			sent = append(sent, after)
		}
	}
	last := sent[len(sent)-1] // of the NOTIFY that waited
	sent = sent[:len(sent)-1]
	ideal := []time.Duration{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500}
	if len(sent) < len(ideal)-1 {
		t.Errorf("sent %d times, at %v", len(sent), sent)
	}
	for i, at := range sent {
		if late := at - ideal[i]*time.Millisecond; late < 0 || late > time.Duration(i)*wheelTick {
			t.Errorf("sent at %v", sent)
		}
	}
	if last < timerF-wheelTick || last > timerF+wheelTick {
		t.Errorf("given up after %v", last)
	}
	if r := c.replies; len(r) != 1 || r[0].Reply != codeTimeout || r[0].Sequence != 1 || r[0].CallID != "silent" {
		t.Errorf("the owner was told %+v", r)
	}
	var m message.Message
	buffer := make([]byte, 4096)
	var numbers []uint32
	_ = phone.SetReadDeadline(time.Now().Add(patience))
	for range len(sent) + 1 {
		k, err := phone.Read(buffer)
		if err == nil {
			err = m.Read(buffer[:k])
		}
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, m.CSeq)
	}
	if want := append(slices.Repeat([]uint32{1}, len(sent)), 3); !slices.Equal(numbers, want) {
		t.Errorf("the phone was sent %v", numbers)
	}
	text := m.AppendEcho(message.AppendStatus(nil, 200, "OK"), l.local, "")
	if err := m.Read(message.AppendEnd(text, 0)); err != nil {
		t.Fatal(err)
	}
	s.answered(flow{}, &m)
	if len(c.replies) != 2 || c.replies[1].Reply != 200 || c.replies[1].Sequence != 3 {
		t.Errorf("the owner was told %+v", c.replies)
	}
	used := slices.ContainsFunc(n.slots, func(o *outgoing) bool { return o != nil })
	if len(n.all) != 0 || len(n.places) != 0 || n.flying != 0 || used || len(n.overflow) != 0 {
		t.Errorf("left in memory: %d subscriptions, %d destinations, %d in flight, a slot: %v", len(n.all), len(n.places), n.flying, used)
	}
	n.fire(begun.Add(2 * time.Minute))
	if n.timers != 0 {
		t.Errorf("%d timers are left", n.timers)
	}
}

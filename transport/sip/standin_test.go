package sip_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"
)

// tale is what a phone is told of one subscription.
type tale struct {
	*phone.Subscription
	told chan *phone.Notify
	last uint32
}

// open opens a phone that takes NOTIFYs from every edge.
func open(t *testing.T, server string, transport sip.Transport) *phone.Phone {
	t.Helper()
	p, err := phone.Dial(within(t), phone.Config{Server: server, Transport: transport, AnySource: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// follow subscribes 1002 to an extension.
func follow(t *testing.T, p *phone.Phone, extension string) *tale {
	t.Helper()
	told := make(chan *phone.Notify, 1000)
	s, err := p.Subscribe(within(t), phone.Subscribe{Watcher: "1002@" + acme, Password: "secret", Target: extension + "@" + acme, Package: "dialog", Expires: 600,
		Handle: func(n *phone.Notify) { told <- n }})
	if err != nil {
		t.Fatal(err)
	}
	return &tale{Subscription: s, told: told}
}

// until waits for a NOTIFY from an edge, whose address is from, that shows a text. The CSeq of all NOTIFYs must rise.
func (s *tale) until(t *testing.T, from, text string) *phone.Notify {
	t.Helper()
	for end := time.After(30 * time.Second); ; {
		select {
		case n := <-s.told:
			if n.CSeq <= s.last {
				t.Fatalf("CSeq %d after %d", n.CSeq, s.last)
			}
			if s.last = n.CSeq; strings.Contains(n.Contact, "@"+from) && strings.Contains(n.Body, text) {
				return n
			}
		case <-end:
			t.Fatalf("%q was never told from %s; the newest NOTIFY is %+v", text, from, s.Latest())
		}
	}
}

// silent fails if anything more is told.
func (s *tale) silent(t *testing.T) {
	t.Helper()
	select {
	case n := <-s.told:
		t.Errorf("told %+v", n)
	default:
	}
}

// replied waits until the owner of 1001 knows that its watcher has answered the newest NOTIFY with 200.
func replied(t *testing.T, n *node.Node, s *tale) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		a := n.Router().Request(within(t), actors.Request{To: actors.Address{Realm: acme, User: "1001"}, Message: presence.Show{}})
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		for _, w := range a.Subscriptions {
			if w.CallID == s.CallID && w.Sequence == s.last && w.Reply == 200 {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the owner does not know of the answer to %d: %+v", s.last, a.Subscriptions)
		}
	}
}

// A phone behind an edge that was killed is served by another one after 10 s: an edge inside a node, or one that runs alone. It learns what
// it missed, and all that comes after. When its edge is back, that one goes on. The CSeq rises all the time.
func TestAnotherEdgeServes(t *testing.T) {
	for _, home := range []string{"in a node", "alone"} {
		t.Run(home, func(t *testing.T) {
			t.Parallel()
			var n *node.Node
			var stands string // the address of the other edge
			if home == "alone" {
				n = startAcme(t, nodetest.Config("a", t.TempDir()))
				stands = startLone(t, n, "other", "127.0.0.1:0").server.Addr(sip.UDP)
			} else {
				n = startNode(t, func(*sip.Config) {})
				stands = n.SIP().Addr(sip.UDP)
			}
			own := startLone(t, n, "own", "127.0.0.1:0")
			address := own.server.Addr(sip.UDP)
			s, tied := follow(t, open(t, address, sip.UDP), "1001"), follow(t, open(t, own.server.Addr(sip.TCP), sip.TCP), "1001")
			call(t, n, "k", presence.Early)
			s.until(t, address, "<state>early</state>")
			own.kill()
			for len(tied.told) > 0 {
				<-tied.told
			}
			call(t, n, "k", presence.Confirmed) // nobody listens: from here on 10 s pass
			s.until(t, stands, "<state>confirmed</state>")
			replied(t, n, s)
			call(t, n, "l", presence.Early)
			s.until(t, stands, "<state>")
			call(t, n, "l", presence.Terminated)
			call(t, n, "k", presence.Terminated)
			s.until(t, stands, `id="none"`)
			replied(t, n, s)
			tied.silent(t)

			startLone(t, n, "own", address)
			s.until(t, address, `id="none"`)
			call(t, n, "m", presence.Early)
			s.until(t, address, "<state>early</state>")
			replied(t, n, s)
		})
	}
}

// An edge that stops tells the phones on its connections that their subscriptions have ended, so that they subscribe anew at once. The others
// notice nothing, and go on at the edge that takes its name.
func TestDeactivatedWhenAnEdgeStops(t *testing.T) {
	for _, home := range []string{"in a node", "alone"} {
		t.Run(home, func(t *testing.T) {
			t.Parallel()
			c := nodetest.Config("a", t.TempDir())
			c.SIP = &sip.Config{Name: "own", NoAuth: true, Profiles: profile.Default()}
			for _, transport := range []sip.Transport{sip.UDP, sip.TCP, sip.WS} {
				c.SIP.Listen = append(c.SIP.Listen, sip.Listen{Transport: transport, Address: "127.0.0.1:0"})
			}
			n := startAcme(t, c)
			server := n.SIP()
			stop := func() { _ = n.Stop(context.Background()) }
			if home == "alone" {
				l := startLone(t, n, "alone", "127.0.0.1:0")
				server, stop = l.server, l.stop
			}
			address := server.Addr(sip.UDP)
			free := follow(t, open(t, address, sip.UDP), "1001")
			transports := []sip.Transport{sip.TCP, sip.WS}
			if home == "alone" {
				transports = transports[:1]
			}
			var tied []*tale
			for _, transport := range transports {
				p := open(t, server.Addr(transport), transport)
				for i := range 40 { // more than may be unanswered on one connection at a time
					tied = append(tied, follow(t, p, strconv.Itoa(1001+i)))
				}
			}
			for _, s := range append(tied, free) {
				s.until(t, "", "")
			}
			begun := time.Now()
			stop()
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			for _, s := range tied {
				if last := s.Latest(); last.State != "terminated" || last.Reason != "deactivated" {
					t.Fatalf("the newest NOTIFY is %+v", last)
				}
			}
			free.silent(t)

			if home == "alone" {
				startLone(t, n, "alone", address)
			} else {
				c.SIP.Listen[0].Address = address
				n = nodetest.Start(t, c)
			}
			free.until(t, address, "")
			call(t, n, "k", presence.Early)
			free.until(t, address, "<state>early</state>")
			if err := free.Refresh(within(t), 600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

package sip_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/gossip"
	"lamplight/cluster/subject"
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

// unheard waits until NATS knows that an edge is gone.
func unheard(t *testing.T, n *node.Node, edge string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		if _, err := n.Conn().Request(subject.Notify(edge), nil, 50*time.Millisecond); err == nats.ErrNoResponders {
			return
		}
		if time.Now().After(end) {
			t.Fatal("somebody still listens for the edge")
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
			unheard(t, n, "own")
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

// When a node dies, its own edge dies with it. The other node takes its shards over and serves the phones behind that edge, also those whose
// extensions it did not own before, and although it then has never heard of that edge.
func TestAnotherNodeServes(t *testing.T) {
	t.Parallel()
	url, nodes := nodetest.NATS(t), map[string]*node.Node{}
	for _, name := range []string{"a", "b"} {
		c := nodetest.On(url, name, t.TempDir())
		c.SIP = &sip.Config{Name: name, NoAuth: true, Profiles: profile.Default(), Listen: []sip.Listen{{Transport: sip.UDP, Address: "127.0.0.1:0"}}}
		if nodes["a"] != nil {
			c.Join = []string{nodes["a"].Addr(node.Gossip)}
		}
		nodes[name] = startAcme(t, c)
	}
	a, b := nodes["a"], nodes["b"]
	of := map[string]string{} // an extension of each node
	for user := 1001; len(of) < 2; user++ {
		of[gossip.Owner(a.Journal().Range(actors.ShardOf(actors.Address{Realm: acme, User: strconv.Itoa(user)})), []string{"a", "b"})] = strconv.Itoa(user)
	}
	for end := time.Now().Add(3 * patience); ; time.Sleep(5 * time.Millisecond) {
		settled := true
		for name, user := range of {
			settled = settled && a.Journal().Holder(actors.ShardOf(actors.Address{Realm: acme, User: user})) == name
		}
		if settled {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the shards are not where they should be")
		}
	}
	p := open(t, a.SIP().Addr(sip.UDP), sip.UDP)
	stories := map[string]*tale{}
	for _, user := range of {
		stories[user] = follow(t, p, user)
		stories[user].until(t, a.SIP().Addr(sip.UDP), `id="none"`)
	}
	a.Kill()
	unheard(t, b, "a")
	for user := range stories {
		for end := time.Now().Add(3 * patience); ; {
			got := b.Router().Request(within(t), actors.Request{To: actors.Address{Realm: acme, User: user}, Message: presence.SetManual{State: presence.Early}})
			if got.Err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(got.Err)
			}
		}
	}
	for _, s := range stories {
		s.until(t, b.SIP().Addr(sip.UDP), "<state>early</state>")
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
			if took := time.Since(begun); took > 20*time.Second { // a drain ends after 20 s, whatever it waits for
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

package sip_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// TestWatchACall drives a phone over each transport: subscribe, ring, answer, hang up, refresh, unsubscribe.
func TestWatchACall(t *testing.T) {
	n := startNode(t, func(*sip.Config) {})
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP, sip.WS} {
		t.Run(transport.String(), func(t *testing.T) {
			s := watch(t, dial(t, n, transport), "1001", "dialog")
			if s.Granted() != 600 {
				t.Errorf("granted %d s", s.Granted())
			}
			id := "call-" + transport.String()
			call(t, n, id, presence.Early)
			early := shows(t, s, "<state>early</state>")
			call(t, n, id, presence.Confirmed)
			confirmed := shows(t, s, "<state>confirmed</state>")
			if confirmed.CSeq <= early.CSeq || confirmed.Version() != confirmed.CSeq {
				t.Errorf("CSeq %d and version %d after CSeq %d", confirmed.CSeq, confirmed.Version(), early.CSeq)
			}
			call(t, n, id, presence.Terminated)
			if _, err := s.Until(within(t), func(n *phone.Notify) bool { return n.CSeq > confirmed.CSeq && !contains(n.Body, "confirmed") }); err != nil {
				t.Fatal(err)
			}
			before := s.Latest().CSeq
			if err := s.Refresh(within(t), 600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Until(within(t), func(n *phone.Notify) bool { return n.CSeq > before && n.State == "active" }); err != nil {
				t.Fatal(err)
			}
			if err := s.Refresh(within(t), 0); err != nil {
				t.Fatal(err)
			}
			if last, err := s.Until(within(t), func(n *phone.Notify) bool { return n.State == "terminated" }); err != nil || last.Reason != "timeout" {
				t.Fatal(last, err)
			}
			refused, _ := s.Refresh(within(t), 600).(*phone.Refused)
			if refused == nil || refused.Code != 481 {
				t.Errorf("a refresh after the end: %v", refused)
			}
		})
	}
}

// code is the status code of a refusal; 0: there was none.
func code(err error) int {
	if refused, ok := errors.AsType[*phone.Refused](err); ok {
		return refused.Code
	}
	return 0
}

// TestRFC3261CSeq refuses a CSeq that goes back within a SIP dialog, and one of a dialog that nobody began (RFC 3261 §12.2.2).
func TestRFC3261CSeq(t *testing.T) {
	n := startNode(t, nil)
	s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
	s.Count(20)
	if err := s.Refresh(within(t), 600); err != nil {
		t.Fatal(err)
	}
	s.Count(10)
	if err := s.Refresh(within(t), 600); code(err) != 500 {
		t.Errorf("a lower CSeq: %v", err)
	}
	s.Count(21)
	if err := s.Refresh(within(t), 600); err != nil {
		t.Errorf("a higher CSeq after that: %v", err)
	}
}

// TestRFC3261LargeNotify sends a NOTIFY that is too large for a datagram over TCP, when the Contact says that the phone takes it, and over UDP
// when no connection can be made (RFC 3261 §18.1.1).
func TestRFC3261LargeNotify(t *testing.T) {
	n := startNode(t, nil)
	many := strings.Repeat("a-name-that-makes-a-document-large-", 12)
	for _, listens := range []bool{true, false} {
		t.Run(map[bool]string{true: "the phone listens on TCP", false: "it does not"}[listens], func(t *testing.T) {
			udp, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = udp.Close() }()
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if defer_ := tcp.Close; listens {
				defer func() { _ = defer_() }()
			} else {
				_ = defer_()
			}
			edge, err := net.ResolveUDPAddr("udp", n.SIP().Addr(sip.UDP))
			if err != nil {
				t.Fatal(err)
			}
			extension := "large" + strings.TrimPrefix(tcp.Addr().String(), "127.0.0.1:")
			id := "k-" + extension
			a := n.Router().Request(within(t), actors.Request{To: actors.Address{Realm: acme, User: extension}, Message: presence.CallEvent{CallID: id, State: presence.Early,
				Direction: presence.Recipient, From: extension + "@" + acme, To: "2125550100@" + acme, ToName: many, FromName: many}})
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			ask := "SUBSCRIBE sip:" + extension + "@" + acme + " SIP/2.0\r\nVia: SIP/2.0/UDP " + udp.LocalAddr().String() + ";branch=z9hG4bK1" + extension + ";rport\r\nFrom: <sip:1002@" + acme +
				">;tag=1\r\nTo: <sip:" + extension + "@" + acme + ">\r\nCall-ID: " + id + "\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:1002@" + tcp.Addr().String() +
				";transport=tcp>\r\nEvent: dialog\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
			if _, err := udp.WriteTo([]byte(ask), edge); err != nil {
				t.Fatal(err)
			}
			_ = udp.SetReadDeadline(time.Now().Add(patience))
			buffer := make([]byte, 64<<10)
			if k, _, err := udp.ReadFrom(buffer); err != nil || !strings.HasPrefix(string(buffer[:k]), "SIP/2.0 200") {
				t.Fatalf("%v %s", err, buffer[:k])
			}
			var k int
			if listens {
				_ = tcp.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
				c, err := tcp.Accept()
				if err != nil {
					t.Fatalf("the edge does not connect: %v", err)
				}
				defer func() { _ = c.Close() }()
				_ = c.SetReadDeadline(time.Now().Add(patience))
				k, err = c.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
			} else if k, _, err = udp.ReadFrom(buffer); err != nil {
				t.Fatal(err)
			}
			if got := string(buffer[:k]); !strings.HasPrefix(got, "NOTIFY ") || !contains(got, many) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

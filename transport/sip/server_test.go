package sip_test

import (
	"errors"
	"strings"
	"testing"

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

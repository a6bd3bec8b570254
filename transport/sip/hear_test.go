package sip

import (
	"slices"
	"testing"

	"lamplight/transport/kazoo"
)

// Of a message for another edge that is down, the edge takes the watchers that it can reach. It takes all of its own.
func TestHearForAnotherEdge(t *testing.T) {
	for edge, want := range map[string][]string{"edge2": {"udp", "proxy"}, "edge1": {"udp", "tcp", "proxy", "foreign", "none"}, "": {"udp", "tcp", "proxy", "foreign", "none"}} {
		s := newTestServer(nil)
		n := &kazoo.Notify{Node: "a", Edge: edge, Presentity: "1001@" + testRealm, Package: "dialog"}
		for _, one := range [][2]string{{"udp", "<sip:udp.0.192.0.2.9:5060@lamplight;lr>"}, {"tcp", "<sip:tcp.4f2a.17@lamplight;lr>"},
			{"proxy", "<sip:tcp.4f2a.17@lamplight;lr>,<sip:192.0.2.1;lr>"}, {"foreign", "<sip:192.0.2.1;lr>"}, {"none", ""}} {
			n.Targets = append(n.Targets, kazoo.Target{CallID: one[0], ProxyRoute: one[1]})
		}
		s.Hear(n)
		var got []string
		for _, all := range s.senders {
			for _, told := range all.inbox {
				for i := range told.Targets {
					got = append(got, told.Targets[i].CallID)
				}
				if want := map[bool]string{true: edge}[edge == "edge2"]; told.For != want {
					t.Errorf("for %q, want %q", told.For, want)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of a message for %q it takes %v, want %v", edge, got, want)
		}
	}
}

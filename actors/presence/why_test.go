package presence

import (
	"strings"
	"testing"
	"time"
)

// Each fault that leaves a lamp wrong, or a phone behind, is named in words.
func TestFindings(t *testing.T) {
	is := func(s EdgeState) func(string) EdgeState { return func(string) EdgeState { return s } }
	never := is(EdgeState{Listens: EdgeListening, At: begin})
	lit := func(s *stage) {
		call := ring("k", Confirmed)
		call.SwitchURI = "sip:one"
		s.do(call)
	}
	sent := func(s *stage) { s.do(watch(Dialog, "w")) }
	for name, c := range map[string]struct {
		happens func(s *stage)
		edge    func(string) EdgeState
		kind    string
		says    []string
	}{
		"a lost hang-up": {func(s *stage) { lit(s); s.pass(3 * time.Hour) }, never, FoundSilentCall,
			[]string{"The call k of the switch sip:one is confirmed", "nothing was heard of it for 3 h, since 2026-11-23 10:00:00Z", "goes out at 2026-11-24 10:00:00Z"}},
		"ringing for ever": {func(s *stage) { s.do(ring("k", Early)); s.pass(5 * time.Minute) }, never, FoundSilentCall, []string{"The call k is early", "for 5 min"}},
		"an ended lease":   {func(s *stage) { lit(s); s.pass(24*time.Hour + time.Second) }, never, FoundLeaseEnded, []string{"went out by 2026-11-24 10:00:00Z", "the call k"}},
		"a manual state": {func(s *stage) { s.by("alice").do(SetManual{Confirmed}); s.pass(time.Hour) }, never, FoundManual,
			[]string{"The manual state confirmed was set at 2026-11-23 10:00:00Z by alice from 10.0.0.1 (request req-alice). The lamp shows it. A call that is early outranks it as long as it rings.",
				"stays when calls end, until it is set to terminated or the extension is reset"}},
		"a manual state under a call that rings": {func(s *stage) {
			s.by("alice").do(SetManual{Confirmed})
			s.pass(time.Second).by("").do(ring("k", Early))
		}, never, FoundManual, []string{"The manual state confirmed was set at 2026-11-23 10:00:00Z by alice", "The lamp shows early instead, because the call k is early, which outranks confirmed.", "stays when calls end"}},
		"a manual state beside a call": {func(s *stage) { lit(s); s.pass(time.Second).do(SetManual{Confirmed}) }, never, FoundManual,
			[]string{"The manual state confirmed was set at 2026-11-23 10:00:01Z. The call k is confirmed too."}},
		"a manual state that nothing outranks": {func(s *stage) { s.do(SetManual{Early}); s.pass(time.Second).do(ring("k", Early)) }, never, FoundManual,
			[]string{"The manual state early was set at 2026-11-23 10:00:00Z. The lamp shows it, and no call outranks it."}},
		"a reset": {func(s *stage) { lit(s); s.pass(time.Second).by("bob").do(Reset{}) }, never, FoundReset, []string{"was reset at 2026-11-23 10:00:01Z by bob"}},
		"a switch gone": {func(s *stage) {
			lit(s)
			s.pass(time.Minute).do(SwitchGone{Switch: "sip:one", Origin: Origin{By: "the source fs1, which was silent"}})
		}, never, FoundSwitchGone, []string{"because the switch sip:one of the call k was declared gone by the source fs1, which was silent"}},
		"481": {func(s *stage) { sent(s); s.do(Notified{CallID: "w", Reply: 481, Sequence: 1}) }, never, FoundWatcherEnd,
			[]string{"w@acme.example.com answered 481 to a NOTIFY at 2026-11-23 10:00:00Z", "dialog subscription w"}},
		"no refresh":    {func(s *stage) { sent(s); s.pass(time.Hour) }, never, FoundWatcherEnd, []string{"w@acme.example.com did not refresh its dialog subscription w"}},
		"an answer 500": {func(s *stage) { sent(s); s.do(Notified{CallID: "w", Reply: 500, Sequence: 1}) }, never, FoundNoAnswer, []string{"answered 500 to NOTIFY 1"}},
		"no answer":     {func(s *stage) { sent(s); s.pass(10 * time.Second) }, never, FoundNoAnswer, []string{"behind the edge edge-1 has not answered NOTIFY 1", "10 s ago"}},
		"a dead edge":   {sent, is(EdgeState{Listens: EdgeDown, At: begin}), FoundEdgeDown, []string{"Nobody has listened for the edge edge-1 since 2026-11-23 10:00:00Z"}},
		"a silent edge": {sent, is(EdgeState{Listens: EdgeDown, Silent: true, At: begin}), FoundEdgeDown, []string{"The edge edge-1 is silent since 2026-11-23 10:00:00Z"}},
		"an edge that never was": {sent, is(EdgeState{Listens: EdgeNobody, At: begin}), FoundEdgeDown,
			[]string{"Nobody listens for the edge edge-1: NATS knew no subscription to take the message that was sent to it at 2026-11-23 10:00:00Z"}},
		"an edge of which nothing is known": {func(s *stage) { sent(s); s.pass(10 * time.Second) }, is(EdgeState{Listens: EdgeNeverUp}), FoundNoAnswer,
			[]string{"has not answered NOTIFY 1", "The edge has never said edge.up to this node, so nobody knows whether it lives."}},
		"nobody watches": {lit, never, FoundNoWatchers, []string{"No phone watches"}},
	} {
		for _, loaded := range []bool{false, true} {
			if loaded && c.kind == FoundNoAnswer {
				continue // what a node has sent lately, only it knows
			}
			s := newStage(t)
			s.rules.TombstoneLife = time.Hour
			c.happens(s)
			if loaded {
				s.reload()
			}
			text := ""
			for _, f := range s.e.Findings(s.now, c.edge) {
				if f.Kind == c.kind {
					text = f.Text
				}
			}
			for _, part := range c.says {
				if !strings.Contains(text, part) {
					t.Errorf("%s, loaded %v: %q is not in %q", name, loaded, part, text)
				}
			}
		}
	}
	for _, sequence := range []uint32{2, 0} { // 0: another presence server tells what its watchers answer
		s := newStage(t)
		s.do(watch(Dialog, "w")).do(ring("k", Confirmed)).do(Notified{CallID: "w", Reply: 200, Sequence: sequence})
		if got := s.e.Findings(s.now.Add(time.Minute), never); len(got) != 0 {
			t.Errorf("all is well, and yet: %+v", got)
		}
	}
}

// A watcher lags from when it should know more until it was told, and when it has not answered for some seconds, or with a failure.
func TestLags(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a"))
	w := s.e.Subscriptions()[0]
	is := func(what string, lags, told bool) {
		t.Helper()
		if since, was := w.Lags(s.now); since.IsZero() == lags || was != told {
			t.Errorf("%s: since %v, told %v", what, since, was)
		}
	}
	is("told a moment ago", false, false)
	s.pass(answerTime + time.Second)
	is("not answered", true, true)
	s.do(Notified{Package: Dialog, CallID: "a", Sequence: w.Sequence(), Reply: 200})
	is("answered", false, false)
	s.do(ring("c", Early)).do(ring("c", Confirmed))
	is("held back by its rate", true, false)
	s.pass(time.Second)
	s.do(Notified{Package: Dialog, CallID: "a", Sequence: w.Sequence(), Reply: 500})
	is("answered with a failure", true, true)
}

package presence

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// by sets who causes the events that follow.
func (s *stage) by(who string) *stage {
	s.origin = Origin{By: who, From: "10.0.0.1", Request: "req-" + who}
	return s
}

// The last changes of the lamp, who caused them and what they were about are known after a takeover and a restart.
func TestHistoryIsKept(t *testing.T) {
	s := newStage(t)
	call := ring("k", Early)
	call.SwitchURI = "sip:one"
	s.by("ecallmgr").do(call)
	s.pass(2 * time.Second).do(ring("k", Confirmed))
	s.pass(time.Minute).by("alice").do(Reset{})
	s.pass(time.Second).by("bob").do(SetManual{Confirmed})
	want := []string{"early dialog_update k sip:one ecallmgr", "confirmed dialog_update k sip:one ecallmgr", "terminated reset k sip:one alice", "confirmed manual   bob"}
	check := func() {
		t.Helper()
		var got []string
		for _, tr := range s.e.Transitions() {
			source := tr.Source
			if source == "call" {
				source = "dialog_update"
			}
			got = append(got, strings.Join([]string{tr.State.String(), source, tr.CallID, tr.Switch, tr.By}, " "))
			if tr.Request != "req-"+tr.By || tr.From != "10.0.0.1" || tr.At.IsZero() {
				t.Errorf("%+v", tr)
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	check()
	for range 3 {
		s.reload()
		check()
	}
	s.by("carol").do(SetManual{Terminated})
	want = append(want, "terminated manual   carol")
	s.reload()
	check()
}

// The journal keeps the history for as long as the record that carries it, and memory for as long as the extension holds anything.
func TestHistoryLivesWithItsRecord(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).by("a").do(ring("k", Early)).do(ring("k", Confirmed))
	renew := func(d time.Duration) {
		for range int(d / (20 * time.Minute)) {
			s.pass(20 * time.Minute).do(watch(Dialog, "a"))
		}
	}
	renew(10 * time.Hour)
	s.reload()
	if got := s.e.Transitions(); len(got) != 2 || got[1].State != Confirmed || !got[1].At.Equal(begin) {
		t.Fatalf("%+v", got)
	}
	s.do(ring("k", Terminated))
	renew(time.Hour)
	if got := s.e.Transitions(); len(got) != 3 {
		t.Fatalf("in memory: %+v", got)
	}
	if got := s.reload().e.Transitions(); len(got) != 0 {
		t.Fatalf("after a restart: %+v", got)
	}
}

// A lease that ends is written down by nobody. After a restart the history has it all the same.
func TestHistoryHasLeases(t *testing.T) {
	for _, awake := range []bool{true, false} {
		s := newStage(t)
		call := ring("k", Confirmed)
		call.Expires = 60
		s.do(call)
		if awake {
			s.pass(90 * time.Second)
		} else {
			s.now = s.now.Add(90 * time.Second)
		}
		s.reload()
		s.pass(time.Second)
		got := s.e.Transitions()
		if len(got) != 2 || got[1].State != Terminated || got[1].Source != "lease" || got[1].CallID != "k" || !got[1].At.Equal(begin.Add(time.Minute)) {
			t.Errorf("awake %v: %+v", awake, got)
		}
	}
}

// However long the texts are, the history is bounded in number and bytes, and every text in it is UTF-8.
func TestHistoryIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		text := rapid.StringN(-1, -1, 400)
		for i := range rapid.IntRange(1, 30).Draw(t, "changes") {
			tr := Transition{State: Confirmed, At: begin.Add(time.Duration(i)), Source: text.Draw(t, "source"), CallID: text.Draw(t, "call"),
				Switch: text.Draw(t, "switch"), Origin: Origin{By: text.Draw(t, "by"), From: text.Draw(t, "from"), Request: text.Draw(t, "request")}}
			h = h.with(tr, 8)
			all := h.transitions()
			if len(h) > max(maxHistory, 6*MaxOrigin+64) || len(all) == 0 || len(all) > 8 {
				t.Fatalf("%d bytes, %d transitions", len(h), len(all))
			}
			if last := all[len(all)-1]; !strings.HasPrefix(tr.By, last.By) || !strings.HasPrefix(tr.CallID, last.CallID) {
				t.Fatalf("%+v is not %+v", last, tr)
			}
		}
	})
}

// FuzzHistory reads bytes that are no history.
func FuzzHistory(f *testing.F) {
	f.Add(string(history("").with(Transition{State: Early, At: begin, Source: "s", CallID: "k"}, 8)))
	f.Add("\x05\x02\x01")
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, text string) {
		h := history(text)
		_ = h.transitions()
		if all := h.with(Transition{State: Early, At: begin}, 8).transitions(); len(all) == 0 || all[len(all)-1].State != Early {
			t.Fatalf("%+v", all)
		}
	})
}

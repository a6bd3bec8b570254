package presence

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestFirstAtOnceThenTheLatest(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a"))
	s.said = nil
	s.do(ring("c", Early)).heard("dialog early a")
	s.pass(50 * ms).do(ring("c", Confirmed)).do(ring("d", Early)).do(ring("d", Terminated)).heard()
	if since := s.e.Subscriptions()[0].Behind(); !since.Equal(s.now) {
		t.Fatalf("behind since %v", since)
	}
	s.pass(149 * ms).heard().pass(ms).heard("dialog confirmed a")
	if !s.e.Subscriptions()[0].Behind().IsZero() {
		t.Fatal("still behind")
	}
	s.pass(time.Second).heard()
}

func TestBackToWhatIsKnown(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(watch(Presence, "p"))
	s.said = nil
	s.do(SetManual{Confirmed}).do(SetManual{Terminated}).do(SetManual{Confirmed}).heard("dialog confirmed a", "presence confirmed p")
	s.pass(time.Second).heard()
}

func TestOnlyWhoseDocumentChanged(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "d")).do(watch(Presence, "p")).do(watch(MessageSummary, "m")).do(ring("a", Confirmed)).pass(time.Second)
	s.said = nil
	s.do(ring("b", Confirmed)).heard("dialog confirmed d")
	s.pass(time.Second).do(RegisterEvent{Name: "n", State: Offline}).heard("presence confirmed p")
	s.pass(time.Second).do(RegisterEvent{Name: "n", State: Online}).heard("presence confirmed p")
	s.do(CallEvent{CallID: "b", Expires: 172800}).heard() // a longer lease is in no document
}

func TestFiveASecond(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a"))
	s.said = nil
	for i := range 1000 {
		s.do(SetManual{[]State{Early, Confirmed}[i%2]}).pass(ms)
	}
	// At 0, 200, … 1000 ms: both ends of the second count.
	if n := len(s.said); n < 5 || n > 6 {
		t.Fatalf("%d in a second", n)
	}
	if s.pass(time.Second); s.said[len(s.said)-1] != "dialog confirmed a" {
		t.Fatalf("the last was not told: %v", s.said)
	}
}

func TestMaxRate(t *testing.T) { // RFC 6446 §4
	s := newStage(t)
	ev := watch(Dialog, "a")
	ev.MaxRate = 100 // one in ten seconds
	s.do(ev)
	s.said = nil
	s.do(ring("c", Early)).pass(9 * time.Second).heard().pass(time.Second).heard("dialog early a")
	if s.do(ring("c", Confirmed)); s.eff.Coalesced != 0 {
		t.Errorf("one change that is held back is counted as %d that were told together", s.eff.Coalesced)
	}
	if s.do(ring("c", Terminated)).do(ring("d", Early)); s.eff.Coalesced != 1 {
		t.Errorf("a further change replaced %d that were held back", s.eff.Coalesced)
	}
	s.pass(10 * time.Second).said = nil
	s.do(ev).heard("dialog early a") // a SUBSCRIBE is answered all the same
}

func TestMinRate(t *testing.T) { // RFC 6446 §5
	s := newStage(t)
	ev := watch(Dialog, "a")
	ev.MinRate = 100
	s.do(ev)
	s.said = nil
	s.pass(9 * time.Second).heard().pass(time.Second).heard("dialog terminated a").pass(5 * time.Second)
	s.do(ring("c", Early)).heard("dialog early a").pass(9 * time.Second).heard().pass(time.Second).heard("dialog early a")
}

func TestAClockThatGoesBackSilencesNoOne(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(ring("c", Early))
	s.said = nil
	s.now = s.now.Add(-time.Hour)
	s.do(ring("c", Confirmed)).pass(200 * ms).heard("dialog confirmed a")
}

// What the budget of the account holds back is told as one in the extension's turn, and nothing is lost. The extension asks for one turn,
// however often it changes until then. SUBSCRIBEs are answered at once.
func TestAccountBudget(t *testing.T) {
	s := newStage(t)
	asked, turn := []int{}, time.Duration(0)
	s.rules.Tell = func(realm string, n int, now time.Time) time.Time {
		if realm != "acme.example.com" || !now.Equal(s.now) {
			t.Errorf("%s is asked about at %v", realm, now)
		}
		asked = append(asked, n)
		return now.Add(turn)
	}
	s.do(watch(Dialog, "a")).do(watch(Dialog, "b")).do(watch(Presence, "p"))
	s.said = nil
	s.do(ring("c", Early)).heard("dialog early a,b", "presence early p")
	turn = 3 * time.Second
	s.pass(time.Second).do(ring("c", Confirmed)).heard()
	if since := s.e.Subscriptions()[0].Behind(); !since.Equal(s.now) {
		t.Errorf("a watcher whose account holds a change back is behind since %v", since)
	}
	s.pass(time.Second).do(ring("d", Early)).heard()
	s.do(watch(Dialog, "e")).heard("dialog early e")
	s.pass(time.Second).do(ring("d", Terminated)).heard()
	turn = 0
	s.pass(999*ms).heard().pass(ms).heard("dialog confirmed a,b,e", "presence confirmed p")
	if len(asked) != 2 || asked[0] != 3 || asked[1] != 3 {
		t.Errorf("turns for %v watchers were asked for", asked)
	}
	for _, w := range s.e.Subscriptions() {
		if !w.Behind().IsZero() {
			t.Errorf("%s is still behind", w.CallID)
		}
	}
	s.pass(time.Minute).heard()
	turn = 24 * time.Hour
	s.do(ring("c", Terminated)).pass(LongestTurn).heard("dialog terminated a,b,e", "presence terminated p")
}

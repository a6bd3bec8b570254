package actors_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

func TestCommitThenTell(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made := s.ask(x, watch("a"), 0)
	read := s.ask(x, actors.Show{}, 0)
	s.silent(made, read)
	s.durable()
	if n := get(s, "a NOTIFY", s.told); n.To != x || n.Sequence != 1000 || len(n.Watchers) != 1 || n.Claim != s.claim {
		t.Errorf("%+v", n)
	}
	s.good(made)
	if a := s.good(read); len(a.Subscriptions) != 1 {
		t.Errorf("the read that came behind does not show it: %+v", a)
	}
}

// One word of the journal stands for all earlier writes; what they hold back leaves in their order.
func TestToldInTheOrderOfCommits(t *testing.T) {
	s := open(t, 100)
	first, second := s.ask(s.extension(0), watch("a"), 0), s.ask(s.extension(1), watch("b"), 0)
	s.silent(first, second)
	get(s, "a write", s.writes)
	s.sys.Durable(s.shard, get(s, "a write", s.writes)) // this and all earlier ones
	for i := range 2 {
		if n := get(s, "a NOTIFY", s.told); n.To != s.extension(i) {
			t.Errorf("%d. told: %v", i, n.To)
		}
	}
	s.good(first)
	s.good(second)
}

// Look shows what a Show shows, and only what would leave at once: it shows nothing that is not durable, nothing without a fresh lease, and
// nothing while the shard is at work or closed.
func TestLook(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	look := func() (seen *actors.Answer) {
		if s.sys.Look(x, func(a *actors.Answer) {
			seen = &actors.Answer{View: a.View, Subscriptions: slices.Clone(a.Subscriptions), Stale: a.Stale}
		}) != (seen != nil) {
			t.Error("Look does not say what it did")
		}
		return seen
	}
	same := func(what string) {
		t.Helper()
		shown := s.good(s.ask(x, actors.Show{}, 0))
		var seen *actors.Answer
		until(t, what, func() bool { seen = look(); return seen != nil }) // the turn that answered may not have ended
		if !reflect.DeepEqual(*seen, shown) {
			t.Errorf("%s: it shows %+v, and Show %+v", what, seen, shown)
		}
	}
	not := func(what string) {
		t.Helper()
		if seen := look(); seen != nil {
			t.Errorf("%s: it shows %+v", what, seen)
		}
	}
	same("an extension that holds nothing")
	made := s.ask(x, watch("a"), 0)
	not("a SUBSCRIBE that is not durable")
	s.durable()
	s.good(made)
	same("a subscription")
	for _, standing := range []actors.Standing{actors.Unsure, actors.CutOff} {
		s.journal.Set(func(j *actorstest.Settings) { j.Standing = standing })
		not("no fresh lease")
	}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	_, goOn := s.busy(s.extension(1))
	not("a turn that runs")
	goOn()
	s.durable()
	s.settle()
	same("after the turn")
	s.sys.Drop(s.shard, 0)
	s.heard()
	not("a closed shard")
}

// busy has the shard of x stand in the turn of a first request until goOn.
func (s *stage) busy(x actors.Address) (first <-chan actors.Answer, goOn func()) {
	s.Helper()
	busy, held := make(chan struct{}), make(chan struct{})
	goOn = sync.OnceFunc(func() { close(held) })
	s.Cleanup(goOn)
	s.journal.Set(func(j *actorstest.Settings) {
		j.OnWrite = func(w actorstest.Write) { s.wrote(w); busy <- struct{}{}; <-held }
	})
	first = s.send(x, watch("a"), 0, false)
	get(s, "the shard to be busy", busy)
	s.journal.Set(func(j *actorstest.Settings) { j.OnWrite = s.wrote })
	return first, goOn
}

func TestFullMailboxRefuses(t *testing.T) {
	s := open(t, 2)
	x := s.extension(0)
	first, goOn := s.busy(x)
	waiting := []<-chan actors.Answer{s.ask(x, watch("b"), 0), s.ask(x, watch("c"), 0)}
	if a := get(s, "a refusal", s.ask(x, watch("d"), 0)); !errors.Is(a.Err, actors.ErrBusy) {
		t.Errorf("a third waiting message is answered %v", a.Err)
	}
	if n := s.counted("lamplight_shard_refused_total"); n != 1 {
		t.Errorf("%v refusals counted", n)
	}
	goOn()
	for range 3 {
		s.durable()
	}
	s.good(first)
	for _, a := range waiting {
		s.good(a)
	}
	if a := s.good(s.ask(x, actors.Show{}, 0)); len(a.Subscriptions) != 3 {
		t.Errorf("%d subscriptions, of 3 that were taken", len(a.Subscriptions))
	}
}

// Whoever lends its goroutine is served behind what was sent before, and not while another turn runs.
func TestLentTurnKeepsItsPlace(t *testing.T) {
	s := open(t, 10)
	x := s.extension(0)
	first, goOn := s.busy(x)
	second := s.send(x, watch("b"), 0, false)
	read := s.ask(x, actors.Show{}, 0)
	goOn()
	s.durable()
	s.durable()
	s.good(first)
	s.good(second)
	if a := s.good(read); len(a.Subscriptions) != 2 {
		t.Errorf("%d subscriptions, of 2 that were sent before", len(a.Subscriptions))
	}
}

// A panic in one extension costs that extension a reload and nobody else anything.
func TestPanicCostsOneReload(t *testing.T) {
	s := open(t, 100)
	x, other := s.extension(0), s.extension(1)
	for _, a := range []actors.Address{x, other} {
		made := s.ask(a, watch("a"), 0)
		s.durable()
		s.good(made)
		get(s, "a NOTIFY", s.told)
	}
	s.journal.Set(func(j *actorstest.Settings) {
		j.OnStanding = func() {
			s.sys.Break(x)
			s.journal.Set(func(j *actorstest.Settings) { j.OnStanding = nil })
		}
	})
	if a := get(s, "an answer", s.ask(x, watch("b"), 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Fatalf("the event that panicked is answered %v", a.Err)
	}
	give := get(s, "a reload", s.reloads)
	if a := get(s, "an answer", s.ask(x, watch("b"), 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("while its memory is broken: %v", a.Err)
	}
	if a := get(s, "an answer", s.ask(x, actors.Show{}, 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("a read of a broken memory: %v, %d subscriptions", a.Err, len(a.Subscriptions))
	}
	if w := s.sys.Window(t.Context(), actors.Query{Realm: x.Realm}, "", nil); w.Covers[s.shard] != 0 {
		t.Errorf("a listing of a broken memory: %+v", w.Rows)
	}
	made := s.ask(other, watch("b"), 0)
	s.durable()
	s.good(made)
	get(s, "the neighbour's NOTIFY", s.told)
	give(s.kept.All(), nil)
	if n := get(s, "a NOTIFY after the reload", s.told); n.To != x {
		t.Errorf("told %v", n.To)
	}
	if a := s.good(s.ask(x, actors.Show{}, 0)); len(a.Subscriptions) != 1 || a.Subscriptions[0].CallID != "a" {
		t.Errorf("after the reload: %+v", a.Subscriptions)
	}
	if n := s.counted("lamplight_extension_panics_total"); n != 1 {
		t.Errorf("%v panics counted", n)
	}
}

// While a claim's outcome is unknown nothing is told, and afterwards all under the new claim (docs/contract/journal.md, rule 8).
func TestPauseHoldsBackUntilResume(t *testing.T) {
	s := open(t, 100)
	made := s.ask(s.extension(0), watch("a"), 0)
	s.sys.Pause(s.shard)
	s.durable()
	s.silent(made)
	again := actors.Claim{Generation: 2, Epoch: s.claim.Epoch}
	s.sys.Resume(s.shard, again, false)
	if n := get(s, "a NOTIFY", s.told); n.Claim != again {
		t.Errorf("told under %+v", n.Claim)
	}
	s.good(made)
}

// An edge that says again and again that it is new is told all once more, not once for each time: what waits to be told
// is bounded.
func TestEdgeUpAgainAndAgain(t *testing.T) {
	s := open(t, 100)
	for i, edge := range []string{"restless", "other"} {
		w := watch("w")
		w.ServerID = edge
		made := s.ask(s.extension(i), w, 0)
		s.durable()
		s.good(made)
		get(s, "a NOTIFY", s.told)
	}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Unsure })
	for range 50 {
		s.sys.RenotifyEdge("restless")
	}
	s.sys.RenotifyEdge("other")
	s.heard()
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	for _, x := range []actors.Address{s.extension(0), s.extension(1)} {
		if n := get(s, "a NOTIFY", s.told); n.To != x {
			t.Fatalf("%v is told, not %v", n.To, x)
		}
	}
}

// When an edge drains, the subscriptions end that are tied to a connection to it. Their watchers are told so when that is durable.
func TestEndTied(t *testing.T) {
	s := open(t, 100)
	for i, route := range []string{"<sip:tcp.4f2a.17@lamplight;lr>", "<sip:udp.0.10.0.0.9:5060@lamplight;lr>"} {
		w := watch("w")
		w.ProxyRoute = route
		made := s.ask(s.extension(i), w, 0)
		s.durable()
		s.good(made)
		get(s, "a NOTIFY", s.told)
	}
	s.sys.EndTied("other")
	s.sys.EndTied("edge")
	ticket := get(s, "a write", s.writes)
	s.silent()
	s.sys.Durable(s.shard, ticket)
	if n := get(s, "the last NOTIFY", s.told); n.To != s.extension(0) || n.End != "deactivated" {
		t.Errorf("told %+v", n)
	}
	if a := s.good(s.ask(s.extension(1), actors.Show{}, 0)); len(a.Subscriptions) != 1 || len(s.told)+len(s.writes) > 0 {
		t.Errorf("the other one: %+v, %d told", a.Subscriptions, len(s.told))
	}
}

// A clock that is put back holds nobody up who waits for the lease.
func TestClockPutBack(t *testing.T) {
	s := open(t, 100)
	s.journal.Set(func(j *actorstest.Settings) {
		j.Standing = actors.Unsure
		j.OnStanding = func() {
			s.sys.TickedAt(s.shard, time.Now().Add(time.Hour)) // by the clock as it was
			s.journal.Set(func(j *actorstest.Settings) { j.OnStanding = nil })
		}
	})
	answer := s.ask(s.extension(0), actors.Show{}, 0)
	s.heard()
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	s.good(answer)
}

// A claim may be spent before the shard has heard of its pause: what then finds no number is told after Resume, even
// if nothing of it had to be kept.
func TestToldThoughTheClaimWasSpentMeanwhile(t *testing.T) {
	s := open(t, 100)
	acked := s.ask(s.extension(0), watch("w"), 0)
	s.durable()
	s.good(acked)
	get(s, "the first NOTIFY", s.told)
	asked := make(chan struct{}, 100)
	s.journal.Set(func(j *actorstest.Settings) { j.Silent, j.OnNumber = true, func() { asked <- struct{}{} } })
	s.sys.RenotifyEdge("edge")
	get(s, "the second NOTIFY to be made", asked)
	s.journal.Set(func(j *actorstest.Settings) { j.Silent = false })
	s.sys.Pause(s.shard)
	s.sys.Resume(s.shard, actors.Claim{Generation: 2, Epoch: time.Unix(1, 0)}, false)
	if n := get(s, "the second NOTIFY", s.told); n.Claim.Generation != 2 {
		t.Errorf("%+v", n)
	}
}

func TestWaitCountsWhatTheWatchersAnswered(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	for _, call := range []string{"a", "b", "c"} {
		made := s.ask(x, watch(call), 0)
		s.durable()
		s.good(made)
		get(s, "a NOTIFY", s.told)
	}
	set := s.ask(x, presence.SetManual{State: presence.Early}, patience)
	s.durable()
	sequence := get(s, "a NOTIFY", s.told).Sequence
	for call, reply := range map[string]int{"a": 200, "b": 486} {
		s.good(s.ask(x, presence.Notified{CallID: call, Sequence: sequence, Reply: reply}, 0))
	}
	s.good(s.ask(x, presence.Notified{CallID: "c", Sequence: sequence - 1, Reply: 200}, 0)) // of the NOTIFY before
	if len(set) > 0 {
		t.Fatalf("answered although one watcher has not: %+v", <-set)
	}
	s.good(s.ask(x, presence.Notified{CallID: "c", Sequence: sequence, Reply: 202}, 0))
	if a := s.good(set); a.Notified != 3 || a.Acked != 2 || a.Failed != 1 {
		t.Errorf("%+v", a)
	}
	set = s.ask(x, presence.SetManual{State: presence.Confirmed}, time.Millisecond)
	s.durable()
	if a := s.good(set); a.Notified == 0 || a.Acked+a.Failed != 0 {
		t.Errorf("nobody answered in time: %+v", a)
	}
}

// Who waits for a commit when the shard goes may or may not see it happen; who only read was not served.
func TestDropAnswersWhoWaits(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made, read := s.ask(x, watch("a"), 0), s.ask(x, actors.Show{}, 0)
	surely := s.ask(s.extension(1), watch("b"), 0) // the journal says that this one was not kept
	s.silent(made, read)
	s.sys.Drop(s.shard, 1)
	if a := get(s, "an answer", surely); !errors.Is(a.Err, actors.ErrNotMine) {
		t.Errorf("the write that was refused: %v", a.Err)
	}
	if a := get(s, "an answer", made); !errors.Is(a.Err, actors.ErrUnknown) {
		t.Errorf("the write: %v", a.Err)
	}
	if a := get(s, "an answer", read); !errors.Is(a.Err, actors.ErrNotMine) {
		t.Errorf("the read: %v", a.Err)
	}
}

// A read that waits for a change shows that change, and none that came later and is not kept yet.
func TestReadShowsNothingThatIsNotKept(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	first := s.ask(x, presence.SetManual{State: presence.Early}, 0)
	read := s.ask(x, actors.Show{}, 0)
	second := s.ask(x, presence.SetManual{State: presence.Confirmed}, 0)
	s.durable()
	s.good(first)
	if a := s.good(read); a.View.State != presence.Early {
		t.Errorf("the read shows %v, which is not kept", a.View.State)
	}
	s.durable()
	s.good(second)
}

// A shard that is handed over takes nothing more and says when all is kept and told (docs/contract/journal.md, rule 11).
func TestFlush(t *testing.T) {
	s := open(t, 100)
	made := s.ask(s.extension(0), watch("a"), 0)
	s.settle()
	s.journal.Set(func(j *actorstest.Settings) { j.Mine = func(int) bool { return false } })
	s.sys.Flush(s.shard)
	if a := get(s, "an answer", s.ask(s.extension(1), watch("b"), 0)); !errors.Is(a.Err, actors.ErrNotMine) {
		t.Errorf("a request to a shard that is handed over: %v", a.Err)
	}
	if len(s.flushed) > 0 {
		t.Fatal("flushed with a write on its way")
	}
	s.durable()
	s.good(made)
	get(s, "the end of the flush", s.flushed)
}

// At the end of the numbers all subscriptions end, and what comes meanwhile waits for the new beginning (rule 8).
func TestEndOfNumbers(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made, set := s.ask(x, watch("a"), 0), s.ask(x, presence.SetManual{State: presence.Early}, 0)
	s.durable()
	s.durable()
	s.good(made)
	s.good(set)
	get(s, "a NOTIFY", s.told)
	get(s, "a NOTIFY", s.told)
	s.sys.Resume(s.shard, actors.Claim{Generation: 2, Epoch: s.claim.Epoch}, true)
	anew := s.ask(x, watch("b"), 0)
	s.durable()
	if n := get(s, "the last NOTIFY", s.told); n.End != "deactivated" {
		t.Errorf("told %+v", n)
	}
	get(s, "the end of the flush", s.flushed)
	s.sys.Resume(s.shard, actors.Claim{Generation: 3, Epoch: s.claim.Epoch}, false)
	s.durable()
	s.good(anew)
	a := s.good(s.ask(x, actors.Show{}, 0))
	if len(a.Subscriptions) != 1 || a.Subscriptions[0].CallID != "b" || a.View.State != presence.Early {
		t.Errorf("after the new beginning: %+v", a)
	}
}

func TestClosedShardServesWhenItOpens(t *testing.T) {
	s := closed(t, 100)
	read := s.ask(s.extension(0), actors.Show{}, 0)
	e := presence.New("acme.test", s.extension(0).User, s.sys.Rules())
	fx, err := e.Apply(watch("a"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stored := []actors.Stored{{Kind: fx.Records[0].Kind, Data: fx.Records[0].Data, At: time.Now()}, {Kind: presence.KindCall, Data: []byte("no record")}}
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim, Records: stored, All: true})
	if a := s.good(read); len(a.Subscriptions) != 1 || a.Subscriptions[0].CallID != "a" {
		t.Errorf("%+v", a.Subscriptions)
	}
	if n := get(s, "a NOTIFY to all after the takeover", s.told); n.To != s.extension(0) {
		t.Errorf("told %v", n.To)
	}
}

func TestCutOffReadsStaleAndRefusesWrites(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made := s.ask(x, watch("a"), 0)
	s.durable()
	s.good(made)
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.CutOff })
	if a := s.good(s.ask(x, actors.Show{}, 0)); !a.Stale || len(a.Subscriptions) != 1 {
		t.Errorf("%+v", a)
	}
	if a := get(s, "an answer", s.ask(x, presence.SetManual{State: presence.Early}, 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("a write: %v", a.Err)
	}
}

// A command or news that changes nothing has no write that vouches for it, so only a fresh lease does (docs/contract/journal.md,
// rule 1). It waits while the lease is not fresh. When NATS is then found away it is refused, for the other side of a cut may
// have changed the state; when the lease is fresh again it is answered.
func TestRule1NothingChangedNeedsAFreshLease(t *testing.T) {
	const call = "k1"
	now := time.Now()
	ringing := presence.CallEvent{CallID: call, State: presence.Early, Timestamp: now, Expires: 60}
	for name, m := range map[string]actors.Message{
		"a set of the present state":          presence.SetManual{State: presence.Early},
		"a reset of what is dark":             presence.Reset{},
		"a register's present state":          presence.RegisterEvent{Name: "park", State: presence.Confirmed, Timestamp: now},
		"a mailbox's present counts":          presence.MailboxEvent{Source: "box@acme.test", New: 2},
		"an unsubscribe of nothing":           presence.Subscribe{CallID: "none", From: "1@acme.test", ServerID: "edge"},
		"a reset that tells a watcher again":  presence.Reset{},
		"news of a call that is known":        ringing,
		"the end of a realm that has nothing": presence.End{Reason: "noresource"},
		"a reply of a watcher":                presence.Notified{CallID: "none", Reply: 200},
	} {
		for _, then := range []actors.Standing{actors.CutOff, actors.Fresh} {
			t.Run(fmt.Sprintf("%s, standing %d", name, then), func(t *testing.T) {
				s := open(t, 100)
				s.journal.Set(func(j *actorstest.Settings) { j.Hold = false })
				x := s.extension(0)
				switch m.(type) {
				case presence.Reset: // of what is dark
					if name == "a reset that tells a watcher again" {
						s.good(s.ask(x, watch("a"), 0))
						get(s, "the first NOTIFY", s.told)
					}
				case presence.End:
				case presence.CallEvent:
					s.good(s.ask(x, ringing, 0))
				case presence.Subscribe, presence.Notified:
				default:
					s.good(s.ask(x, m, 0))
				}
				written := len(s.writes)
				s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Unsure })
				answer := s.ask(x, m, 0)
				s.heard()
				if len(answer) > 0 {
					t.Fatalf("answered while the lease was not fresh: %+v", <-answer)
				}
				s.journal.Set(func(j *actorstest.Settings) { j.Standing = then })
				a := get(s, "an answer", answer)
				if then == actors.CutOff && !errors.Is(a.Err, actors.ErrUnavailable) || then == actors.Fresh && a.Err != nil || a.Stale {
					t.Errorf("%+v", a)
				}
				if len(s.writes) != written {
					t.Error("it wrote something, so it is no command that changes nothing")
				}
			})
		}
	}
}

func TestDeadlinePassed(t *testing.T) {
	s := open(t, 100)
	answer := make(chan actors.Answer, 1)
	s.sys.Do(actors.Request{To: s.extension(0), Message: watch("a"), Deadline: time.Now().Add(-time.Second)}, func(a actors.Answer) { answer <- a }, false)
	if a := get(s, "an answer", answer); !errors.Is(a.Err, actors.ErrTimeout) {
		t.Errorf("%v", a.Err)
	}
	s.silent()
	if len(s.writes) > 0 {
		t.Error("a command past its deadline was applied")
	}
}

// A shard that is asked all the time still tells again who may not have been told (docs/contract/journal.md, rule 7).
func TestBusyShardIsStillLookedAfter(t *testing.T) {
	s := closed(t, 100)
	x := s.extension(0)
	e := presence.New(x.Realm, x.User, s.sys.Rules())
	fx, err := e.Apply(watch("a"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim, Records: []actors.Stored{{Kind: fx.Records[0].Kind, Data: fx.Records[0].Data, At: time.Now()}}, All: true})
	for asked := 0; len(s.told) == 0; asked++ {
		s.settle()
		if asked == 20_000 { // at most a few ms of them fit between two ticks
			t.Fatal("requests in quick succession kept the watcher from being told")
		}
	}
}

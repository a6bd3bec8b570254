package ownership

import (
	"slices"
	"testing"
	"time"
)

// script drives one Machine by hand. Its writes are accepted at once, unless the test reports something else.
type script struct {
	*testing.T
	m     *Machine
	now   Time
	seq   uint64
	wall  time.Time // the stream's clock
	acted []Action  // all Actions so far
}

// newScript starts node a, lets it join, and tells it that the given nodes are members too. Of two nodes, the one with the
// greater name should hold a range.
func newScript(t *testing.T, nodes ...string) *script {
	s := &script{T: t, now: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	n := uint64(0)
	s.m = New(Config{Node: "a", Ranges: []int{0, 1}, Quiet: time.Millisecond, Random: func() uint64 { n++; return n * 7919 },
		Owner: func(_ int, nodes []string) string { return slices.Max(append([]string{""}, nodes...)) }})
	s.do(s.m.Start(s.now))
	s.do(s.m.Synced(s.now))
	s.do(s.m.Members(s.now, append([]string{"a"}, nodes...)))
	s.pass(100 * time.Millisecond)
	return s
}

// do carries out the Machine's Actions as a stream would, and notes them.
func (s *script) do(actions []Action) {
	for _, a := range actions {
		s.acted = append(s.acted, a)
		switch a.Kind {
		case ReadLease:
			s.do(s.m.LeaseRead(s.now, Lease{}, 0, time.Time{}, true))
		case WriteLease:
			s.seq++
			s.do(s.m.LeaseWritten(s.now, a.Sent, a.Lease, s.seq, Accepted))
			s.do(s.m.LeaseSeen(s.now, a.Lease, s.seq, s.wall))
		case WriteClaim:
			s.seq++
			s.do(s.m.ClaimWritten(s.now, a.Range, a.Claim, s.seq, Accepted))
			s.do(s.m.ClaimSeen(s.now, a.Range, a.Claim, s.seq, s.wall))
		case Replay:
			s.do(s.m.Replayed(s.now, a.Range, a.Claim))
		}
	}
}

// pass lets time go by. The others write their heartbeats meanwhile.
func (s *script) pass(d time.Duration, others ...string) {
	for end := s.now + d; s.now < end; {
		s.now += 20 * time.Millisecond
		s.wall = s.wall.Add(20 * time.Millisecond)
		for _, n := range others {
			s.seq++
			s.do(s.m.LeaseSeen(s.now, Lease{Node: n, Incarnation: n + "1"}, s.seq, s.wall))
		}
		s.do(s.m.Tick(s.now))
	}
}

// last returns the newest Action of a kind for a range.
func (s *script) last(k Kind, id int) Action {
	s.Helper()
	for i := len(s.acted) - 1; i >= 0; i-- {
		if s.acted[i].Kind == k && s.acted[i].Range == id {
			return s.acted[i]
		}
	}
	s.Fatalf("no action %d for range %d in %+v", k, id, s.acted)
	return Action{}
}

func (s *script) count(k Kind, id int) (n int) {
	for _, a := range s.acted {
		if a.Kind == k && a.Range == id {
			n++
		}
	}
	return n
}

// When the numbers come to their end, all subscriptions of the range end, and it begins again from 0 (rule 8).
func TestRule8EndOfNumbers(t *testing.T) {
	s := newScript(t)
	s.seq++
	s.do(s.m.ClaimSeen(s.now, 0, Claim{Node: "z", Incarnation: "z1", Nonce: 1, Generation: 9, Base: LastBase, Released: true}, s.seq, s.wall))
	s.pass(400 * time.Millisecond)
	open := s.last(Open, 0)
	if !open.End || open.Claim.Base != LastBase+TakeOver {
		t.Fatalf("%+v", open)
	}
	if n, _, ok, _ := s.number(0); !ok || n >= 1<<31 {
		t.Fatalf("the last NOTIFYs get %d, %v", n, ok)
	}
	s.do(s.m.Flushed(s.now, 0))
	again := s.last(Resume, 0)
	if again.End || again.Claim.Base != 0 || again.Claim.Generation != open.Claim.Generation+1 {
		t.Fatalf("%+v", again)
	}
	if n, _, ok, _ := s.number(0); !ok || n != 1 {
		t.Errorf("the first number is %d, %v", n, ok)
	}
}

// number draws a number of range 0 under its newest claim.
func (s *script) number(counter uint32) (sequence, next uint32, ok bool, todo []Action) {
	return s.m.Number(s.now, 0, s.m.ranges[0].claim.Generation, counter)
}

// A range that has not heard yet that it was claimed again gets no number. Its counters belong to the claim before: on the
// new base they would give numbers above those that come after (rule 8).
func TestRule8NoNumberOfAClaimThatIsNotKnownYet(t *testing.T) {
	s := newScript(t)
	before := s.last(Open, 0).Claim
	s.do(s.m.Spent(s.now, 0))
	after := s.last(Resume, 0).Claim
	if after.Generation != before.Generation+1 {
		t.Fatalf("%+v after %+v", after, before)
	}
	if n, _, ok, _ := s.m.Number(s.now, 0, before.Generation, 200); ok {
		t.Errorf("%d under generation %d, which is over", n, before.Generation)
	}
	if n, _, ok, _ := s.m.Number(s.now, 0, after.Generation, 0); !ok || n != after.Base+1 {
		t.Errorf("%d, %v after base %d", n, ok, after.Base)
	}
}

// When a counter is full, the range is claimed again, with a base above all numbers that were given out (rule 8).
func TestRule8FullCounter(t *testing.T) {
	s := newScript(t)
	before := s.last(Open, 0).Claim
	highest, _, ok, _ := s.number(Counters - 1)
	if !ok {
		t.Fatal("the last number of a claim is not given out")
	}
	_, _, ok, todo := s.number(Counters)
	if ok {
		t.Fatal("a number past the last")
	}
	s.do(todo)
	after := s.last(Resume, 0).Claim
	if after.Base < highest || after.Generation != before.Generation+1 {
		t.Errorf("base %d after %d was given out", after.Base, highest)
	}
}

// A claim younger than 10 s passes on from when the extensions are to be told again; an older one does not (rule 7).
func TestRule7PassesTheLimitOn(t *testing.T) {
	for age, passed := range map[time.Duration]bool{time.Second: true, 15 * time.Second: false} {
		s := newScript(t)
		limit := s.wall.Add(-time.Hour)
		s.seq++
		s.do(s.m.LeaseSeen(s.now, Lease{Node: "z", Incarnation: "z1"}, s.seq, s.wall.Add(age)))
		s.seq++
		s.do(s.m.ClaimSeen(s.now, 0, Claim{Node: "z", Incarnation: "z1", Nonce: 1, Generation: 9, Since: limit}, s.seq, s.wall))
		s.pass(2 * time.Second)
		since := s.last(Open, 0).Since
		if passed != since.Equal(limit) || !passed && !since.Equal(s.wall.Add(age-2*time.Second-UntoldWindow)) {
			t.Errorf("a claim %v old gives %v", age, since)
		}
	}
}

// A hand-over begins when its reason has stood for 500 ms. The range is released only after it is flushed, and the claim
// names the next owner (rule 11).
func TestRule11HandOver(t *testing.T) {
	s := newScript(t)
	s.do(s.m.Members(s.now, []string{"a", "b"})) // b should hold the ranges
	s.pass(300*time.Millisecond, "b")
	if s.count(Flush, 0) > 0 {
		t.Fatal("handed over before the reason has stood for long enough")
	}
	s.pass(500*time.Millisecond, "b")
	if s.last(Flush, 0).Node != "b" || s.m.Mine(0) {
		t.Fatal("not handed over")
	}
	if s.last(WriteClaim, 0).Claim.Released {
		t.Fatal("released before it was flushed")
	}
	s.do(s.m.Flushed(s.now, 0))
	if c := s.last(WriteClaim, 0).Claim; !c.Released || c.Next != "b" || s.count(Drop, 0) != 1 {
		t.Errorf("%+v", c)
	}
}

// A node that lost NATS but not gossip is expelled after 3 s of silence, but not if our own heartbeats failed meanwhile
// (rule 11).
func TestRule11SilentNode(t *testing.T) {
	expelled := func(s *script) bool {
		return slices.ContainsFunc(s.acted, func(a Action) bool { return a.Kind == WriteLease && a.Node == "0" })
	}
	for _, away := range []bool{false, true} {
		s := newScript(t, "0") // a should hold its range
		s.pass(200*time.Millisecond, "0")
		s.seq++
		s.do(s.m.ClaimSeen(s.now, 0, Claim{Node: "0", Incarnation: "01", Nonce: 1, Generation: 9}, s.seq, s.wall))
		if away { // for a while node a sees no heartbeat, and none of its own is accepted
			s.now += 5 * time.Second
			s.wall = s.wall.Add(5 * time.Second)
			s.pass(2500 * time.Millisecond)
			if expelled(s) {
				t.Error("expelled for a silence that was our own")
			}
			continue
		}
		s.pass(2500 * time.Millisecond)
		if expelled(s) {
			t.Error("expelled before 3 s")
		}
		s.pass(time.Second)
		if !expelled(s) {
			t.Error("not expelled")
		}
	}
}

// A Lane keeps the order of its writes, whatever the answers are (rules 4, 5 and 9).
func TestLane(t *testing.T) {
	for name, c := range map[string]struct {
		answers []Outcome // to the same group, sent anew after each
		kept    uint64
		verdict Verdict
		doubt   int
	}{
		"accepted":               {[]Outcome{Accepted}, 3, SendNext, 0},
		"unknown":                {[]Outcome{Unknown}, 0, SpendClaim, 3},
		"busy":                   {[]Outcome{Busy}, 0, SendLater, 0},
		"fenced":                 {[]Outcome{Refused}, 0, LoseRange, 0},
		"fenced, before unknown": {[]Outcome{Unknown, Refused}, 0, LoseRange, 3},
		"kept, before unknown":   {[]Outcome{Unknown, Accepted}, 3, SendNext, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var l Lane[int]
			if l.Add(0) {
				t.Fatal("a closed lane takes writes")
			}
			l.Open(7)
			for i := range 4 {
				l.Add(i)
			}
			for i, o := range c.answers {
				group, fence, writes := l.Send(3)
				if fence != 7 || len(writes) != 3 || len(l.Ready()) != 0 {
					t.Fatal(fence, writes, l.Ready())
				}
				kept, v, ok := l.Answer(group, o)
				if last := i == len(c.answers)-1; !ok || last && (kept != c.kept || v != c.verdict) {
					t.Errorf("answered %v, kept %d, verdict %d", ok, kept, v)
				}
				if _, _, late := l.Answer(group, Accepted); late {
					t.Error("a late answer counts")
				}
			}
			if ready := l.Ready(); len(ready) != 4-int(c.kept) || ready[0] != int(c.kept) {
				t.Errorf("to be written: %v", ready)
			}
			if doubt := l.Close(); len(doubt) != c.doubt {
				t.Errorf("in doubt: %v", doubt)
			}
		})
	}
}

// garbage puts a claim of range 0 into the stream that can't be read, and returns its sequence.
func (s *script) garbage() uint64 {
	s.seq++
	s.do(s.m.ClaimSeen(s.now, 0, Claim{Unreadable: true}, s.seq, s.wall))
	return s.seq
}

// The holder of a claim that can't be read any more claims the range again at once, on condition of its sequence. Generation
// and Sequences go on, and all extensions are told again (rule 10).
func TestRule10UnreadableClaimOfOurs(t *testing.T) {
	s := newScript(t)
	before := s.last(Open, 0).Claim
	highest, _, _, _ := s.number(5)
	seq := s.garbage()
	if s.m.Holder(0) != "" || s.count(Drop, 0) != 1 {
		t.Error("the range is served under a claim that can't be read")
	}
	s.pass(100 * time.Millisecond)
	w, open := s.last(WriteClaim, 0), s.last(Open, 0)
	if w.Expect != seq || open.Claim.Generation != before.Generation+1 || open.Claim.Base < highest || !open.All || open.End {
		t.Errorf("%+v, %+v after %+v", w, open, before)
	}
}

// Where another node held the range, that node has 10 s to claim it again, as long as it lives. A dead one is expelled first, and
// one that we do not know of has the 10 s too. Numbers go on above those of all claims that we may have missed (rule 10).
func TestRule10UnreadableClaimOfAnother(t *testing.T) {
	for _, lives := range []bool{true, false} {
		s := newScript(t, "0") // a should hold its range
		s.pass(200*time.Millisecond, "0")
		s.seq++
		s.do(s.m.ClaimSeen(s.now, 0, Claim{Node: "0", Incarnation: "01", Nonce: 1, Generation: 9, Base: 100}, s.seq, s.wall))
		s.seq += 3 // it may have been claimed three times meanwhile
		seq, before := s.garbage(), s.count(WriteClaim, 0)
		who := []string{"0"}
		if !lives {
			who = []string{"1"} // it may have claimed the range, and we may not have seen that
		}
		s.pass(9900*time.Millisecond, who...)
		if n := s.count(WriteClaim, 0) - before; n > 0 {
			t.Fatalf("claimed before the holder had its 10 s: %+v", s.last(WriteClaim, 0))
		}
		expelled := slices.ContainsFunc(s.acted, func(a Action) bool { return a.Kind == WriteLease && a.Node == "0" && a.Lease.Expelled })
		if expelled == lives {
			t.Errorf("the holder lives: %v, expelled: %v", lives, expelled)
		}
		s.pass(300*time.Millisecond, who...)
		w := s.last(WriteClaim, 0)
		if w.Expect != seq || w.Claim.Generation != 9+3+1 || w.Claim.Base != 100+4*TakeOver || !w.Claim.All {
			t.Errorf("%+v, want expect %d", w, seq)
		}
	}
}

// A node that was expelled without knowing it may see a claim that can't be read before it learns that: the claims of the node that expelled it
// were replaced. It does not take the range for its own, and its numbers go on above those of all claims that it has missed (rules 8 and 10).
func TestRule10UnreadableClaimOfOursNoMore(t *testing.T) {
	s := newScript(t)
	s.seq += 5 // another node expels this one and claims the range four times
	expelled := Lease{Node: "a", Incarnation: s.m.Incarnation(), Expelled: true}
	at := s.seq - 4
	seq := s.garbage()
	for _, a := range s.m.Tick(s.now) {
		if a.Kind != WriteLease {
			t.Fatalf("it acts before it knows whether it was expelled: %+v", a)
		}
		s.m.LeaseWritten(s.now, a.Sent, a.Lease, 0, Refused)
	}
	s.do(s.m.LeaseRead(s.now, expelled, at, s.wall, true))
	s.pass(2 * UnreadableWait)
	if w := s.last(WriteClaim, 0); w.Expect != seq || w.Claim.Generation <= 1+4 || w.Claim.Base < 4*TakeOver {
		t.Errorf("%+v", w)
	}
}

// A node that knows no claim before the one that can't be read ends all subscriptions of the range, because nobody knows the
// numbers that were given out (rules 8 and 10).
func TestRule10UnreadableClaimAndNoneKnown(t *testing.T) {
	s := newScript(t)
	s.do(s.m.Recreated(s.now, 1))
	seq := s.garbage()
	s.do(s.m.Synced(s.now))
	s.pass(time.Second)
	open := s.last(Open, 0)
	if w := s.last(WriteClaim, 0); w.Expect != seq || !open.End || open.Claim.Base > MaxBase-Counters || open.Claim.Generation < 1<<40 {
		t.Errorf("%+v, %+v", w, open)
	}
	s.do(s.m.Flushed(s.now, 0))
	if again := s.last(Resume, 0); again.End || again.Claim.Base != 0 || again.Claim.Generation <= open.Claim.Generation {
		t.Errorf("%+v", again)
	}
}

// Another node's lease that can't be read says nothing of its incarnation: its ranges are taken only after it was silent, and it
// was expelled on condition of what stands there (rules 2 and 10).
func TestRule10UnreadableLease(t *testing.T) {
	s := newScript(t) // gossip does not show node 0
	s.seq++
	s.do(s.m.ClaimSeen(s.now, 0, Claim{Node: "0", Incarnation: "01", Nonce: 1, Generation: 9}, s.seq, s.wall))
	s.seq++
	garbage, before := s.seq, s.count(WriteClaim, 0)
	s.do(s.m.LeaseSeen(s.now, Lease{Node: "0", Unreadable: true}, garbage, s.wall))
	s.pass(Validity)
	if s.count(WriteClaim, 0) > before {
		t.Fatal("the range was taken from a node that may live")
	}
	s.pass(100 * time.Millisecond)
	if i := slices.IndexFunc(s.acted, func(a Action) bool { return a.Kind == WriteLease && a.Node == "0" }); i < 0 || s.acted[i].Expect != garbage ||
		s.acted[i].Lease.Incarnation != "01" || !s.acted[i].Lease.Expelled || s.acted[i].Lease.Unreadable {
		t.Fatalf("not expelled: %+v", s.acted)
	}
	if s.last(Open, 0).Claim.Generation != 10 {
		t.Error("the range was not taken")
	}
}

// A node whose own lease can't be read any more may have been expelled: it drops its ranges and begins again as a new
// incarnation, on condition of what stands there (rules 1 and 10).
func TestRule10UnreadableLeaseOfOurs(t *testing.T) {
	s := newScript(t)
	before := s.m.Incarnation()
	s.seq++
	l := Lease{Node: "a", Unreadable: true}
	s.m.LeaseSeen(s.now, l, s.seq, s.wall)
	s.do(s.m.LeaseRead(s.now, l, s.seq, s.wall, true))
	i := slices.IndexFunc(s.acted, func(a Action) bool { return a.Kind == WriteLease && a.Lease.Before == before })
	if s.m.Incarnation() == before || s.count(Drop, 0) != 1 || i < 0 || s.acted[i].Expect != s.seq-1 {
		t.Errorf("%+v", s.acted)
	}
	s.pass(300 * time.Millisecond)
	if s.last(Open, 0).Claim.Incarnation != s.m.Incarnation() {
		t.Error("the range was not claimed again")
	}
}

// A process that was killed may have left a heartbeat on its way: its successor waits, and begins when the lease stands still. It stops when the lease
// goes on moving, because another live process has its name.
func TestRule1AnotherProcessOfOurName(t *testing.T) {
	for _, live := range []bool{false, true} {
		m := New(Config{Node: "a", Ranges: []int{0}, Random: func() uint64 { return 1 }, Owner: func(int, []string) string { return "a" }})
		now, seq := time.Hour, uint64(5)
		m.Start(now)
		var did []Kind
		for range 6 {
			for _, a := range m.LeaseRead(now, Lease{Node: "a", Incarnation: "before"}, seq, time.Unix(1, 0), true) {
				did = append(did, a.Kind)
			}
			if len(did) > 0 {
				break
			}
			now += Validity + Guard
			if live || seq == 5 {
				seq++
			}
		}
		want := WriteLease
		if live {
			want = Refuse
		}
		if !slices.Equal(did, []Kind{want}) {
			t.Errorf("live %v: %v, not %v", live, did, want)
		}
	}
}

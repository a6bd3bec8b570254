package presence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(string, ...any)
}

func testRules() *Rules {
	return &Rules{
		NotifyInterval: 200 * time.Millisecond, CallLease: 24 * time.Hour, TombstoneLife: time.Minute,
		MaxWatchers: 100, MaxCalls: 100, MaxTombstones: 1000, Transitions: 8,
	}
}

// stage plays the extension's actor: it keeps the records, tells the watchers and has a clock.
type stage struct {
	t       tb
	e       *Extension
	rules   *Rules
	now     time.Time
	journal map[string][]kept // the newest last
	seq     uint32
	said    []string // what was told since the last call of heard
	eff     Effects  // of the last event

	origin Origin // of the events

	gone map[string]int64 // by switch: the latest moment at which it was declared gone
}

type kept struct {
	Record
	until time.Time // zero: for ever
}

var begin = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func newStage(t tb) *stage {
	rules := testRules()
	s := &stage{t: t, rules: rules, now: begin, journal: map[string][]kept{}, e: New("acme.example.com", "1001", rules), gone: map[string]int64{}}
	rules.Gone = func(name string) int64 { return s.gone[name] }
	return s
}

func (s *stage) try(ev Event) error {
	s.t.Helper()
	if ev, ok := ev.(SwitchGone); ok { // the shard remembers it first
		s.gone[ev.Switch] = max(s.gone[ev.Switch], stamp(ev.Before, s.now.UnixMicro()))
	}
	before := dump(s.e)
	eff, err := s.e.ApplyFrom(ev, s.origin, s.now)
	s.eff = eff
	if err != nil {
		if after := dump(s.e); after != before || len(eff.Records)+len(eff.Notices) > 0 {
			s.t.Fatalf("%T was refused (%v) and changed\n%s\nto\n%s", ev, err, before, after)
		}
		return err
	}
	for _, r := range eff.Records {
		k := kept{Record: r}
		if len(r.Data) == 0 || r.Life != 0 && r.Life < time.Second || r.Tombstone && r.Life == 0 {
			s.t.Fatalf("record %q: %d bytes, life %v", r.Key, len(r.Data), r.Life)
		}
		if r.Life != 0 {
			k.until = s.now.Add(r.Life)
		}
		s.journal[string(r.Kind)+r.Key] = append(s.journal[string(r.Kind)+r.Key], k)
	}
	for _, n := range eff.Notices {
		s.seq++
		var ids []string
		for _, w := range n.Watchers {
			if w.Package != n.Package {
				s.t.Fatalf("a %v watcher in a notice for %v", w.Package, n.Package)
			}
			w.Told(s.seq)
			ids = append(ids, w.CallID)
		}
		if len(ids) == 0 || n.View == nil {
			s.t.Fatalf("an empty notice")
		}
		s.said = append(s.said, strings.TrimSpace(fmt.Sprintf("%v %v %s %s", n.Package, n.View.State, strings.Join(ids, ","), n.End)))
	}
	return nil
}

func (s *stage) do(ev Event) *stage {
	s.t.Helper()
	if err := s.try(ev); err != nil {
		s.t.Fatalf("%+v: %v", ev, err)
	}
	return s
}

func (s *stage) refused(ev Event, want error) {
	s.t.Helper()
	if err := s.try(ev); !errors.Is(err, want) {
		s.t.Fatalf("%+v: got %v, want %v", ev, err, want)
	}
}

// pass lets time pass, with every Tick that is due on the way.
func (s *stage) pass(d time.Duration) *stage {
	s.t.Helper()
	end := s.now.Add(d)
	for n := 0; ; n++ {
		next := s.e.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if n > 10_000 {
			s.t.Fatalf("ticks without end at %v", s.now)
		}
		if next.After(s.now) {
			s.now = next
		}
		s.do(Tick{})
		if got := s.e.Next(); !got.IsZero() && !got.After(s.now) {
			s.t.Fatalf("a Tick at %v left itself due at %v", s.now, got)
		}
	}
	s.now = end
	return s
}

// heard compares what was told since.
func (s *stage) heard(want ...string) *stage {
	s.t.Helper()
	if !slices.Equal(s.said, want) {
		s.t.Fatalf("told\n  %s\nwant\n  %s", strings.Join(s.said, "\n  "), strings.Join(want, "\n  "))
	}
	s.said = nil
	return s
}

func (s *stage) lamp(want State) *stage {
	s.t.Helper()
	if got := s.e.View().State; got != want {
		s.t.Fatalf("lamp is %v, want %v", got, want)
	}
	return s
}

// reload plays a restart: it loads a new extension with the records that the journal still holds, in any order. When the life of a key's newest record is over, the journal
// holds nothing of that key: no older record comes back.
func (s *stage) reload() *stage {
	s.t.Helper()
	e := New("acme.example.com", "1001", s.rules)
	for _, all := range s.journal {
		k := all[len(all)-1]
		if !k.until.IsZero() && !k.until.After(s.now) {
			continue
		}
		realm, user, err := ParseAddress(k.Data)
		if err != nil || string(realm) != "acme.example.com" || string(user) != "1001" {
			s.t.Fatalf("address %q %q %v", realm, user, err)
		}
		if err := e.Load(k.Kind, k.Data); err != nil {
			s.t.Fatalf("load %q: %v", k.Key, err)
		}
	}
	e.Loaded(s.now)
	s.e = e
	return s
}

// dump is all of an extension that a restart keeps.
func dump(e *Extension) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", *e.view)
	for _, s := range e.watchers {
		fmt.Fprintf(&b, "%v %q %q %v %v %d %v %d %d %q %q %q %q %d\n", s.Package, s.CallID, s.texts(), s.renewed, s.expires, s.CSeq, s.HasCSeq(),
			s.MaxRate(), s.MinRate(), s.ServerID, s.Queue, s.UserAgent, s.getRare().extra, s.schema)
	}
	if m := e.more; m != nil {
		for _, c := range m.calls {
			fmt.Fprintf(&b, "%+v\n", *c)
		}
		for _, r := range m.registers {
			shown, held := *r, HeldCall{}
			if shown.call != nil {
				shown.call, held = nil, *shown.call
			}
			fmt.Fprintf(&b, "%+v %+v\n", shown, held)
		}
		for _, x := range m.mailboxes {
			fmt.Fprintf(&b, "%+v\n", *x)
		}
		for _, p := range m.published {
			fmt.Fprintf(&b, "%+v\n", *p)
		}
		for _, x := range m.ended {
			fmt.Fprintf(&b, "%+v\n", x)
		}
		if m.manual.state != None {
			fmt.Fprintf(&b, "%+v\n", m.manual)
		}
	}
	return b.String()
}

func watch(pkg Package, id string) Subscribe {
	return Subscribe{Package: pkg, CallID: id, From: id + "@acme.example.com", Contact: "<sip:" + id + "@10.0.0.9:5060>",
		FromTag: "ft", ToTag: "tt", ServerID: "edge-1", Expires: 1800}
}

func ring(id string, state State) CallEvent {
	return CallEvent{CallID: id, State: state, From: "1001@acme.example.com", To: "1002@acme.example.com"}
}

func equalText(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

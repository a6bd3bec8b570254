package chaos

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// These tests forge histories and answers. The checker must find what is wrong with each wrong one, and nothing in the right ones.

// forge makes one operation of a forged history, which began at from and ended at to, in ns.
func forge(k kind, out outcome, worker int, from, to int64) op {
	return op{kind: k, outcome: out, worker: worker, begin: from, end: to}
}

// is, of, sees, marked and waited each set one field of a forged operation.
func (o op) is(state byte) op          { o.state = state; return o }
func (o op) of(call int) op            { o.call = call; return o }
func (o op) sees(lamp string) op       { o.seen = lamp; return o }
func (o op) marked() op                { o.stale = true; return o }
func (o op) waited(d time.Duration) op { o.took = d; return o }

func TestLinearizable(t *testing.T) {
	set := func(out outcome, worker int, from, to int64) op { return forge(opSet, out, worker, from, to) }
	read := func(worker int, from, to int64) op { return forge(opRead, acknowledged, worker, from, to) }
	call := func(worker int, from, to int64) op { return forge(opCall, acknowledged, worker, from, to) }
	for _, c := range []struct {
		name string
		ops  []op
		want porcupine.CheckResult
	}{
		{"nothing happened", []op{read(0, 1, 2).sees(".")}, porcupine.Ok},
		{"a set is read", []op{set(acknowledged, 0, 1, 2).is(early), read(1, 3, 4).sees("e")}, porcupine.Ok},
		{"an acknowledged set is lost", []op{set(acknowledged, 0, 1, 2).is(early), read(1, 3, 4).sees(".")}, porcupine.Illegal},
		{"a set that was refused is there", []op{set(refused, 0, 1, 2).is(early), read(1, 3, 4).sees("e")}, porcupine.Illegal},
		{"a set of unknown fate is there", []op{set(unknown, 0, 1, noEnd).is(early), read(1, 3, 4).sees("e")}, porcupine.Ok},
		{"a set of unknown fate isn't there", []op{set(unknown, 0, 1, noEnd).is(early), read(1, 3, 4).sees(".")}, porcupine.Ok},
		{"a set of unknown fate comes, goes and comes again", []op{set(unknown, 0, 1, noEnd).is(early), read(1, 3, 4).sees("e"), read(1, 5, 6).sees("."),
			read(1, 7, 8).sees("e")}, porcupine.Illegal},
		{"reads at once see it or not", []op{set(acknowledged, 0, 1, 9).is(confirmed), read(1, 2, 5).sees("c"), read(2, 2, 5).sees(".")}, porcupine.Ok},
		{"a read goes back", []op{set(acknowledged, 0, 1, 9).is(confirmed), read(1, 2, 3).sees("c"), read(2, 4, 5).sees(".")}, porcupine.Illegal},
		{"a command that is marked stale counts", []op{set(acknowledged, 0, 1, 2).is(early), set(acknowledged, 1, 3, 4).is(confirmed),
			set(acknowledged, 2, 5, 6).is(early).marked(), read(3, 7, 8).sees("c")}, porcupine.Illegal},
		{"a stale read may go back", []op{set(acknowledged, 0, 1, 9).is(confirmed), read(1, 2, 3).sees("c"), read(2, 4, 5).sees(".").marked()}, porcupine.Ok},
		{"two orders of two sets", []op{set(acknowledged, 0, 1, 9).is(early), set(acknowledged, 1, 1, 9).is(confirmed), read(2, 10, 11).sees("e"),
			read(3, 12, 13).sees("c")}, porcupine.Illegal},
		{"a call comes and goes", []op{call(0, 1, 2).is(early), read(1, 3, 4).sees(".0000e"), call(0, 5, 6).is(terminated), read(1, 7, 8).sees(".")}, porcupine.Ok},
		{"a call's end is lost", []op{call(0, 1, 2).is(early), call(0, 3, 4).is(terminated), read(1, 5, 6).sees(".0000e")}, porcupine.Illegal},
		{"late news revives a call", []op{call(0, 1, 2).is(early), call(1, 3, 4).is(terminated), call(0, 5, 6).is(early), read(1, 7, 8).sees(".0000e")}, porcupine.Illegal},
		{"a call goes back to early", []op{call(0, 1, 2).is(confirmed), read(1, 3, 4).sees(".0000c"), call(0, 5, 6).is(early), read(1, 7, 8).sees(".0000e")}, porcupine.Illegal},
		{"a reset forgets", []op{call(0, 1, 2).of(3).is(early), set(acknowledged, 0, 3, 4).is(early), forge(opReset, acknowledged, 1, 5, 6), read(2, 7, 8).sees(".")}, porcupine.Ok},
		{"a reset is lost", []op{call(0, 1, 2).of(3).is(early), forge(opReset, acknowledged, 1, 5, 6), read(2, 7, 8).sees(".0003e")}, porcupine.Illegal},
		{"a reset and set is torn apart", []op{call(0, 1, 2).is(early), forge(opResetTo, acknowledged, 1, 5, 9).is(confirmed), read(2, 6, 7).sees(".")}, porcupine.Illegal},
		{"set to terminated", []op{set(acknowledged, 0, 1, 2).is(early), set(acknowledged, 0, 3, 4).is(terminated), read(1, 5, 6).sees(".")}, porcupine.Ok},
	} {
		if got, _, _ := linearizable(c.ops); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestOrder checks that the order that explains a history has only what happened before the final read.
func TestOrder(t *testing.T) {
	_, _, order := linearizable([]op{
		forge(opSet, acknowledged, 0, 1, 10).is(early), forge(opSet, acknowledged, 1, 1, 10).is(confirmed), forge(opRead, acknowledged, finalReader, 20, 30).sees("e"),
		forge(opSet, unknown, 2, 25, noEnd).is(terminated),
	})
	if got := fmt.Sprint(order); got != fmt.Sprint([]input{{kind: opSet, state: confirmed}, {kind: opSet, state: early}}) {
		t.Error(got)
	}
}

// forgedPhone is a phone of extension 1001 whose last SUBSCRIBE was acknowledged so long ago.
func forgedPhone(id string, expires int, active bool, age time.Duration) *phone {
	at := time.Now().Add(-age)
	return &phone{extension: &extension{name: "1001"}, callID: id, edge: "edge", cseq: 1, expires: expires, active: active, sentAt: at, ackedAt: at}
}

// listed is a listing with these Call-IDs at extension 1001.
func listed(ids ...string) []byte {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf("%q:{}", id))
	}
	return []byte(`{"subscriptions":{"1001":{"dialog":{` + strings.Join(all, ",") + `}}}}`)
}

func TestJudgeListing(t *testing.T) {
	stands, ended := forgedPhone("stands", 3600, true, time.Minute), forgedPhone("ended", 3600, false, time.Minute)
	lapsed, perhaps := forgedPhone("lapsed", 5, true, time.Minute), forgedPhone("perhaps", 5, true, 26*time.Second)
	all := []*phone{stands, ended, lapsed, perhaps}
	for _, c := range []struct {
		name          string
		listing       []byte
		lost, revived int
	}{
		{"good", listed("stands"), 0, 0},
		{"what may have lapsed is still there", listed("stands", "perhaps"), 0, 0},
		{"lost", listed(), 1, 0},
		{"ended and there", listed("stands", "ended"), 0, 1},
		{"lapsed and there", listed("stands", "lapsed"), 0, 1},
		{"twice", listed("stands", "stands"), 0, 1},
		{"nobody's", listed("stands", "stranger"), 0, 1},
		{"of another extension", []byte(strings.Replace(string(listed("stands")), "1001", "1002", 1)), 1, 0},
	} {
		v := &verdict{}
		if err := v.judgeListing("a", c.listing, all, time.Now(), 0); err != nil || len(v.lost) != c.lost || len(v.revived) != c.revived {
			t.Errorf("%s: %v, lost %q, revived %q", c.name, err, v.lost, v.revived)
		}
		if len(v.faults()) != c.lost+c.revived {
			t.Errorf("%s: the verdict's faults lack something: %q", c.name, v.faults())
		}
	}
	if err := new(verdict).judgeListing("a", []byte(`{"subscriptions":{`), all, time.Now(), 0); err == nil {
		t.Error("judgeListing takes half a listing for a listing")
	}
}

func TestJudgeLamp(t *testing.T) {
	v := &verdict{}
	v.judgeLamp("1001", ".")
	v.judgeLamp("1001", "e")
	if len(v.stuck) != 0 {
		t.Error(v.stuck)
	}
	if v.judgeLamp("1001", ".0004c"); len(v.stuck) != 1 {
		t.Error("judgeLamp does not find a stuck lamp")
	}
	e := &extension{name: "1001", calls: []string{"known"}}
	for _, text := range []string{`{"state":"early","dialogs":[{"call_id":"unknown","state":"early","source":"call"}]}`,
		`{"state":"terminated","dialogs":[{"call_id":"known","state":"early","source":"call"}]}`} {
		var s shown
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if seen, err := e.lamp(&s); err == nil {
			t.Errorf("%s is taken for %q", text, seen)
		}
	}
}

// A call on a switch must be out when it has ended, or when its switch was gone after all news of it. It must be lit when news of it was acknowledged
// that is at least as new as every moment that was said of its switch. What is in doubt may be either.
func TestJudgeSwitchedCall(t *testing.T) {
	for _, c := range []struct {
		name             string
		told, maybe      int64
		gone, maybeGone  int64
		ended, maybeEnds bool
		lit, dark        bool // whether it may be
	}{
		{name: "told", told: 5, maybe: 5, lit: true},
		{name: "perhaps told", maybe: 5, lit: true, dark: true},
		{name: "ended", told: 5, maybe: 5, ended: true, maybeEnds: true, dark: true},
		{name: "perhaps ended", told: 5, maybe: 5, maybeEnds: true, lit: true, dark: true},
		{name: "an acknowledged switch_gone is lost", told: 5, maybe: 5, gone: 6, maybeGone: 6, dark: true},
		{name: "the switch was perhaps gone", told: 5, maybe: 5, maybeGone: 6, lit: true, dark: true},
		{name: "told again after", told: 7, maybe: 7, gone: 6, maybeGone: 6, lit: true},
		{name: "told again at that moment", told: 6, maybe: 6, gone: 6, maybeGone: 6, lit: true},
		{name: "perhaps told again after", told: 5, maybe: 7, gone: 6, maybeGone: 6, lit: true, dark: true},
		{name: "told again, and perhaps gone once more", told: 7, maybe: 7, gone: 6, maybeGone: 8, lit: true, dark: true},
		{name: "late news of a call that nobody knew", told: 5, maybe: 5, gone: 9, maybeGone: 9, dark: true},
	} {
		call := &switchedCall{extension: "1001", id: "c", told: c.told, maybe: c.maybe, ended: c.ended, maybeEnds: c.maybeEnds,
			on: &mediaSwitch{uri: "sip:one", gone: c.gone, maybeGone: c.maybeGone}}
		if why := call.judge(true); (why == "") != c.lit {
			t.Errorf("%s, and lit: %q", c.name, why)
		}
		if why := call.judge(false); (why == "") != c.dark {
			t.Errorf("%s, and dark: %q", c.name, why)
		}
	}
	v := &verdict{astray: []string{"a call"}}
	if len(v.faults()) != 1 {
		t.Error("the verdict's faults lack the calls on switches")
	}
}

func TestCompareWithOneNode(t *testing.T) {
	e := &extension{name: "1001", calls: []string{"known"}}
	lamp := func(text string) *shown {
		var s shown
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return &s
	}
	dark, lit := lamp(`{"state":"terminated"}`), lamp(`{"state":"early","dialogs":[{"call_id":"x","state":"early","source":"manual"}]}`)
	if why := compareLamps(e, lit, lit); why != "" {
		t.Error(why)
	}
	if compareLamps(e, lit, dark) == "" || compareLamps(e, dark, lit) == "" {
		t.Error("compareLamps finds no difference between a dark and a lit lamp")
	}
	var one listing
	if err := json.Unmarshal(listed("stands", "ended"), &one); err != nil {
		t.Fatal(err)
	}
	phones := []*phone{forgedPhone("stands", 3600, true, 0), forgedPhone("gone", 3600, false, 0), forgedPhone("lapsed", 5, true, time.Minute)}
	if got := compareSubscriptions(phones, &one, time.Now(), 0); len(got) != 0 {
		t.Error(got)
	}
	phones = append(phones, forgedPhone("ended", 3600, false, 0), forgedPhone("lost", 3600, true, 0))
	if got := compareSubscriptions(phones, &one, time.Now(), 0); len(got) != 2 {
		t.Error(got)
	}
}

// notify gives an edge one NOTIFY message for the watcher "stands".
func notify(t *testing.T, e *watcherEdge, number, generation, sequence int, state, body string) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"Node": "a", "Incarnation": "1", "Edge-Seq": number, "Shard": 1, "Generation": generation, "Epoch": time.Unix(1, 0), "Sequence": sequence,
		"State": state, "Body": body, "Targets": []any{map[string]any{"Call-ID": "stands", "Subscription-State": "active"}}})
	if err != nil {
		t.Fatal(err)
	}
	e.Hear(b)
}

func TestSequence(t *testing.T) {
	h := &history{start: time.Now()}
	e := newEdge("edge", nil, h)
	notify(t, e, 1, 1, 10, "early", "")
	notify(t, e, 2, 1, 11, "confirmed", "")
	notify(t, e, 2, 1, 11, "confirmed", "") // a duplicate
	notify(t, e, 3, 2, 40, "early", "")
	notify(t, e, 4, 1, 41, "terminated", "") // of a former owner: the edge drops it
	if len(h.wrongs) != 0 || e.accepted != 3 || e.Counts().Fenced != 1 || e.lastNotifies["stands"].state != "early" {
		t.Errorf("%q; accepted %d, dropped %d, now %+v", h.wrongs, e.accepted, e.Counts().Fenced, e.lastNotifies["stands"])
	}
	if notify(t, e, 5, 2, 39, "early", ""); len(h.wrongs) != 1 {
		t.Errorf("a Sequence went back: %q", h.wrongs)
	}
	if notify(t, e, 6, 3, 40, "early", ""); len(h.wrongs) != 2 {
		t.Errorf("a Sequence came twice: %q", h.wrongs)
	}
}

func TestBehind(t *testing.T) {
	e := newEdge("edge", nil, &history{start: time.Now()})
	p := forgedPhone("stands", 3600, true, 0)
	var lamp shown
	if err := json.Unmarshal([]byte(`{"state":"early","dialogs":[{"call_id":"known","state":"early","source":"call"}]}`), &lamp); err != nil {
		t.Fatal(err)
	}
	if e.behind(p, &lamp) == "" {
		t.Error("a watcher that was never told is not behind")
	}
	for i, c := range []struct {
		state, body string
		good        bool
	}{{"confirmed", "known", false}, {"early", "another", false}, {"early", "known", true}} {
		notify(t, e, i+1, 1, i+1, c.state, c.body)
		if why := e.behind(p, &lamp); (why == "") != c.good {
			t.Errorf("%+v: %q", c, why)
		}
	}
}

func TestSlow(t *testing.T) {
	const s = int64(time.Second)
	windows := []window{{[]string{"one"}, "one", 10 * s, 30 * s, limitOfWait}, {[]string{"two", "three"}, "two and three", 40 * s, 60 * s, limitOfWait},
		{[]string{"one"}, "one", 70 * s, 75 * s, limitOfWait}, {[]string{"planned"}, "planned", 110 * s, 130 * s, 2 * limitOfWait}}
	long := forge(opRepeatedSet, acknowledged, 1, 0, 28*s).waited(16 * time.Second)
	brief := forge(opRepeatedSet, acknowledged, 2, 0, 20*s).waited(2 * time.Second)
	briefer := forge(opCall, acknowledged, 2, 0, 22*s).waited(time.Second)
	beside := forge(opCall, acknowledged, 3, 0, 58*s).waited(17 * time.Second)
	calm := forge(opCall, acknowledged, 3, 0, 99*s).waited(18 * time.Second)
	planned := forge(opCall, acknowledged, 3, 0, 131*s).waited(18 * time.Second)
	through := forge(opRead, acknowledged, 4, 0, 131*s).waited(120 * time.Second) // its shares: 10 s, 30 s, 30 s, 40 s, 21 s
	between := forge(opRead, acknowledged, 4, 0, 72*s).waited(16 * time.Second)   // it overlaps two faults at once, then one
	again := forge(opCall, acknowledged, 3, 0, 71*s).waited(3 * time.Second)
	all := []op{long, brief, briefer, beside, calm, again, planned, between}
	if got := slow(all, windows); len(got) != 2 || !strings.Contains(got[0], "waited 16s") || !strings.Contains(got[1], "under no fault") {
		t.Errorf("%q", got)
	}
	if got := slow([]op{through}, windows); len(got) != 2 || !strings.Contains(got[0], "under one a read waited 29s") || !strings.Contains(got[1], "under one a read waited 40s") {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(waits(all, windows)); got != "map[one:[2s 2s 3s 16s] planned:[18s]]" {
		t.Error(got)
	}
}

// TestSchedule checks that a seed gives the same schedule again, and that a long enough schedule has every fault.
func TestSchedule(t *testing.T) {
	kit := append(append([]fault{}, nodeFaults...), networkFaults...)
	show := func(steps []step) (text string, kinds map[string]bool) {
		kinds = map[string]bool{}
		for _, s := range steps {
			for i, f := range s.faults {
				kinds[f.name] = true
				text += fmt.Sprintln(s.pause, f.name, s.machines[i], s.holds[i])
			}
		}
		return text, kinds
	}
	one, kinds := show(schedule(seeded(7), kit, 30, time.Second))
	two, _ := show(schedule(seeded(7), kit, 30, time.Second))
	three, _ := show(schedule(seeded(8), kit, 30, time.Second))
	if one != two || one == three || len(kinds) != len(kit) {
		t.Errorf("%s\n%s\n%d of %d kinds", one, two, len(kinds), len(kit))
	}
}

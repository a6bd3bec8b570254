package ownership

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"lamplight/actors/presence"
)

// This file has calls on switches, and sources that fall silent or are started again. An owner keeps them with the product's own presence.Extension and
// presence.Source. What it does around them is a small model of package actors (switches.go, sources.go).

// The switches, and how long a source may say nothing.
const (
	simSwitches = 2 // the source of each is in the shard with its number
	simKeepers  = 2 // the first shard of each stream keeps which switches are gone, for all shards of the stream
	simExpires  = 1 // second

	simTombstone = 11 * time.Second // longer than copies of news are late
)

func switchName(i int) string { return fmt.Sprint("sip:", i) }

// simCall names a call: its shard, and the how-manyth of the shard it is.
type simCall struct{ shard, number int }

func (c simCall) id() string    { return fmt.Sprint("call-", c.number) }
func (c simCall) onSwitch() int { return c.number % simSwitches }

// callHistory is what was said of a call. Times are µs since 1970.
type callHistory struct {
	told       int64 // the Timestamp of the newest news that was acknowledged
	maybe      int64 // that of the newest news that was ever sent
	ended      bool  // its end was acknowledged
	maybeEnded bool  // its end was ever sent,
	endedAt    Time  // and when for the first time
}

// switchHistory is what was said of switches and sources.
type switchHistory struct {
	calls      [simShards][]*callHistory
	gone       [2][simSwitches]int64 // by stream: the latest moment at which the switch was acknowledged to be gone
	owed       [2][simSwitches]int64 // the same of what a source has made so, which is done some time later
	maybeGone  [simSwitches]int64    // the latest moment that was ever said
	sources    [simSwitches]simSource
	news       int // that was acknowledged
	goneAcked  int
	lapsed     int
	saidBefore int // ends of a switch's calls that were owed because of another incarnation
}

// simSource is a source of calls, which tells of the switch with its number.
type simSource struct {
	incarnation int
	begun       int64 // when it first spoke as this incarnation, in µs
	quiet       bool  // it says nothing for a while
	heardSent   Time  // when the last document that was acknowledged was sent
	heardAcked  Time  // and when it was acknowledged; 0: none was
	heard       int   // its incarnation
}

// forgetSwitches forgets what was acknowledged about the calls and sources of a stream that was created again.
func (h *switchHistory) forgetSwitches(stream int) {
	for shard := stream; shard < simShards; shard += 2 {
		for _, c := range h.calls[shard] {
			c.told, c.ended = 0, false
		}
	}
	h.gone[stream], h.owed[stream] = [simSwitches]int64{}, [simSwitches]int64{}
	h.sources[stream].heardAcked = 0
	for of := range h.owed {
		h.owed[of][stream] = 0 // the source of this switch is forgotten, with what it has made owed
	}
}

// moment is the time of the streams' clock, some time ago, in µs, and in no whole second, which would stand for all of it.
func (s *sim) moment(ago Time) int64 {
	us := s.wall().Add(-ago).UnixMicro()
	if us%1e6 == 0 {
		us++
	}
	return us
}

// switchClients tell of calls, end them, read them, and say that switches are gone.
func (s *sim) switchClients() {
	if s.calm {
		return
	}
	s.after(s.between(time.Millisecond, 60*time.Millisecond), s.switchClients)
	h := &s.check.switchHistory
	shard := s.rng.IntN(simShards)
	n := len(h.calls[shard])
	if n == 0 || s.rng.IntN(12) == 0 {
		h.calls[shard] = append(h.calls[shard], &callHistory{})
		n++
	}
	c := simCall{shard, max(0, n-1-s.rng.IntN(4))}
	ago := Time(0)
	if s.rng.IntN(3) == 0 {
		ago = s.between(0, 3*time.Second)
	}
	what := s.rng.IntN(16)
	if of := h.calls[shard][c.number]; of.maybeEnded && s.now > of.endedAt+500*time.Millisecond && (what == 0 || what > 2) {
		what = 3 // nobody tells of a call that has ended, except by a copy that is late
	}
	switch what {
	case 0:
		s.tellCall(c, presence.Terminated, s.moment(ago))
	case 1, 2:
		s.sayGone(s.rng.IntN(simSwitches), s.moment(ago), func() {})
	case 3, 4, 5, 6:
		s.readCall(c)
	default:
		at, state := s.moment(ago), presence.Early+presence.State(s.rng.IntN(2))
		s.tellCall(c, state, at)
		if s.rng.IntN(4) == 0 { // a copy that comes late
			s.after(s.between(0, 6*time.Second), func() { s.tellCall(c, state, at) })
		}
	}
}

// tellCall sends news of a call to its owner.
func (s *sim) tellCall(c simCall, state presence.State, at int64) {
	h := s.check.calls[c.shard][c.number]
	if state == presence.Terminated {
		if !h.maybeEnded {
			h.endedAt = s.now
		}
		h.maybeEnded = true
	} else {
		h.maybe = max(h.maybe, at)
	}
	ev := presence.CallEvent{CallID: c.id(), Direction: presence.Recipient, State: state, Timestamp: time.UnixMicro(at), SwitchURI: switchName(c.onSwitch()), From: "1@x", To: "2@x"}
	s.askOwner(c.shard, 4*time.Second, func(n *simNode, sh *simShard) []record {
		s.log("%s hears news of call %v of %d: state %d", n.name, c, at, state)
		return n.applyCall(sh, ev)
	}, func() {
		s.check.news++
		if state == presence.Terminated {
			h.ended = true
		} else {
			h.told = max(h.told, at)
		}
	})
}

// sayGone says that a switch was gone at a moment. The shards that keep that in the journal are asked first. When they have acknowledged it, all others
// are. done is called when all have.
func (s *sim) sayGone(which int, before int64, done func()) {
	h := &s.check.switchHistory
	h.maybeGone[which] = max(h.maybeGone[which], before)
	s.log("%s was gone at %d", switchName(which), before)
	gone := presence.SwitchGone{Switch: switchName(which), Before: time.UnixMicro(before)}
	worlds := [2]int{s.streams[0].world, s.streams[1].world}
	last := func() {
		for stream := range worlds {
			if worlds[stream] == s.streams[stream].world {
				h.gone[stream][which] = max(h.gone[stream][which], before)
			}
		}
		h.goneAcked++
		s.log("that %s was gone at %d is acknowledged", gone.Switch, before)
		done()
	}
	if s.off.KeepFirst {
		s.endCalls(gone, simKeepers, simShards, func() { s.endCalls(gone, 0, simKeepers, last) })
		return
	}
	s.endCalls(gone, 0, simKeepers, func() { s.endCalls(gone, simKeepers, simShards, last) })
}

// endCalls asks some shards to end the calls of a switch. done is called when all have acknowledged it.
func (s *sim) endCalls(gone presence.SwitchGone, from, to int, done func()) {
	missing := to - from
	for shard := from; shard < to; shard++ {
		s.askOwner(shard, 4*time.Second, func(n *simNode, sh *simShard) []record { return n.depart(sh, gone) }, func() {
			if missing--; missing == 0 {
				done()
			}
		})
	}
}

// readCall asks whether a call is shown.
func (s *sim) readCall(c simCall) {
	asked, gone := *s.check.calls[c.shard][c.number], s.check.gone[c.shard%2][c.onSwitch()]
	var lit bool
	s.askOwner(c.shard, 4*time.Second, func(_ *simNode, sh *simShard) []record { lit = sh.lit(c); return nil }, func() {
		s.check.showed("a read", c, lit, asked.told, asked.ended, gone)
	})
}

// lit says whether the owner shows a call.
func (sh *simShard) lit(c simCall) bool {
	return sh.calls != nil && slices.ContainsFunc(sh.calls.View().Dialogs, func(d presence.DialogView) bool { return d.CallID == c.id() })
}

// showed checks whether a call may be shown, or not be shown. told, ended and gone are what had been acknowledged when the question was asked.
func (c *checker) showed(what string, of simCall, lit bool, told int64, ended bool, gone int64) {
	h, maybeGone := c.calls[of.shard][of.number], c.maybeGone[of.onSwitch()]
	switch {
	case lit && ended:
		c.fail("%s shows the call %v, which has ended", what, of)
	case lit && gone > h.maybe:
		c.fail("%s shows the call %v, whose switch was gone at %d, after all news of it, the newest of %d", what, of, gone, h.maybe)
	case !lit && told != 0 && told >= maybeGone && !h.maybeEnded:
		c.fail("%s does not show the call %v, of which news of %d was acknowledged; its switch was gone at %d at the latest", what, of, told, maybeGone)
	}
}

// askOwner sends a request that is not about a list. act is done by the shard's owner, which answers when the records that act returns are kept.
// acked is called when the answer has come; it does not come when the request is lost or refused.
func (s *sim) askOwner(shard int, within Time, act func(*simNode, *simShard) []record, acked func()) {
	s.route(&request{object: object{shard: shard}, id: actIt, act: act, acked: acked, world: s.streams[shard%2].world, deadline: s.now + within})
}

// note remembers that a switch was gone, in the memory of the node, and returns the latest moment that is remembered.
func (n *simNode) note(g presence.Gone) presence.Gone {
	if old, known := n.departed[g.Switch]; known && !n.sim.off.LastMoment && old.After(g.Before) {
		g.Before = old
	}
	n.departed[g.Switch] = g.Before
	return g
}

// rules are the rules of the node's extensions.
func (n *simNode) rules() *presence.Rules {
	return &presence.Rules{CallLease: time.Hour, TombstoneLife: simTombstone, Gone: func(name string) int64 {
		if at, known := n.departed[name]; known {
			return at.UnixMicro()
		}
		return 0
	}}
}

// applyCall has the shard's extension take news of a call, or the end of a switch's calls.
func (n *simNode) applyCall(sh *simShard, ev presence.Event) (all []record) {
	fx, err := sh.calls.Apply(ev, n.sim.wall())
	if err != nil {
		n.sim.check.fail("%v: %v", ev, err)
	}
	for _, r := range fx.Records {
		all = append(all, presenceRecord(r))
	}
	return all
}

// presenceRecord takes the minute off by which an extension's records outlive what they hold: the clock of NATS may be ahead by as much.
func presenceRecord(r presence.Record) record {
	if r.Kind == presence.KindCall {
		r.Life = max(r.Life-time.Minute, time.Second)
	}
	return record{fmt.Sprintf("%c.%s", r.Kind, r.Key), r.Data, r.Life}
}

// depart ends the calls of a switch in a shard. A shard that keeps which switches are gone writes it down.
func (n *simNode) depart(sh *simShard, gone presence.SwitchGone) (all []record) {
	if n.sim.off.Moment {
		gone.Before = n.sim.wall() // it takes the moment at which the command came
	}
	g := presence.Gone{Switch: gone.Switch, Before: gone.Before, Until: n.sim.wall().Add(time.Hour)}
	g = n.note(g)
	n.sim.log("%s ends the calls of %s in shard %d", n.name, gone.Switch, sh.id)
	if sh.id < simKeepers {
		all = append(all, presenceRecord(g.Record(n.sim.wall())))
	}
	return append(all, n.applyCall(sh, gone)...)
}

// openCalls makes the shard's extension and its source of what was read.
func (n *simNode) openCalls(sh *simShard, records []found) {
	sh.calls = presence.New("x", "1", n.rules())
	for _, r := range records {
		own := r.shard == sh.id
		var err error
		switch presence.Kind(r.name[0]) {
		case presence.KindCall:
			if own {
				err = sh.calls.Load(presence.KindCall, r.data)
			}
		case presence.KindSource:
			if own {
				var o presence.Source
				o, _, err = presence.ReadSource(r.data)
				if !o.Silent && !n.sim.off.WholeTime {
					o.Until = n.sim.wall().Add(simExpires * time.Second)
				}
				sh.source = &simOwned{Source: o, deaf: n.sim.now}
			}
		case presence.KindGone: // of the first shard of the stream, for all its shards
			var g presence.Gone
			if g, err = presence.ReadGone(r.data); err == nil && !n.sim.off.Departed {
				n.note(g)
			}
		}
		if err != nil {
			n.sim.check.fail("%s: %v", r.name, err)
		}
	}
	sh.calls.Loaded(n.sim.wall())
}

// simOwned is a source as the owner of its shard keeps it.
type simOwned struct {
	presence.Source
	ticket uint64 // of its last write
	lapsed Time
	deaf   Time // when it could not be heard for the last time
	asked  bool
}

// switches says whether a rule about switches or sources is off.
func (o simOff) switches() bool {
	return o.KeepFirst || o.Departed || o.AckEarly || o.Moment || o.LastMoment || o.WholeTime
}

// speak has a source say that it lives, again and again, with pauses in which it falls silent, and as another incarnation.
func (s *sim) speak(i int) {
	o := &s.check.sources[i]
	if o.incarnation == 0 || s.chance(12) {
		o.incarnation++
		o.begun = 0
	}
	pause := s.between(200*time.Millisecond, 350*time.Millisecond)
	if o.quiet = s.chance(10); o.quiet {
		pause = s.between(time.Second, 5*time.Second)
	}
	if s.now > time.Hour+14*time.Second && i == 0 && s.silentAtEnd {
		o.quiet = true
		return
	}
	s.after(pause, func() { s.speak(i) })
	if o.quiet {
		return
	}
	sent, incarnation := s.now, o.incarnation
	at := s.moment(0)
	o.begun = cmp.Or(o.begun, at)
	begun := o.begun
	up := presence.SourceUp{Source: fmt.Sprint("source-", i), Switch: switchName(i), Incarnation: fmt.Sprint(incarnation), Expires: simExpires, Timestamp: time.UnixMicro(at)}
	s.askOwner(i, 4*time.Second, func(n *simNode, sh *simShard) []record { return n.hear(sh, &up) }, func() {
		if o.heardAcked != 0 && o.heardAcked <= sent && o.heard != incarnation {
			for stream := range s.check.owed {
				s.check.owed[stream][i] = max(s.check.owed[stream][i], begun)
			}
			s.check.saidBefore++
		}
		if sent >= o.heardSent || o.heardAcked == 0 {
			o.heardSent, o.heardAcked, o.heard = sent, s.now, incarnation
		}
	})
}

// hear takes news of a source.
func (n *simNode) hear(sh *simShard, up *presence.SourceUp) []record {
	if sh.source == nil {
		sh.source = &simOwned{}
	}
	if _, err := sh.source.Hear(up, n.sim.wall()); err != nil {
		n.sim.check.fail("%v", err)
	}
	return n.keepSource(sh)
}

func (n *simNode) keepSource(sh *simShard) []record {
	return []record{presenceRecord(sh.source.Record())}
}

// tickSource takes a source for gone that is silent, and has what is owed for it done.
func (n *simNode) tickSource(sh *simShard) {
	s, o := n.sim, sh.source
	if o == nil || !sh.open || sh.flushing || sh.paused {
		return
	}
	fresh := s.now < n.machines[sh.id%2].AnswerUntil()
	switch {
	case !fresh:
		o.deaf = s.now
		if whole := s.wall().Add(simExpires * time.Second); !o.Silent && whole.After(o.Until) && !s.off.WholeTime {
			o.Until = whole
		}
	case o.Lapse(s.wall()):
		if o.lapsed = s.now; s.now < o.deaf+simExpires*time.Second {
			s.check.fail("the source %d was taken for gone %v after it could be heard again", sh.id, s.now-o.deaf)
		}
		n.writeAll(sh, n.keepSource(sh))
		o.ticket = sh.issued
	}
	if !fresh || o.Owed.Switch == "" || o.asked || o.ticket > sh.durable {
		return
	}
	o.asked = true
	owed, opened, process := o.Owed, sh.opened, n.process
	if h := &s.check.sources[sh.id]; o.lapsed != 0 && o.Silent {
		s.check.lapsed++
		if until := s.wallTime(h.heardSent).Add(simExpires * time.Second); h.heardAcked != 0 && h.heardAcked <= o.lapsed && until.After(owed.Before) {
			s.check.fail("the source %d was taken for gone at %v, although it may be silent until %v", sh.id, owed.Before, until)
		}
	}
	settled := func(done bool) {
		n.post(0, func() {
			if n.process != process || !sh.open || sh.opened != opened || sh.source != o {
				return
			}
			if o.asked = false; done && o.Owed == owed {
				o.Owed = presence.SwitchGone{}
				n.writeAll(sh, n.keepSource(sh))
				o.ticket = sh.issued
			}
		})
	}
	s.sayGone(sh.id, owed.Before.UnixMicro(), func() { settled(true) })
	s.after(8*time.Second+time.Millisecond, func() { settled(false) })
}

// finishSwitches checks, at the end, what the owners show.
func (s *sim) finishSwitches() {
	h := &s.check.switchHistory
	for i := range h.sources {
		if o := &h.sources[i]; o.quiet && o.heardAcked != 0 {
			for stream := range h.owed {
				h.owed[stream][i] = max(h.owed[stream][i], s.wallTime(o.heardSent).Add(simExpires*time.Second).UnixMicro())
			}
		}
	}
	for shard, all := range h.calls {
		sh := s.owner(shard).shards[shard]
		for number, c := range all {
			of := simCall{shard, number}
			which := of.onSwitch()
			s.check.showed("the end", of, sh.lit(of), c.told, c.ended, max(h.gone[shard%2][which], h.owed[shard%2][which]))
		}
		if shard < simSwitches && h.sources[shard].incarnation != 0 && !h.sources[shard].quiet && (sh.source == nil || sh.source.Silent) {
			s.check.fail("the source %d speaks, and counts as silent", shard)
		}
	}
}

// owner returns the node on which a shard is open.
func (s *sim) owner(shard int) *simNode {
	for _, n := range s.nodes {
		if n.shards[shard].open {
			return n
		}
	}
	panic(errors.New("no owner"))
}

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"lamplight/cluster/subject"
)

// Bounds of a switcher.
const (
	switchedCalls = 6               // calls of one of its extensions
	recentCalls   = 12              // it tells of the newest calls only
	latest        = 8 * time.Second // by how much news and commands may be late
	shortExpires  = 3               // seconds: of the source that falls silent
	longExpires   = 3600            // of the source that is started again
)

// mediaSwitch is a switch, and what was said of it. Times are µs since 1970.
type mediaSwitch struct {
	uri       string
	gone      int64  // the latest moment at which it was acknowledged to be gone, or at which a source has made it so
	maybeGone int64  // the latest moment that was ever sent
	before    int64  // the moment of some switch_gone that was sent, for a late copy
	source    string // that is started again; "": it has none

	incarnation  int   // of the source
	begun        int64 // when the source first spoke as this incarnation
	acknowledged int   // the incarnation that was acknowledged last; 0: none was
}

// switchedCall is a call on a switch. Only its switcher tells of it.
type switchedCall struct {
	extension string
	id        string
	on        *mediaSwitch
	told      int64 // the Timestamp of the newest news that was acknowledged
	maybe     int64 // that of the newest news that was ever sent
	ended     bool  // its end was acknowledged
	maybeEnds bool  // its end was ever sent
}

// judge returns a sentence about what is wrong when a node shows the call (lit) or does not; "": nothing is. A node may have done what it was told
// and has not acknowledged, or not: both are right.
func (c *switchedCall) judge(lit bool) string {
	switch {
	case lit && c.ended:
		return fmt.Sprintf("%s of %s is lit, and it has ended", c.id, c.extension)
	case lit && c.on.gone > c.maybe:
		return fmt.Sprintf("%s of %s is lit, and %s was gone %v after the newest news of it", c.id, c.extension, c.on.uri, time.Duration(c.on.gone-c.maybe)*time.Microsecond)
	case !lit && c.told != 0 && c.told >= c.on.maybeGone && !c.maybeEnds:
		return fmt.Sprintf("%s of %s is not lit; it was told %v after %s was gone", c.id, c.extension, time.Duration(c.told-c.on.maybeGone)*time.Microsecond, c.on.uri)
	}
	return ""
}

// switcher is a worker that tells of calls on switches, and says that switches are gone.
type switcher struct {
	*worker
	switches []*mediaSwitch
	calls    []*switchedCall
	owed     []owed
}

func newSwitcher(w *worker) *switcher {
	s := &switcher{worker: w}
	for i := range 2 {
		s.switches = append(s.switches, &mediaSwitch{uri: fmt.Sprintf("sip:10.0.%d.%d:11000", w.number, i)})
	}
	s.switches[0].source = fmt.Sprintf("source-%d", w.number)
	return s
}

// microseconds is a time some while ago. It is in no whole second, which would stand for all of that second.
func microseconds(ago time.Duration) int64 {
	us := time.Now().Add(-ago).UnixMicro()
	if us%1e6 == 0 {
		us++
	}
	return us
}

// run makes requests until ctx ends.
func (s *switcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		m := s.switches[s.random.IntN(len(s.switches))]
		switch n := s.random.IntN(100); {
		case n < 12 || len(s.calls) == 0:
			c := &switchedCall{extension: fmt.Sprintf("switched-%d-%d", s.number, len(s.calls)/switchedCalls), id: fmt.Sprintf("switched-%d-%d@10.0.0.9", s.number, len(s.calls)), on: m}
			s.calls = append(s.calls, c)
			s.tell(c, early, s.ago(), true)
		case n < 36:
			s.tell(s.recent(), confirmed, microseconds(0), true)
		case n < 50: // a late copy, once
			s.tell(s.recent(), callStates[s.random.IntN(2)], s.ago(), false)
		case n < 56:
			s.tell(s.recent(), terminated, microseconds(0), true)
		case n < 62:
			m.before = s.ago()
			s.sayGone(m, m.before)
		case n < 65 && m.before != 0: // a late copy
			s.sayGone(m, m.before)
		case n < 70 && m.source != "":
			s.speak(m)
		default:
			s.look(s.recent())
		}
	}
}

// ago is now, or some seconds ago.
func (s *switcher) ago() int64 {
	return microseconds(time.Duration(s.random.Int64N(int64(latest))) * time.Duration(s.random.IntN(2)))
}

// recent is one of the newest calls.
func (s *switcher) recent() *switchedCall {
	return s.calls[len(s.calls)-1-s.random.IntN(min(len(s.calls), recentCalls))]
}

// tell sends news of a call, and with insist until it is acknowledged.
func (s *switcher) tell(c *switchedCall, state byte, at int64, insist bool) {
	if state == terminated {
		c.maybeEnds = true
	} else {
		c.maybe = max(c.maybe, at)
	}
	topic, event, fields := (&extension{name: c.extension}).news(c.id, state)
	fields["Switch-URI"], fields["Timestamp"] = c.on.uri, at
	o := op{kind: opSwitched, state: state}
	if insist {
		if !s.repeat(o, topic, event, fields) {
			return
		}
	} else if out, _, _ := s.client.bus(s.random.IntN(16), topic, event, fields); out != acknowledged {
		return
	}
	if state == terminated {
		c.ended = true
	} else {
		c.told = max(c.told, at)
	}
}

// sayGone says that a switch was gone at a moment, until that is acknowledged.
func (s *switcher) sayGone(m *mediaSwitch, before int64) {
	m.maybeGone = max(m.maybeGone, before)
	if s.repeat(op{kind: opSwitchGone}, subject.SwitchGone, "switch_gone", map[string]any{"Switch-URI": m.uri, "Before": before}) {
		m.gone = max(m.gone, before)
	}
}

// speak has the switch's source say that it lives, now and then as another incarnation.
func (s *switcher) speak(m *mediaSwitch) {
	at := microseconds(0)
	if m.incarnation == 0 || s.random.IntN(3) == 0 {
		m.incarnation++
		m.begun = at
	}
	if m.incarnation > 1 {
		m.maybeGone = max(m.maybeGone, m.begun)
	}
	if !s.repeat(op{kind: opSourceUp}, subject.SourceUp(m.source), "source_up", sourceUp(m.source, m.uri, m.incarnation, longExpires, at)) {
		return
	}
	if m.acknowledged != 0 && m.acknowledged != m.incarnation {
		s.owed = append(s.owed, owed{m, m.begun})
	}
	m.acknowledged = m.incarnation
}

// sourceUp is the document of a source that lives.
func sourceUp(source, uri string, incarnation, expires int, at int64) map[string]any {
	return map[string]any{"Source": source, "Switch-URI": uri, "Incarnation": fmt.Sprint("i", incarnation), "Expires": expires, "Timestamp": at}
}

// look reads a call.
func (s *switcher) look(c *switchedCall) {
	lit, fresh := s.client.showsCall(s.random, c)
	if !fresh {
		return
	}
	if why := c.judge(lit); why != "" {
		s.history.wrong(why)
	}
}

// showsCall asks a node whether it shows a call. fresh is false when it does not say so, or only from old memory.
func (c *client) showsCall(r *rand.Rand, of *switchedCall) (lit, fresh bool) {
	out, s, stale, _ := c.show(c.cluster.pick(r), r.IntN(2) == 0, r.IntN(16), of.extension, "")
	if out != acknowledged || stale {
		return false, false
	}
	for _, d := range s.Dialogs {
		lit = lit || d.CallID == of.id
	}
	return lit, true
}

// silentSource is a source that speaks while the run lasts, and then falls silent. Nobody says that its switch is gone.
type silentSource struct {
	*worker
	calls []*switchedCall
	spoke int64 // when the last document that was acknowledged was sent
}

const (
	silentName = "source-silent"
	silentURI  = "sip:10.0.255.1:11000"
)

// run begins calls, and says that the source lives, until ctx ends.
func (s *silentSource) run(ctx context.Context) {
	on := &mediaSwitch{uri: silentURI}
	teller := &switcher{worker: s.worker}
	for ctx.Err() == nil {
		at := microseconds(0)
		if s.repeat(op{kind: opSourceUp}, subject.SourceUp(silentName), "source_up", sourceUp(silentName, silentURI, 1, shortExpires, at)) {
			s.spoke = at
		}
		if len(s.calls) < 60 {
			c := &switchedCall{extension: fmt.Sprintf("silent-%d", len(s.calls)), id: fmt.Sprintf("silent-%d@10.0.0.9", len(s.calls)), on: on}
			s.calls = append(s.calls, c)
			teller.tell(c, confirmed, microseconds(0), true)
		}
		select {
		case <-ctx.Done():
		case <-time.After(shortExpires * time.Second / 4):
		}
	}
}

// settle waits until the calls that the source told of before it fell silent are out. It then tells of every other call again: those are lit, and
// the others stay out. A call may have ended or not that was told of when some node, by its time of day, took the source for silent already. skew is
// how far the nodes' times of day were apart at most.
func (s *silentSource) settle(skew time.Duration) (astray []string) {
	until := s.spoke + (shortExpires*time.Second - skew).Microseconds()
	left := slices.DeleteFunc(slices.Clone(s.calls), func(c *switchedCall) bool { return c.maybe >= until })
	for begun := time.Now(); len(left) > 0; time.Sleep(50 * time.Millisecond) {
		left = slices.DeleteFunc(left, func(c *switchedCall) bool {
			lit, fresh := s.client.showsCall(s.random, c)
			return fresh && !lit
		})
		if time.Since(begun) > settleTimeout && len(left) > 0 {
			return []string{fmt.Sprintf("%d calls of the silent source are lit %v later, such as %s of %s", len(left), settleTimeout, left[0].id, left[0].extension)}
		}
	}
	time.Sleep(skew) // a node whose time of day is ahead takes it for silent at a moment that is yet to come
	teller := &switcher{worker: s.worker}
	for i, c := range s.calls {
		if i%2 == 0 {
			c.on.gone, c.on.maybeGone = until, cmp.Or(c.on.maybeGone, microseconds(0))
			teller.tell(c, confirmed, microseconds(0), true)
		}
	}
	for i, c := range s.calls {
		if c.maybe >= until && i%2 == 1 {
			continue
		}
		if why := s.client.finally(s.random, c); why != "" {
			astray = append(astray, why)
		}
	}
	return astray
}

// finally reads a call until a node says whether it is lit, and judges that.
func (c *client) finally(r *rand.Rand, of *switchedCall) string {
	for begun := time.Now(); time.Since(begun) < settleTimeout; time.Sleep(20 * time.Millisecond) {
		if lit, fresh := c.showsCall(r, of); fresh {
			return of.judge(lit)
		}
	}
	return fmt.Sprintf("%s could not be read for %v after all faults had ended", of.extension, settleTimeout)
}

// checkSwitches waits until what the sources owe is done, and judges all calls on switches.
func (r *run) checkSwitches() (astray []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	note := func(why ...string) {
		mu.Lock()
		defer mu.Unlock()
		astray = append(astray, why...)
	}
	if r.silent != nil {
		all.Go(func() { note(r.silent.settle(r.skew())...) })
	}
	for _, s := range r.switchers {
		for _, o := range s.owed {
			o.on.gone = max(o.on.gone, o.at)
		}
		all.Go(func() {
			for _, c := range s.calls {
				why := r.client.finally(s.random, c)
				for begun := time.Now(); why != "" && len(s.owed) > 0 && time.Since(begun) < settleTimeout; { // what a source owes is done some moments later
					time.Sleep(100 * time.Millisecond)
					why = r.client.finally(s.random, c)
				}
				if why != "" {
					note(why)
				}
			}
		})
	}
	all.Wait()
	return astray
}

// owed is the moment before which the calls of a switch end some time after its source was started again.
type owed struct {
	on *mediaSwitch
	at int64
}

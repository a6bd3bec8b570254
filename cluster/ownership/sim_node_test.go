package ownership

import (
	"fmt"
	"slices"
	"time"
)

const (
	simTick    = 50 * time.Millisecond
	simTimeout = time.Second // how long a claim or record may stay without an answer
	simGroup   = 3           // writes of one group, at most
)

// simNode is one process after the other under one name. It has a Machine for each stream, and a small model of what
// packages actors and cluster/journal do with a shard.
type simNode struct {
	sim      *sim
	name     string
	process  int // the number of the process: it rises with each start and crash
	alive    bool
	leaving  bool
	frozen   Time         // the process does nothing until then
	deaf     Time         // gossip does not reach it until then
	cut      map[int]Time // by stream: it does not reach the stream until then
	fifo     map[int]Time // by stream: when the last message on the connection arrives; none overtakes it. 9: to the edge
	feed     map[int]Time // by stream: when the last message that the stream shows arrives; none overtakes it
	machines []*Machine
	worlds   []int // by stream: which creation of the stream the Machine knows
	shards   []*simShard
	reached  map[string]Time      // by node: when gossip last reached it
	outbox   []func()             // NOTIFYs that wait until the node is connected again
	ticked   Time                 // when tick ran last
	awake    Time                 // since when tick has run without a pause
	rest     map[int]Time         // by stream: its Machine need not be told before that time passes
	members  []string             // at the last tick
	departed map[string]time.Time // by Switch-URI: the latest moment at which it was gone
}

func (n *simNode) start() {
	if n.alive {
		return
	}
	s := n.sim
	s.log("start %s", n.name)
	n.process++
	n.alive, n.leaving, n.frozen = true, false, 0
	n.fifo, n.feed, n.rest, n.reached, n.outbox = map[int]Time{}, map[int]Time{}, map[int]Time{}, map[string]Time{}, nil
	n.departed = map[string]time.Time{}
	n.shards = make([]*simShard, simShards)
	for i := range n.shards {
		n.shards[i] = &simShard{id: i}
	}
	n.machines, n.worlds = nil, nil
	for _, st := range s.streams {
		n.machines = append(n.machines, New(Config{Node: n.name, Ranges: []int{st.number, st.number + 2}, Epoch: st.epoch,
			Quiet: 100 * time.Millisecond, Random: s.rng.Uint64, Owner: simOwner, Off: s.off.Off}))
		n.worlds = append(n.worlds, st.world)
	}
	for _, st := range s.streams {
		n.follow(st)
	}
	for i, m := range n.machines {
		n.act(i, m.Start(s.now))
	}
	n.post(simTick, n.tick)
}

// follow shows the node all that the stream holds, and then that this is all.
func (n *simNode) follow(st *stream) {
	for _, m := range st.log {
		if st.last[m.subject] == int(m.seq)-1 {
			n.deliver(st, m)
		}
	}
	world := st.world
	n.postAt(n.feed[st.number], func() {
		if world == n.worlds[st.number] {
			n.act(st.number, n.machines[st.number].Synced(n.sim.now))
		}
	})
}

func simOwner(shard int, nodes []string) string {
	best, rank := "", -1
	for _, n := range nodes {
		if r := (int(n[0])*7 + shard*5) % 11; r > rank {
			best, rank = n, r
		}
	}
	return best
}

// post runs something in this process after d. It waits while the process is frozen, and does not run if the process has
// ended.
func (n *simNode) post(d Time, run func()) { n.postAt(n.sim.now+d, run) }

func (n *simNode) postAt(t Time, run func()) {
	process := n.process
	n.sim.at(t, func() {
		switch {
		case n.process != process || !n.alive:
		case n.sim.now < n.frozen:
			n.postAt(n.frozen, run)
		default:
			run()
		}
	})
}

func (n *simNode) crash() {
	n.sim.log("crash %s", n.name)
	n.alive = false
	n.process++
	for _, sh := range n.shards {
		sh.open = false
	}
}

func (n *simNode) leave() {
	n.sim.log("%s leaves", n.name)
	n.leaving = true
	for i, m := range n.machines {
		n.act(i, m.Leave(n.sim.now))
	}
}

// cutOff says whether NATS counts as out of reach in a stream: the lease has been stale for 2 s in which the process ran.
func (n *simNode) cutOff(i int) bool {
	const long, pause = 2 * time.Second, 500 * time.Millisecond
	return n.sim.now < n.ticked+pause && n.sim.now > max(n.machines[i].AnswerUntil(), n.awake)+long
}

func (n *simNode) tick() {
	n.post(simTick, n.tick)
	s := n.sim
	if s.now > n.ticked+500*time.Millisecond {
		n.awake = s.now
	}
	n.ticked = s.now
	alive := []string{}
	for _, o := range s.nodes {
		if o == n || o.alive && s.now >= o.frozen && s.now >= o.deaf && s.now >= n.deaf {
			n.reached[o.name] = s.now
		}
		if t, ok := n.reached[o.name]; ok && s.now-t < time.Second {
			alive = append(alive, o.name)
		}
	}
	changed := !slices.Equal(alive, n.members)
	n.members = alive
	for i, m := range n.machines {
		st := s.streams[i]
		if n.worlds[i] != st.world && s.now >= n.cut[i] && s.now >= st.down {
			n.worlds[i] = st.world
			n.act(i, m.Recreated(s.now, st.epoch))
			n.follow(st)
		}
		n.act(i, m.Members(s.now, alive))
		if s.now >= n.rest[i] || changed || n.leaving {
			n.act(i, m.Tick(s.now))
			n.rest[i] = s.now + m.Rest(s.now)
		}
	}
	for _, sh := range n.shards {
		n.tickSource(sh)
		n.send(sh)
		n.release(sh)
	}
	if n.leaving && n.machines[0].Left() && n.machines[1].Left() {
		n.crash()
		s.after(s.between(50*time.Millisecond, 2*time.Second), n.start)
	}
}

// deliver shows a node a message of a stream: late, in the order of the stream, and twice.
func (n *simNode) deliver(st *stream, m message) {
	if !n.alive || n.feed == nil {
		return
	}
	switch m.value.(type) {
	case Lease, Claim:
	default:
		return
	}
	s, i, world := n.sim, st.number, st.world
	at := max(s.now+s.between(0, 4*time.Millisecond), n.feed[i])
	if s.chance(60) {
		at += s.between(0, 600*time.Millisecond)
	}
	n.feed[i] = at
	told := false
	when := func() (t time.Time) { // the first time the writer told of it, which does not say the stream's time
		if told || s.calm || world != n.worlds[i] || unreadable(m.value) {
			t = m.at
		}
		told = true
		return t
	}
	var show func()
	show = func() {
		if s.now < n.cut[i] {
			n.postAt(n.cut[i], show) // the order stays: later messages wait until the same time and are posted later
			return
		}
		if world != n.worlds[i] {
			return
		}
		switch v := m.value.(type) {
		case Lease:
			n.act(i, n.machines[i].LeaseSeen(s.now, v, m.seq, when()))
		case Claim:
			var shard int
			_, _ = fmt.Sscanf(m.subject, "%d.claim", &shard)
			n.rest[i] = 0
			n.act(i, n.machines[i].ClaimSeen(s.now, shard, v, m.seq, when()))
		}
	}
	n.postAt(at, show)
	n.postAt(at+s.between(0, 300*time.Millisecond), show)
}

// write takes a conditional write to a stream, and its answer back. The write may be refused for no reason, get lost,
// lose its answer, or arrive long after its sender gave up.
func (n *simNode) write(i int, subject string, value any, condition string, expect uint64, timeout Time, done func(uint64, Outcome)) {
	s, st := n.sim, n.sim.streams[i]
	answered := false
	answer := func(seq uint64, o Outcome) {
		if !answered {
			answered = true
			done(seq, o)
		}
	}
	n.post(timeout, func() { answer(0, Unknown) })
	world, process := n.worlds[i], n.process
	at := max(s.now+s.between(100*time.Microsecond, 5*time.Millisecond), n.fifo[i])
	n.fifo[i] = at
	stray := s.chance(60)
	if stray {
		at += timeout + s.between(0, 3*time.Second)
	}
	lost, busy, silent := s.chance(80), s.chance(80), s.chance(60)
	s.at(at, func() {
		if world != st.world || !stray && (s.now < n.cut[i] || s.now < st.down) || lost {
			return
		}
		if busy || condition == st.refused && s.now < st.refusedUntil {
			if n.process == process {
				n.post(time.Millisecond, func() { answer(0, Busy) })
			}
			return
		}
		seq, o := st.apply(subject, value, condition, expect)
		if !silent && n.process == process && s.now >= n.cut[i] {
			n.post(s.between(100*time.Microsecond, 5*time.Millisecond), func() { answer(seq, o) })
		}
	})
}

// atLeader reads a subject's last message at the stream's leader. ok is false when there is no leader or no answer.
func (n *simNode) atLeader(i int, subject string, done func(m message, ok bool)) {
	s, st, world, process := n.sim, n.sim.streams[i], n.worlds[i], n.process
	s.after(s.between(100*time.Microsecond, 5*time.Millisecond), func() {
		if n.process != process {
			return
		}
		if s.now < n.cut[i] || s.now < st.down || s.chance(30) {
			n.post(300*time.Millisecond, func() { done(message{}, false) })
			return
		}
		var m message
		if st.lag > 0 && s.chance(10) {
			m = st.past()[subject] // from a leader that was deposed and does not know it yet
		} else if at, ok := st.last[subject]; ok {
			m = st.log[at]
		}
		n.post(time.Millisecond, func() {
			if n.worlds[i] == st.world && st.world == world {
				done(m, true)
			}
		})
	})
}

func claimSubject(shard int) string { return fmt.Sprintf("%d.claim", shard) }

func (n *simNode) act(i int, actions []Action) {
	s, m, world := n.sim, n.machines[i], n.worlds[i]
	for _, a := range actions {
		switch a.Kind {
		case ReadLease:
			n.atLeader(i, "lease."+a.Node, func(got message, ok bool) {
				l, _ := got.value.(Lease)
				n.act(i, m.LeaseRead(s.now, l, got.seq, got.at, ok))
			})
		case WriteLease:
			subject := "lease." + a.Node
			if a.Lease.Expelled {
				s.log("%s expels %s %s in stream %d", n.name, a.Node, a.Lease.Incarnation[:4], i)
			}
			n.write(i, subject, a.Lease, subject, a.Expect, Retry, func(seq uint64, o Outcome) {
				if world == n.worlds[i] {
					n.act(i, m.LeaseWritten(s.now, a.Sent, a.Lease, seq, o))
				}
			})
		case ReadClaim:
			n.atLeader(i, claimSubject(a.Range), func(got message, ok bool) {
				c, _ := got.value.(Claim)
				n.act(i, m.ClaimRead(s.now, a.Range, c, got.seq, got.at, ok))
			})
		case WriteClaim:
			subject := claimSubject(a.Range)
			s.log("%s claims shard %d: generation %d base %d released %v on %d", n.name, a.Range, a.Claim.Generation, a.Claim.Base, a.Claim.Released, a.Expect)
			n.write(i, subject, a.Claim, subject, a.Expect, simTimeout, func(seq uint64, o Outcome) {
				if world == n.worlds[i] {
					n.act(i, m.ClaimWritten(s.now, a.Range, a.Claim, seq, o))
				}
			})
		case Replay:
			n.replay(i, a)
		case Resume:
			sh := n.shards[a.Range]
			sh.lane.Resume(a.Expect)
			n.send(sh)
			n.mailTo(sh, func() {
				sh.claim, sh.paused, sh.flushing = a.Claim, false, a.End
				sh.highest, sh.counters = 0, [simExtensions]uint32{}
				n.release(sh)
			})
		case Pause:
			sh := n.shards[a.Range]
			sh.lane.Pause()
			n.mailTo(sh, func() { sh.paused = true })
		case Flush:
			n.shards[a.Range].flushing = true
			n.release(n.shards[a.Range])
		case Drop:
			n.drop(n.shards[a.Range])
		case BeginAnew:
			n.act(i, m.Recreated(s.now, s.streams[i].epoch))
			n.follow(s.streams[i])
		case Refuse:
			n.crash()
			s.after(s.between(50*time.Millisecond, 2*time.Second), n.start)
		}
	}
}

package ownership

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	simTick    = 50 * time.Millisecond
	simTimeout = time.Second // of a claim or a record
	simGroup   = 3
)

// simNode is one process after the other under one name: two machines, and the shards as package actors and
// cluster/journal hold them, in small.
type simNode struct {
	sim      *sim
	name     string
	life     int // counts processes
	alive    bool
	leaving  bool
	frozen   Time
	deaf     Time         // no gossip until then
	cut      map[int]Time // from a stream, until then
	fifo     map[int]Time // nothing overtakes on one connection
	feed     map[int]Time // nor in what a stream shows
	machines []*Machine
	worlds   []int
	shards   []*simShard
	reached  map[string]Time
	outbox   []func() // NOTIFYs that wait to be connected again
}

type simShard struct {
	id       int
	open     bool
	paused   bool
	flushing bool
	claim    Claim
	lane     Lane[record]
	issued   uint64
	durable  uint64
	lists    [simExtensions][]int64
	tickets  [simExtensions]uint64
	counters [simExtensions]uint32
	highest  uint32
	queue    []entry
	waiting  []*request
	mail     Time // what the shard is told comes late, and in order
	opened   int  // counts openings: mail for an earlier one is not read
}

type record struct {
	ext  int
	list []int64
}

// entry leaves once everything written before it is durable.
type entry struct {
	ticket uint64
	wrote  bool
	ext    int
	list   []int64 // what it tells
	tells  bool
	q      *request
}

func (n *simNode) start() {
	if n.alive {
		return
	}
	s := n.sim
	s.log("start %s", n.name)
	n.life++
	n.alive, n.leaving, n.frozen = true, false, 0
	n.fifo, n.feed, n.reached, n.outbox = map[int]Time{}, map[int]Time{}, map[string]Time{}, nil
	n.shards = make([]*simShard, simShards)
	for i := range n.shards {
		n.shards[i] = &simShard{id: i}
	}
	n.machines, n.worlds = nil, nil
	for _, st := range s.streams {
		n.machines = append(n.machines, New(Config{Node: n.name, Shards: []int{st.number, st.number + 2}, Epoch: st.epoch,
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

// follow shows the node all that the stream holds, and says so.
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

// post runs something in this process after d; it waits while the process is frozen and dies with it.
func (n *simNode) post(d Time, run func()) { n.postAt(n.sim.now+d, run) }

func (n *simNode) postAt(t Time, run func()) {
	life := n.life
	n.sim.at(t, func() {
		switch {
		case n.life != life || !n.alive:
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
	n.life++
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

func (n *simNode) tick() {
	n.post(simTick, n.tick)
	s := n.sim
	alive := []string{}
	for _, o := range s.nodes {
		if o == n || o.alive && s.now >= o.frozen && s.now >= o.deaf && s.now >= n.deaf {
			n.reached[o.name] = s.now
		}
		if t, ok := n.reached[o.name]; ok && s.now-t < time.Second {
			alive = append(alive, o.name)
		}
	}
	for i, m := range n.machines {
		st := s.streams[i]
		if n.worlds[i] != st.world && s.now >= n.cut[i] && s.now >= st.down {
			n.worlds[i] = st.world
			n.act(i, m.Recreated(s.now, st.epoch))
			n.follow(st)
		}
		n.act(i, m.Members(s.now, alive))
		n.act(i, m.Tick(s.now))
	}
	for _, sh := range n.shards {
		n.send(sh)
		n.release(sh)
	}
	if n.leaving && n.machines[0].Left() && n.machines[1].Left() {
		n.crash()
		s.after(s.between(50*time.Millisecond, 2*time.Second), n.start)
	}
}

// deliver is what a stream shows a node: in order, late, and now and then twice.
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
	when := func() (t time.Time) { // first by word of mouth, which does not say when
		if told || s.calm || world != n.worlds[i] {
			t = m.at
		}
		told = true
		return t
	}
	var show func()
	show = func() {
		if s.now < n.cut[i] {
			n.postAt(n.cut[i], show) // in order: whatever comes later waits as long and was posted later
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
			n.act(i, n.machines[i].ClaimSeen(s.now, shard, v, m.seq, when()))
		}
	}
	n.postAt(at, show)
	n.postAt(at+s.between(0, 300*time.Millisecond), show)
}

// write is a conditional write on its way to a stream and back: it may be refused for no reason, get lost, lose its
// answer, or arrive long after its sender gave up on it.
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
	world, life := n.worlds[i], n.life
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
			if n.life == life {
				n.post(time.Millisecond, func() { answer(0, Busy) })
			}
			return
		}
		seq, o := st.apply(subject, value, condition, expect)
		if !silent && n.life == life && s.now >= n.cut[i] {
			n.post(s.between(100*time.Microsecond, 5*time.Millisecond), func() { answer(seq, o) })
		}
	})
}

// atLeader reads a subject's last message at the leader; it fails when there is none.
func (n *simNode) atLeader(i int, subject string, done func(m message, ok bool)) {
	s, st, world, life := n.sim, n.sim.streams[i], n.worlds[i], n.life
	s.after(s.between(100*time.Microsecond, 5*time.Millisecond), func() {
		if n.life != life {
			return
		}
		if s.now < n.cut[i] || s.now < st.down || s.chance(30) {
			n.post(300*time.Millisecond, func() { done(message{}, false) })
			return
		}
		var m message
		if st.lag > 0 && s.chance(10) {
			m = st.past()[subject] // a leader that was deposed and does not know it yet
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
			n.write(i, subject, a.Lease, subject, a.Expect, Repeat, func(seq uint64, o Outcome) {
				if world == n.worlds[i] {
					n.act(i, m.LeaseWritten(s.now, a.Sent, a.Lease, seq, o))
				}
			})
		case ReadClaim:
			n.atLeader(i, claimSubject(a.Shard), func(got message, ok bool) {
				c, _ := got.value.(Claim)
				n.act(i, m.ClaimRead(s.now, a.Shard, c, got.seq, got.at, ok))
			})
		case WriteClaim:
			subject := claimSubject(a.Shard)
			s.log("%s claims shard %d: generation %d base %d released %v on %d", n.name, a.Shard, a.Claim.Generation, a.Claim.Base, a.Claim.Released, a.Expect)
			n.write(i, subject, a.Claim, subject, a.Expect, simTimeout, func(seq uint64, o Outcome) {
				if world == n.worlds[i] {
					n.act(i, m.ClaimWritten(s.now, a.Shard, a.Claim, seq, o))
				}
			})
		case Replay:
			n.replay(i, a)
		case Resume:
			sh := n.shards[a.Shard]
			sh.lane.Resume(a.Expect)
			n.send(sh)
			n.tell(sh, func() {
				sh.claim, sh.paused, sh.flushing = a.Claim, false, false
				sh.highest, sh.counters = 0, [simExtensions]uint32{}
				n.release(sh)
			})
		case Pause:
			sh := n.shards[a.Shard]
			sh.lane.Pause()
			n.tell(sh, func() { sh.paused = true })
		case Flush:
			n.shards[a.Shard].flushing = true
			n.release(n.shards[a.Shard])
		case Drop:
			n.drop(n.shards[a.Shard])
		case Anew:
			n.act(i, m.Recreated(s.now, s.streams[i].epoch))
			n.follow(s.streams[i])
		case Refuse:
			n.crash()
			s.after(s.between(50*time.Millisecond, 2*time.Second), n.start)
		}
	}
}

// tell is a message to a shard's actor: whatever else the actor does meanwhile, it does as one who has not heard it.
func (n *simNode) tell(sh *simShard, what func()) {
	sh.mail = max(n.sim.now+n.sim.between(0, 2*time.Millisecond), sh.mail)
	if n.sim.chance(20) {
		sh.mail += n.sim.between(0, 300*time.Millisecond)
	}
	opened := sh.opened
	n.postAt(sh.mail, func() {
		if sh.open && sh.opened == opened {
			what()
		}
	})
}

// replay reads the shard at a follower until what it gives holds the claim.
func (n *simNode) replay(i int, a Action) {
	s, m, st := n.sim, n.machines[i], n.sim.streams[i]
	world := n.worlds[i]
	again := func() { n.post(20*time.Millisecond, func() { n.replay(i, a) }) }
	if s.now < n.cut[i] || s.chance(20) {
		again()
		return
	}
	found := st.past()
	n.post(s.between(time.Millisecond, 20*time.Millisecond), func() {
		if world != n.worlds[i] || world != st.world {
			return
		}
		got := found[claimSubject(a.Shard)]
		c, _ := got.value.(Claim)
		ok, newer := m.Covers(a.Claim, a.Expect, c, got.seq)
		if !ok && !newer {
			again()
		}
		if !ok {
			return
		}
		for _, open := range m.Replayed(s.now, a.Shard, a.Claim) {
			n.opened(open, found)
		}
	})
}

func (n *simNode) opened(a Action, found map[string]message) {
	n.sim.log("%s opens shard %d: generation %d", n.name, a.Shard, a.Claim.Generation)
	sh := n.shards[a.Shard]
	waiting := sh.waiting
	*sh = simShard{id: sh.id, open: true, claim: a.Claim, lane: sh.lane, opened: sh.opened + 1}
	sh.lane.Open(a.Expect)
	for ext := range simExtensions {
		r := found[fmt.Sprintf("%d.x%d", a.Shard, ext)]
		if r.seq == 0 {
			continue
		}
		sh.lists[ext] = slices.Clone(r.value.([]int64))
		if a.All || !r.at.Before(a.Since) {
			sh.queue = append(sh.queue, entry{ext: ext, list: sh.lists[ext], tells: true})
		}
	}
	for _, q := range waiting {
		n.request(q)
	}
	n.release(sh)
}

func (n *simNode) drop(sh *simShard) {
	if sh.open {
		n.sim.log("%s drops shard %d", n.name, sh.id)
	}
	doubt := sh.lane.Close()
	queue, waiting := sh.queue, sh.waiting
	*sh = simShard{id: sh.id, lane: sh.lane, opened: sh.opened + 1}
	for _, e := range queue {
		if e.q != nil {
			n.sim.answered(e.q, nil, false, !e.wrote || e.ticket > doubt)
		}
	}
	for _, q := range waiting {
		n.sim.answered(q, nil, false, true)
	}
}

func (n *simNode) request(q *request) {
	s, sh := n.sim, n.shards[q.shard]
	s.log("%s is asked for %v, %d", n.name, q.object, q.id)
	switch {
	case s.now >= q.deadline:
		return // dropped: its caller has given up
	case !sh.open && n.machines[q.shard%2].Mine(q.shard):
		sh.waiting = append(sh.waiting, q)
		return
	case !sh.open || sh.flushing:
		s.answered(q, nil, false, true)
		return
	}
	if s.chance(100) { // as if its counters were used up
		n.act(q.shard%2, n.machines[q.shard%2].Spent(s.now, q.shard))
	}
	e := entry{ext: q.ext, q: q, tells: q.id < 0, ticket: sh.issued, list: sh.lists[q.ext]} // as it is now: what comes later may not be kept yet
	if q.id > 0 {
		list := append(slices.Clone(sh.lists[q.ext]), q.id)
		sh.lists[q.ext] = list
		sh.issued++
		sh.tickets[q.ext] = sh.issued
		e = entry{ext: q.ext, q: q, ticket: sh.issued, wrote: true, tells: true, list: list}
		sh.lane.Add(record{q.ext, list})
		if s.off.CommitFirst {
			n.leaves(sh, &e)
		}
		n.send(sh)
	}
	sh.queue = append(sh.queue, e)
	n.release(sh)
}

// send puts a group of a lane on its way.
func (n *simNode) send(sh *simShard) {
	ready := sh.lane.Ready()
	if len(ready) == 0 {
		return
	}
	i, world := sh.id%2, n.worlds[sh.id%2]
	group, fence, writes := sh.lane.Send(min(len(ready), 1+n.sim.rng.IntN(simGroup)))
	for k, w := range writes {
		condition, expect := claimSubject(sh.id), fence
		subject := fmt.Sprintf("%d.x%d", sh.id, w.ext)
		if n.sim.off.Fence {
			condition, expect = "none", 0
		}
		n.write(i, subject, w.list, condition, expect, simTimeout, func(_ uint64, o Outcome) {
			if world != n.worlds[i] {
				return
			}
			done, kept, verdict := sh.lane.Answer(group, k, o)
			if done {
				n.settled(sh, kept, verdict)
			}
		})
	}
}

func (n *simNode) settled(sh *simShard, kept uint64, v Verdict) {
	m := n.machines[sh.id%2]
	sh.durable = max(sh.durable, kept)
	n.sim.log("%s kept shard %d up to %d, verdict %d", n.name, sh.id, kept, v)
	n.release(sh)
	switch {
	case v == Lose:
		n.act(sh.id%2, m.Lost(n.sim.now, sh.id))
	case v == Spend && !n.sim.off.SpendClaim:
		n.act(sh.id%2, m.Spent(n.sim.now, sh.id))
	case v == Later:
		n.post(simTick, func() { n.send(sh) })
	default:
		n.send(sh)
	}
}

// release lets leave what has become durable, in order.
func (n *simNode) release(sh *simShard) {
	m := n.machines[sh.id%2]
	for len(sh.queue) > 0 && sh.open {
		e := &sh.queue[0]
		if e.ticket > sh.durable || sh.paused && !n.sim.off.Silence {
			return
		}
		if !e.wrote && n.sim.now >= m.AnswerUntil() || !n.leaves(sh, e) {
			return
		}
		if len(sh.queue) == 0 {
			return // leaving made the shard drop
		}
		sh.queue = sh.queue[1:]
	}
	if sh.open && sh.flushing && sh.lane.Idle() {
		n.act(sh.id%2, m.Flushed(n.sim.now, sh.id))
	}
}

// leaves tells and answers. It says false when the claim's numbers are used up.
func (n *simNode) leaves(sh *simShard, e *entry) bool {
	s, i := n.sim, sh.id%2
	if e.tells {
		sh.counters[e.ext] = cmp.Or(sh.counters[e.ext], sh.highest)
		number, next, ok, todo := n.machines[i].Number(s.now, sh.id, sh.claim.Generation, sh.counters[e.ext])
		n.act(i, todo)
		if !ok {
			return false
		}
		sh.counters[e.ext], sh.highest = next, max(sh.highest, next)
		n.notify(sh, e, number)
	}
	if e.q != nil {
		s.answered(e.q, slices.Clone(e.list), n.worlds[i] == s.streams[i].world, false) // an answer of another world is no answer here
		e.q = nil
	}
	e.tells = false
	return true
}

// notify is a NOTIFY on its way: it leaves with the process or waits for it to be connected again.
func (n *simNode) notify(sh *simShard, e *entry, number uint32) {
	s, o, list, claim, st := n.sim, object{sh.id, e.ext}, slices.Clone(e.list), sh.claim, n.sim.streams[sh.id%2]
	epoch := claim.Epoch
	at := max(s.now+s.between(0, 5*time.Millisecond), n.fifo[9])
	n.fifo[9] = at
	arrive := func() {
		if epoch == st.epoch {
			s.check.notified(o, epoch, claim.Generation, number, list)
		}
	}
	life := n.life
	s.at(at, func() {
		if n.life != life || s.now >= n.cut[0] && len(n.outbox) == 0 {
			arrive()
			return
		}
		if n.outbox = append(n.outbox, arrive); len(n.outbox) == 1 {
			n.postAt(n.cut[0], n.pump)
		}
	})
}

// pump sends what waited for the node to be connected again, in order.
func (n *simNode) pump() {
	if n.sim.now < n.cut[0] {
		n.postAt(n.cut[0], n.pump)
		return
	}
	for _, arrive := range n.outbox {
		arrive()
	}
	n.outbox = nil
}

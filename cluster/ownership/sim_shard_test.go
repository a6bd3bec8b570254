package ownership

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/ring"
)

// simShard is a shard as its node holds it. It is alone in its range.
type simShard struct {
	id       int
	open     bool
	paused   bool
	flushing bool
	claim    Claim
	lane     Lane[record]
	ring     *ring.Ring
	issued   uint64 // the ticket of the last write
	durable  uint64 // the highest ticket that is kept
	lists    [simExtensions][]int64
	calls    *presence.Extension
	source   *simOwned
	counters [simExtensions]uint32
	highest  uint32
	queue    []entry
	waiting  []*request // requests that wait until the shard is open
	mail     Time       // when the last message in the shard's mailbox arrives: messages come late, and in order
	opened   int        // counts openings: a message for an earlier one is not read
}

// record is the durable form of one extension, its list, or what the file sim_switch_test.go writes.
type record struct {
	name string // of its key
	data []byte
	life time.Duration // 0: until another one replaces it
}

// found is a record that was read.
type found struct {
	shard int
	name  string
	data  []byte
	at    time.Time
}

// listName is the name of an extension's list.
func listName(ext int) string { return fmt.Sprintf("x%d", ext) }

// encodeList makes the record of a list.
func encodeList(list []int64) (b []byte) {
	for _, id := range list {
		b = binary.AppendVarint(b, id)
	}
	return b
}

func decodeList(b []byte) (list []int64) {
	for len(b) > 0 {
		id, n := binary.Varint(b)
		list, b = append(list, id), b[n:]
	}
	return list
}

// entry makes an entry of a slot's message. Its data is the record's behind its name.
func (r record) entry(shard int) ring.Entry {
	sum := sha256.Sum256([]byte(r.name))
	return ring.Entry{Shard: shard, Kind: r.name[0], Key: ring.Key(sum[:16]), Life: uint32(r.life / time.Second), Data: slices.Concat([]byte(r.name), []byte{0}, r.data)}
}

// simRing are the bounds of the rings: so small that slots are soon written again.
func (s *sim) simRing() ring.Options {
	return ring.Options{Slots: simSlots, Message: 1000, Least: 100, Age: 100 * time.Millisecond, Off: s.off.Ring}
}

const simSlots = 20

// slotSubject is the subject of a slot.
func slotSubject(shard, slot int) string { return fmt.Sprintf("%d.log.%d", shard, slot) }

// slots returns the messages of a range among those that were read, in the order of their sequences.
func slots(shard int, all map[string]message) (messages []ring.Message) {
	for slot := range simSlots {
		if m := all[slotSubject(shard, slot)]; m.seq > 0 {
			messages = append(messages, ring.Message{Slot: slot, Sequence: m.seq, At: m.at.UnixMicro(), Data: m.value.([]byte)})
		}
	}
	slices.SortFunc(messages, func(a, b ring.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return messages
}

// load makes a Ring of what was read, and returns the records.
func (n *simNode) load(r *ring.Ring, shard int, all map[string]message) (records []found) {
	err := r.Load(n.sim.now, slots(shard, all), func(e ring.Entry) {
		name, data, _ := strings.Cut(string(e.Data), "\x00")
		records = append(records, found{e.Shard, name, []byte(data), time.UnixMicro(e.At)})
	})
	if err != nil {
		n.sim.check.fail("%v", err)
	}
	return records
}

// entry is a notification or an answer that waits in the shard's queue. It leaves once all writes up to its ticket are
// durable.
type entry struct {
	ticket uint64
	wrote  bool // it is of a write; else of a read
	ext    int
	list   []int64 // what it tells or answers
	tells  bool    // it sends a NOTIFY
	q      *request
}

// mailTo puts a message into the mailbox of a shard's actor. Until it arrives, the actor acts without knowing of it.
func (n *simNode) mailTo(sh *simShard, what func()) {
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

// replay reads the shard at a follower, again and again, until the answer holds the claim.
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
		got := found[claimSubject(a.Range)]
		c, _ := got.value.(Claim)
		ok, newer := m.Covers(a.Claim, a.Expect, c, got.seq)
		if !ok && !newer {
			again()
		}
		if !ok {
			return
		}
		for _, open := range m.Replayed(s.now, a.Range, a.Claim) {
			n.opened(open, found)
		}
	})
}

func (n *simNode) opened(a Action, all map[string]message) {
	n.sim.log("%s opens shard %d: generation %d", n.name, a.Range, a.Claim.Generation)
	sh := n.shards[a.Range]
	waiting := sh.waiting
	*sh = simShard{id: sh.id, open: true, flushing: a.End, claim: a.Claim, lane: sh.lane, opened: sh.opened + 1, ring: ring.New(n.sim.simRing())}
	sh.lane.Open(a.Expect)
	records := n.load(sh.ring, sh.id, all)
	for _, r := range records {
		var ext int
		if got, _ := fmt.Sscanf(r.name, "x%d", &ext); got == 0 {
			continue
		}
		sh.lists[ext] = decodeList(r.data)
		if a.All || !r.at.Before(a.Since) {
			sh.queue = append(sh.queue, entry{ext: ext, list: sh.lists[ext], tells: true})
		}
	}
	if keeper := sh.id % 2; keeper != sh.id { // with the records of the shard come those that its stream's first one keeps
		records = append(records, n.load(ring.New(n.sim.simRing()), keeper, all)...)
	}
	n.openCalls(sh, records)
	for _, q := range waiting {
		n.request(q)
	}
	n.release(sh)
}

func (n *simNode) drop(sh *simShard) {
	if sh.open {
		n.sim.log("%s drops shard %d", n.name, sh.id)
	}
	doubt := sh.durable + uint64(len(sh.lane.Close()))
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
		return // its caller has given up
	case !sh.open && n.machines[q.shard%2].Mine(q.shard):
		sh.waiting = append(sh.waiting, q)
		return
	case !sh.open || sh.flushing:
		s.answered(q, nil, false, true)
		return
	}
	if s.chance(100) { // as if a counter were full
		n.act(q.shard%2, n.machines[q.shard%2].Spent(s.now, q.shard))
	}
	e := entry{ext: q.ext, q: q, tells: q.id == tellAgain, ticket: sh.issued, list: sh.lists[q.ext]} // the list as it is now: later writes may not be kept yet
	if q.act != nil {
		e.list = nil
		if all := q.act(n, sh); len(all) > 0 {
			n.writeAll(sh, all)
			e.wrote, e.ticket = true, sh.issued
			if s.off.AckEarly {
				n.leaves(sh, &e)
			}
		}
	}
	if q.id > 0 {
		list := append(slices.Clone(sh.lists[q.ext]), q.id)
		sh.lists[q.ext] = list
		e = entry{ext: q.ext, q: q, ticket: sh.issued + 1, wrote: true, tells: true, list: list}
		if s.off.CommitFirst {
			n.leaves(sh, &e)
		}
		n.writeAll(sh, []record{{name: listName(q.ext), data: encodeList(list)}})
	}
	sh.queue = append(sh.queue, e)
	n.release(sh)
}

// writeAll gives records to the shard's lane, each with a ticket of its own.
func (n *simNode) writeAll(sh *simShard, all []record) {
	for _, r := range all {
		sh.issued++
		sh.lane.Add(r)
	}
	n.send(sh)
}

// send puts a group of a lane on its way, in one message.
func (n *simNode) send(sh *simShard) {
	ready := sh.lane.Ready()
	if len(ready) == 0 {
		return
	}
	n.readSlots(sh)
	slot, carried, ok := sh.ring.Compose(n.sim.now, n.sim.now < n.machines[sh.id%2].AnswerUntil())
	if !ok {
		return // until slots were read
	}
	i, world, opened := sh.id%2, n.worlds[sh.id%2], sh.opened
	group, fence, writes := sh.lane.Send(min(len(ready), 1+n.sim.rng.IntN(simGroup)))
	message := slices.Clone(carried)
	n.sim.check.carried += len(carried)
	for _, w := range writes {
		e := w.entry(sh.id)
		message, _ = ring.Append(message, &e)
		n.sim.check.written += len(e.Data)
	}
	condition, expect := claimSubject(sh.id), fence
	if n.sim.off.Fence {
		condition, expect = "none", 0
	}
	n.write(i, slotSubject(sh.id, slot), message, condition, expect, simTimeout, func(seq uint64, o Outcome) {
		if world != n.worlds[i] || sh.opened != opened {
			return
		}
		kept, verdict, ok := sh.lane.Answer(group, o)
		if ok && o == Accepted {
			sh.ring.Accepted(n.sim.now, seq, message)
		}
		if ok {
			n.settled(sh, kept, verdict)
		}
	})
}

// readSlots reads, at a follower, the slots that the ring wants to carry on.
func (n *simNode) readSlots(sh *simShard) {
	wanted := sh.ring.Wants()
	if len(wanted) == 0 {
		return
	}
	s, st, opened := n.sim, n.sim.streams[sh.id%2], sh.opened
	world := n.worlds[sh.id%2]
	var messages []ring.Message
	of := map[string]message{}
	if s.now >= n.cut[sh.id%2] && !s.chance(10) && world == st.world {
		lags := s.wall().Add(-s.between(0, st.lag)) // what is newer than this the follower does not have yet
		for _, slot := range wanted {
			subject := slotSubject(sh.id, slot)
			if at, ok := st.last[subject]; ok && !st.log[at].at.After(lags) {
				of[subject] = st.log[at]
			}
		}
		messages = slots(sh.id, of)
	}
	n.post(s.between(time.Millisecond, 20*time.Millisecond), func() {
		if sh.opened == opened && world == st.world {
			sh.ring.Read(messages)
			n.send(sh)
		}
	})
}

func (n *simNode) settled(sh *simShard, kept uint64, v Verdict) {
	m := n.machines[sh.id%2]
	sh.durable = max(sh.durable, kept)
	n.sim.log("%s kept shard %d up to %d, verdict %d", n.name, sh.id, kept, v)
	n.release(sh)
	switch {
	case v == LoseRange:
		n.act(sh.id%2, m.Lost(n.sim.now, sh.id))
	case v == SpendClaim && !n.sim.off.SpendClaim:
		n.act(sh.id%2, m.Spent(n.sim.now, sh.id))
	case v == SendLater:
		n.post(simTick, func() { n.send(sh) })
	default:
		n.send(sh)
	}
}

// release sends the entries of the queue that may leave, in order.
func (n *simNode) release(sh *simShard) {
	m := n.machines[sh.id%2]
	for len(sh.queue) > 0 && sh.open {
		e := &sh.queue[0]
		if e.ticket > sh.durable || sh.paused && !n.sim.off.NotifyPause {
			return
		}
		if !e.wrote && n.sim.now >= m.AnswerUntil() {
			if e.tells || !n.cutOff(sh.id%2) {
				return
			}
			n.answerCutOff(e)
		}
		if !n.leaves(sh, e) {
			return
		}
		if len(sh.queue) == 0 {
			return // the shard was dropped while the entry left
		}
		sh.queue = sh.queue[1:]
	}
	if sh.open && sh.flushing && sh.lane.Idle() {
		if sh.claim.Base > LastBase { // all subscriptions are ended, and phones begin anew (rule 8)
			n.sim.check.began[sh.id] = seenClaim{sh.claim.Epoch, sh.claim.Generation}
		}
		n.act(sh.id%2, m.Flushed(n.sim.now, sh.id))
	}
}

// answerCutOff answers, without NATS, an entry that wrote nothing: a read is answered and marked stale, a command is refused
// (rule 1).
func (n *simNode) answerCutOff(e *entry) {
	q := e.q
	e.q = nil
	switch {
	case q == nil:
	case q.id == readIt || n.sim.off.StaleCommands:
		n.sim.answeredStale(q, slices.Clone(e.list))
	default:
		n.sim.answered(q, nil, false, false)
	}
}

// leaves sends an entry's NOTIFY and answer. It returns false when Number gave no number.
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

// notify takes a NOTIFY to the edge. Once sent it arrives even if the process ends; while the node is cut off it waits
// until the node is connected again.
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
	process := n.process
	s.at(at, func() {
		if n.process != process || s.now >= n.cut[0] && len(n.outbox) == 0 {
			arrive()
			return
		}
		if n.outbox = append(n.outbox, arrive); len(n.outbox) == 1 {
			n.postAt(n.cut[0], n.pump)
		}
	})
}

// pump sends the NOTIFYs that waited until the node was connected again, in order.
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

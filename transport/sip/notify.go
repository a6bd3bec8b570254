package sip

import (
	"cmp"
	"context"
	"encoding/hex"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/age"
	"lamplight/transport/sip/message"
)

const (
	wheelTick  = 50 * time.Millisecond
	wheelSlots = 1024

	timerT1 = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	timerT2 = 4 * time.Second
	timerF  = 32 * time.Second // how long the edge waits for an answer to a NOTIFY

	windowFirst      = 64  // unanswered NOTIFYs to one address on UDP, at first;
	windowMost       = 512 // one more for each answer, up to this
	windowConnection = 16  // unanswered NOTIFYs on one connection

	keptTimers = 64 // timers for which a slot of the wheel keeps memory

	recentLife = 20 * time.Second // how long it is remembered what a watcher was told last, at least
)

// The codes that the edge reports itself, as if the phone had answered so.
const (
	codeGone       = 481 // the SIP dialog is older than the journal
	codeTimeout    = 408 // RFC 3261 §17.1.2: no answer came
	codeFlowFailed = 430 // RFC 5626 §11.5: the connection of the phone is gone
)

// subscription names a subscription, as the owner does.
type subscription struct {
	callID       string
	to           presence.Address
	eventPackage presence.Package
}

var subscriptionSeed = maphash.MakeSeed()

// hash names the subscription in 64 bits.
func (k *subscription) hash() uint64 {
	var h maphash.Hash
	h.SetSeed(subscriptionSeed)
	h.WriteString(k.callID)
	h.WriteByte(byte(k.eventPackage))
	h.WriteString(k.to.User)
	h.WriteByte('@')
	h.WriteString(k.to.Realm)
	return h.Sum64()
}

// outgoing is a NOTIFY of one subscription that is under way, or is held until the SUBSCRIBE is answered. At most one more waits behind
// it: the newest. It exists only as long as there is something of this.
type outgoing struct {
	key        subscription
	told       *Told // under way; nil: none is
	target     int   // of told
	next       *Told // waits
	nextTarget int   // of next

	held     int    // SUBSCRIBEs that were not answered
	queued   bool   // waits for the window of its destination, for a connection, or for a slot
	slot     int32  // -1: it has none
	datagram bool   // it goes over UDP however large it is: a connection could not be made
	number   uint64 // of the branch: each NOTIFY has another one
	hop      flow
	to       *destination
	tries    int
	sent     time.Time
	expires  time.Time // when timer F ends

	retryAfter int // seconds, of the phone's answer; 0: it had none
}

// destination is where NOTIFYs go that share a window: a connection, or an address on UDP. It exists only as long as some are under way.
type destination struct {
	key     place
	window  int
	most    int
	flying  int
	waiting []*outgoing

	draining bool // end goes through waiting
}

// place names a destination.
type place struct {
	number uint64         // of a connection
	remote netip.AddrPort // on UDP, and of a connection that is being made
}

// notifier sends the NOTIFYs of some of the extensions: which ones, their shards say. All that it holds is bounded.
type notifier struct {
	server *Server
	index  int
	wake   chan struct{}

	mu           sync.Mutex
	inbox        []*Told
	inboxTargets int
	all          map[subscription]*outgoing
	slots        []*outgoing
	free         []int32
	flying       int // slots in use
	places       map[place]*destination
	overflow     []*outgoing       // wait for a slot
	recent       map[uint64]latest // by hash of the subscription: what it was told last
	before       map[uint64]latest // the generation before
	turned       time.Time
	wheel        [wheelSlots][]timer
	now          int64 // the tick up to which timers have fired
	timers       int
	buffer       []byte
}

// latest is what a watcher was told last.
type latest struct {
	epoch    int64
	sequence uint32
}

// timer is a time at which a slot must be looked at.
type timer struct {
	slot   int32
	number uint32
}

func newNotifier(s *Server, index int) *notifier {
	return &notifier{server: s, index: index, wake: make(chan struct{}, 1), all: map[subscription]*outgoing{}, places: map[place]*destination{},
		recent: map[uint64]latest{}, buffer: make([]byte, 0, 4096)}
}

// notifierOf returns the notifier for an extension.
func (s *Server) notifierOf(to presence.Address) *notifier {
	return s.senders[actors.ShardOf(to)%len(s.senders)]
}

// maxInbox is how many targets may wait for a notifier to look at them.
const maxInbox = 256 << 10

// Tell sends NOTIFYs to the watchers of an extension. It returns before they are sent, unless very many wait. Tells for one extension must come in the order of
// their Sequences, or the older ones are dropped.
func (s *Server) Tell(t *Told) {
	s.epochs.note(t.Shard, t.Epoch)
	if len(t.Targets) > 0 && t.Targets[0].End == presence.Deactivated {
		s.lastEnd.Set(time.Now())
	}
	n := s.notifierOf(t.To)
	n.mu.Lock()
	full := n.inboxTargets >= maxInbox
	n.inbox = append(n.inbox, t)
	n.inboxTargets += len(t.Targets)
	n.mu.Unlock()
	if full { // whoever tells more than can be sent does the work
		s.metrics.refused.WithLabelValues("inbox").Inc()
		n.takeInbox()
		return
	}
	n.wakeUp()
}

// wakeUp has run take the inbox and turn the wheel.
func (n *notifier) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default: // run has not taken the last one yet
	}
}

// run sends what is told, and what was not answered, until ctx ends. The wheel turns only while a slot has a timer.
func (n *notifier) run(ctx context.Context) {
	tick := time.NewTimer(wheelTick)
	defer tick.Stop()
	turning := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			n.takeInbox()
			if !turning {
				tick.Reset(wheelTick)
				turning = true
			}
		case now := <-tick.C:
			if turning = n.fire(now); turning {
				tick.Reset(wheelTick)
			}
		}
	}
}

// takeInbox sends what has been told since the last time. It lets go of the lock between two Tolds, so that answers are heard.
func (n *notifier) takeInbox() {
	n.mu.Lock()
	inbox := n.inbox
	n.inbox, n.inboxTargets = nil, 0
	n.mu.Unlock()
	for _, t := range inbox {
		n.mu.Lock()
		now := time.Now()
		for i := range t.Targets {
			n.push(t, i, now)
		}
		n.mu.Unlock()
	}
}

// push sends one NOTIFY now, or keeps it while another one of the subscription is under way.
func (n *notifier) push(t *Told, i int, now time.Time) {
	key := subscription{t.Targets[i].CallID, t.To, t.Package}
	if begun, ok := sealed(t.Targets[i].ToTag); ok && int64(begun) < t.Epoch.Unix() {
		// The journal was made again, or restored, after the SIP dialog began. The CSeq must not go back in it, and perhaps would. The
		// owner ends the subscription, and the phone's next refresh is answered 481.
		n.server.metrics.overtaken.Inc()
		n.server.report(t, i, codeGone, 0)
		return
	}
	if !n.newer(key, t, now) {
		n.server.metrics.overtaken.Inc()
		return
	}
	o := n.all[key]
	if o == nil {
		o = &outgoing{key: key, slot: -1}
		n.all[key] = o
	} else if o.told != nil || o.held > 0 || o.queued {
		if o.next != nil {
			n.server.metrics.replaced.Inc()
		}
		o.next, o.nextTarget = t, i
		return
	}
	o.told, o.target = t, i
	n.start(o, now)
}

// newer says whether a NOTIFY is newer than all that its watcher was told, and notes it.
func (n *notifier) newer(key subscription, t *Told, now time.Time) bool {
	if now.Sub(n.turned) > recentLife {
		n.turn(now)
	}
	hash := key.hash()
	last, known := n.recent[hash]
	if !known {
		last, known = n.before[hash]
	}
	epoch := t.Epoch.UnixNano()
	if known && (epoch < last.epoch || epoch == last.epoch && t.Sequence <= last.sequence) {
		return false
	}
	n.recent[hash] = latest{epoch, t.Sequence}
	return true
}

// turn begins a generation of recent.
func (n *notifier) turn(now time.Time) {
	n.before, n.recent, n.turned = n.recent, make(map[uint64]latest, len(n.recent)/2), now
}

// sweep forgets what is over, also when nothing is told any more. While nothing is under way it makes the maps and lists anew: they keep the
// memory of all that they held.
func (n *notifier) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.turned) > recentLife {
		n.turn(now)
	}
	if len(n.all) == 0 && len(n.places) == 0 && n.timers == 0 {
		n.all, n.places, n.slots, n.free, n.overflow = map[subscription]*outgoing{}, map[place]*destination{}, nil, nil, nil
	}
}

// hold keeps the NOTIFYs of a subscription back until release: the phone is to get the answer to its SUBSCRIBE first.
func (n *notifier) hold(key subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.all[key]
	if o == nil {
		o = &outgoing{key: key, slot: -1}
		n.all[key] = o
	}
	o.held++
}

// release sends what was held.
func (n *notifier) release(key subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.all[key]
	if o == nil || o.held == 0 {
		return
	}
	o.held--
	if o.told == nil && !o.queued {
		n.advance(o, time.Now())
	}
}

// advance goes on with the NOTIFY that waits, or forgets the subscription when none does.
func (n *notifier) advance(o *outgoing, now time.Time) {
	if o.held > 0 {
		return
	}
	if o.next == nil {
		delete(n.all, o.key)
		return
	}
	o.told, o.target, o.next = o.next, o.nextTarget, nil
	n.start(o, now)
}

// start finds out where a NOTIFY goes, and sends it when there is room.
func (n *notifier) start(o *outgoing, now time.Time) {
	s, t := n.server, &o.told.Targets[o.target]
	hop, err := s.find(t.Route, t.Contact)
	if err != nil {
		s.metrics.unreachable.Inc()
		n.finish(o, codeFlowFailed, now)
		return
	}
	if n.flying >= maxInFlight {
		o.queued = true
		n.overflow = append(n.overflow, o)
		return
	}
	if hop.flow.connection == nil && !hop.dial.IsValid() && !o.datagram {
		hop = s.overTCP(hop, o)
	}
	key := place{remote: hop.flow.remote}
	if hop.dial.IsValid() {
		key = place{remote: hop.dial, number: ^uint64(0)}
	} else if hop.flow.connection != nil {
		key = place{number: hop.flow.connection.number}
	}
	d := n.places[key]
	if d == nil {
		d = &destination{key: key, window: windowFirst, most: windowMost}
		if key.number != 0 {
			d.window, d.most = windowConnection, windowConnection
		}
		n.places[key] = d
		if hop.dial.IsValid() {
			d.window = 0 // all wait until the connection is there
			s.dial(hop.transport, hop.dial, func() { n.connected(d) })
		}
	}
	o.to, o.hop = d, hop.flow
	if d.flying >= d.window {
		o.queued = true
		d.waiting = append(d.waiting, o)
		return
	}
	n.launch(o, now)
}

// headSize is about what the head of a NOTIFY has beside the parts that overTCP counts.
const headSize = 420

// overTCP returns the next hop of a NOTIFY to a phone on UDP: a connection when the request is too large for a datagram, and the phone's
// profile or Contact says that it takes one (RFC 3261 §18.1.1). Behind a proxy it is the proxy's to say.
func (s *Server) overTCP(hop nextHop, o *outgoing) nextHop {
	t := &o.told.Targets[o.target]
	w := readRoute(t.Route)
	if w.routes != "" {
		return hop
	}
	p := s.cfg.Profiles.Named(w.profile)
	_, document := o.told.document(p)
	size := headSize + 2*len(t.Contact) + len(t.CallID) + 2*len(o.key.to.User) + len(o.key.to.Realm) + len(t.From) + len(t.FromTag) + len(t.ToTag) + len(document)
	if size <= maxDatagram {
		return hop
	}
	contact, _, ok := message.ParseAddress([]byte(t.Contact))
	transport, _ := message.Param(contact.URI.Params, "transport")
	if !ok || !strings.EqualFold(string(transport), transportNames[TCP]) && (p.TCPAbove == 0 || size <= p.TCPAbove) || s.listenerOf(TCP) == nil {
		return hop
	}
	to, ok := addressOf(&contact.URI, TCP)
	if !ok {
		return hop
	}
	if c := s.flows.at(to); c != nil && c.listener.transport == TCP {
		return nextHop{flow: flow{c.listener, c.remote, c}}
	}
	return nextHop{transport: TCP, dial: to}
}

// connected goes on with what waited for a connection: it has been made, or could not be.
func (n *notifier) connected(d *destination) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	delete(n.places, d.key)
	for _, o := range d.waiting {
		o.queued, o.to = false, nil
		hop, err := n.server.find(o.told.Targets[o.target].Route, o.told.Targets[o.target].Contact)
		if err != nil || hop.dial.IsValid() {
			n.server.metrics.unreachable.Inc()
			n.finish(o, codeFlowFailed, now)
			continue
		}
		if hop.flow.connection == nil && n.server.flows.at(d.key.remote) == nil { // a phone on UDP that takes no connection
			o.datagram = true
		}
		n.start(o, now)
	}
}

// launch sends a NOTIFY for the first time.
func (n *notifier) launch(o *outgoing, now time.Time) {
	if k := len(n.free); k > 0 {
		o.slot, n.free = n.free[k-1], n.free[:k-1]
		n.slots[o.slot] = o
	} else {
		o.slot = int32(len(n.slots))
		n.slots = append(n.slots, o)
	}
	n.flying++
	o.to.flying++
	o.number = rand.Uint64()
	o.tries, o.sent, o.expires = 0, now, now.Add(timerF)
	n.transmit(o, now)
}

// transmit sends a NOTIFY, and sets the timer for what is to be done if no answer comes.
func (n *notifier) transmit(o *outgoing, now time.Time) {
	s := n.server
	n.buffer = s.appendNotify(n.buffer[:0], o, n.index)
	if o.hop.connection == nil && len(n.buffer) > maxDatagram {
		s.metrics.large.Inc()
	}
	if err := o.hop.send(n.buffer); err != nil && o.hop.connection != nil {
		o.hop.connection.close()
		n.end(o, codeFlowFailed, now)
		return
	}
	s.metrics.sent.Inc()
	if o.tries > 0 {
		s.metrics.retransmitted.Inc()
	}
	if cap(n.buffer) > 64<<10 {
		n.buffer = make([]byte, 0, 4096)
	}
	wait := o.expires.Sub(now)
	if o.hop.connection == nil {
		wait = min(wait, timerT1<<min(o.tries, 3))
	}
	o.tries++
	n.after(o, now.Add(wait), now)
}

// maxDatagram is the size above which a message on UDP may be fragmented on its way (RFC 3261 §18.1.1).
const maxDatagram = 1300

// tickOf is the number of the tick in which a time lies.
func tickOf(t time.Time) int64 { return int64(age.Of(t) / wheelTick) }

// after has a slot looked at at a time, at most wheelSlots ticks from now.
func (n *notifier) after(o *outgoing, at, now time.Time) {
	if n.timers == 0 { // the wheel may stand still
		n.now = tickOf(now)
		n.wakeUp()
	}
	tick := max(tickOf(at)+1, n.now+1)
	tick = min(tick, n.now+wheelSlots-1)
	slot := &n.wheel[tick%wheelSlots]
	*slot = append(*slot, timer{o.slot, uint32(o.number)})
	n.timers++
}

// fire looks at the slots whose time has come, and says whether a timer is left.
func (n *notifier) fire(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := tickOf(now)
	if n.flying == 0 { // the timers that are left are of NOTIFYs that were answered
		for i := range n.wheel {
			n.empty(i)
		}
		n.timers = 0
	}
	if n.timers == 0 {
		n.now = until
		return false
	}
	for n.now < until {
		n.now++
		i := int(n.now % wheelSlots)
		due := n.wheel[i]
		n.empty(i)
		for _, t := range due {
			n.look(t, now)
			n.timers-- // afterwards: while there is none, after takes the wheel for one that stands still
		}
	}
	return n.timers > 0
}

// empty takes all timers out of the slot i of the wheel. It gives the slot's memory up if that has room for more than keptTimers.
func (n *notifier) empty(i int) {
	if cap(n.wheel[i]) > keptTimers {
		n.wheel[i] = nil
	}
	n.wheel[i] = n.wheel[i][:0]
}

// look looks at a slot whose timer has fired: its NOTIFY is sent again, or given up.
func (n *notifier) look(t timer, now time.Time) {
	o := n.slots[t.slot]
	switch {
	case o == nil || uint32(o.number) != t.number: // it was answered
	case !now.Before(o.expires.Add(-wheelTick)):
		o.to.window = max(o.to.window/2, 1)
		n.end(o, codeTimeout, now)
	case o.hop.connection == nil:
		if o.tries == 1 {
			o.to.window = max(o.to.window/2, 1)
		}
		n.transmit(o, now)
	default:
		n.after(o, o.expires, now)
	}
}

// end frees the slot of a NOTIFY that was answered, or will not be.
func (n *notifier) end(o *outgoing, code int, now time.Time) {
	n.slots[o.slot] = nil
	n.free = append(n.free, o.slot)
	o.slot = -1
	n.flying--
	d := o.to
	d.flying--
	n.finish(o, code, now)
	if d.draining { // a NOTIFY that the loop below has launched failed at once
		return
	}
	d.draining = true
	for d.flying < d.window && len(d.waiting) > 0 && n.flying < maxInFlight {
		next := d.waiting[0]
		d.waiting[0] = nil
		d.waiting = d.waiting[1:]
		next.queued = false
		if next.next != nil { // a newer one came meanwhile
			n.server.metrics.replaced.Inc()
			next.told, next.target, next.next = next.next, next.nextTarget, nil
		}
		n.launch(next, now)
	}
	d.draining = false
	if d.flying == 0 && len(d.waiting) == 0 {
		delete(n.places, d.key)
	}
	for n.flying < maxInFlight && len(n.overflow) > 0 {
		next := n.overflow[0]
		n.overflow[0] = nil
		n.overflow = n.overflow[1:]
		next.queued = false
		n.start(next, now)
	}
}

// finish reports how a NOTIFY was answered, and goes on with the next one of the subscription.
func (n *notifier) finish(o *outgoing, code int, now time.Time) {
	t, i := o.told, o.target
	retryAfter := o.retryAfter
	o.told, o.to, o.hop, o.retryAfter, o.datagram = nil, nil, flow{}, 0, false
	if t.Targets[i].End == presence.Deactivated {
		n.server.lastEnd.Set(now)
	}
	n.server.metrics.replies.count(code)
	n.server.report(t, i, code, retryAfter)
	n.advance(o, now)
}

// report tells the owner how a watcher answered. retryAfter is that of the answer, in seconds; 0: it had none.
func (s *Server) report(t *Told, i, code, retryAfter int) {
	if t.Targets[i].End != "" { // the subscription has ended already
		return
	}
	if t.For != "" && (code == codeTimeout || code == codeFlowFailed) { // its own edge can perhaps reach the phone
		return
	}
	s.cluster.Replied(t.Node, t.To, presence.Notified{Package: t.Package, HasPackage: true, CallID: t.Targets[i].CallID, Sequence: t.Sequence,
		Reply: code, RetryAfter: retryAfter, Edge: cmp.Or(t.For, s.cfg.Name)})
}

const branchBegin = "z9hG4bK"

// appendBranch appends the branch of a NOTIFY: the magic cookie, the notifier, the slot and the random number.
func appendBranch(dst []byte, index int, slot int32, number uint64) []byte {
	var raw [13]byte
	raw[0] = byte(index)
	for i := range 4 {
		raw[1+i] = byte(slot >> (24 - 8*i))
	}
	for i := range 8 {
		raw[5+i] = byte(number >> (56 - 8*i))
	}
	return hex.AppendEncode(append(dst, branchBegin...), raw[:])
}

// readBranch reads a branch that appendBranch wrote.
func readBranch(text []byte) (index int, slot int32, number uint64, ok bool) {
	var raw [13]byte
	if len(text) != len(branchBegin)+2*len(raw) || string(text[:len(branchBegin)]) != branchBegin {
		return 0, 0, 0, false
	}
	if _, err := hex.Decode(raw[:], text[len(branchBegin):]); err != nil {
		return 0, 0, 0, false
	}
	for _, b := range raw[1:5] {
		slot = slot<<8 | int32(b)
	}
	for _, b := range raw[5:] {
		number = number<<8 | uint64(b)
	}
	return int(raw[0]), slot, number, true
}

// answered handles a response: that of a phone to a NOTIFY.
func (s *Server) answered(f flow, m *message.Message) {
	index, slot, number, ok := readBranch(m.Via().Branch)
	if !ok || index >= len(s.senders) || m.Method != message.Notify {
		s.metrics.stray.Inc()
		return
	}
	n := s.senders[index]
	n.mu.Lock()
	defer n.mu.Unlock()
	if slot < 0 || int(slot) >= len(n.slots) {
		s.metrics.stray.Inc()
		return
	}
	o := n.slots[slot]
	if o == nil || o.number != number || string(m.CallID()) != o.key.callID || m.CSeq != o.told.Sequence {
		s.metrics.stray.Inc()
		return
	}
	if m.Status < 200 {
		return
	}
	if m.Status >= 300 {
		if seconds, found, ok := m.Seconds(message.RetryAfter); found && ok {
			o.retryAfter = int(min(seconds, 1<<31))
		}
	}
	now := time.Now()
	s.metrics.latency.Observe(now.Sub(o.sent).Seconds())
	if o.to.window < o.to.most {
		o.to.window++
	}
	n.end(o, m.Status, now)
}

// appendNotify appends the NOTIFY request of an outgoing one (RFC 6665 §4.1.3).
func (s *Server) appendNotify(dst []byte, o *outgoing, index int) []byte {
	t := &o.told.Targets[o.target]
	w := readRoute(t.Route)
	contact := bare(t.Contact)
	l := o.hop.listener
	dst = append(append(append(dst, "NOTIFY "...), contact...), " SIP/2.0\r\n"...)
	var branch [len(branchBegin) + 26]byte
	dst = l.appendVia(dst, appendBranch(branch[:0], index, o.slot, o.number))
	if w.routes != "" {
		dst = message.AppendField(dst, message.Route, w.routes)
	}
	dst = append(append(append(append(dst, "Max-Forwards: 70\r\nFrom: <sip:"...), o.key.to.User...), '@'), o.key.to.Realm...)
	dst = append(append(append(dst, ">;tag="...), t.ToTag...), "\r\nTo: <sip:"...)
	dst = append(append(dst, t.From...), '>')
	if t.FromTag != "" {
		dst = append(append(dst, ";tag="...), t.FromTag...)
	}
	dst = append(append(append(dst, "\r\nCall-ID: "...), t.CallID...), "\r\nCSeq: "...)
	dst = append(strconv.AppendUint(dst, uint64(o.told.Sequence), 10), " NOTIFY\r\n"...)
	dst = l.appendContact(dst, o.key.to.User)
	dst = append(append(dst, "Event: "...), o.told.Package.String()...)
	if w.id != "" {
		dst = append(append(dst, ";id="...), w.id...)
	}
	dst = append(dst, "\r\nSubscription-State: "...)
	if t.End != "" {
		dst = append(append(dst, "terminated;reason="...), t.End...)
	} else {
		left := max(t.Expires-int(time.Since(o.told.Made)/time.Second), 1)
		dst = append(strconv.AppendInt(append(dst, "active;expires="...), int64(left), 10), t.Rates...)
	}
	dst = append(dst, "\r\n"...)
	kind, document := o.told.document(s.cfg.Profiles.Named(w.profile))
	if len(document) > 0 {
		dst = message.AppendField(dst, message.ContentType, kind)
	}
	return append(message.AppendEnd(dst, len(document)), document...)
}

// bare is the URI of a Contact.
func bare(contact string) string {
	if i := strings.IndexByte(contact, '<'); i >= 0 {
		if end := strings.IndexByte(contact[i:], '>'); end > 0 {
			return contact[i+1 : i+end]
		}
	}
	uri, _, _ := strings.Cut(contact, ";")
	return strings.TrimSpace(uri)
}

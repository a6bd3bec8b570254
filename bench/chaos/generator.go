package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"lamplight/cluster/subject"
)

// Bounds of a worker.
const (
	maxPhones   = 24
	maxCalls    = 4
	maxCallAge  = 20 * time.Second // a call that is older only ends: a tombstone lives a minute, on a clock that may be farthestJump ahead
	giveUpAfter = 90 * time.Second // a request that has no success for so long counts as lost
)

// ongoing is a call that a worker has begun and not ended.
type ongoing struct {
	extension *extension
	number    int
	id        string
	state     byte
	begun     time.Time
}

// worker makes one request at a time. It chooses each by random numbers of its own.
type worker struct {
	number      int
	random      *rand.Rand
	client      *client
	world       *world
	history     *history
	phones      []*phone
	endedPhones []*phone // their subscriptions have ended, or will lapse
	calls       []*ongoing
	phonesMade  int
}

// run makes requests until ctx ends.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		switch n := w.random.IntN(100); {
		case n < 14 && len(w.phones) < maxPhones:
			w.subscribe()
		case n < 34 && len(w.phones) > 0:
			w.refresh(w.phones[w.random.IntN(len(w.phones))])
		case n < 37 && len(w.phones) > 0:
			w.unsubscribe(w.random.IntN(len(w.phones)))
		case n < 48 && len(w.calls) < maxCalls:
			w.startCall()
		case n < 68 && len(w.calls) > 0:
			w.nextState(w.random.IntN(len(w.calls)))
		case n < 77:
			w.command()
		case n < 80:
			w.confirm()
		case n < 81 && w.number%8 == 0:
			w.list()
		default:
			w.read(w.world.pick(w.random))
		}
	}
}

// repeatSets sets an extension that no other worker uses, and repeats each set until it is acknowledged. That measures how long
// a caller waits who repeats a command. Nobody reads the extension: a set without an answer may happen later.
func (w *worker) repeatSets(ctx context.Context) {
	name := fmt.Sprintf("insist-%d", w.number)
	for ctx.Err() == nil {
		o := op{kind: opRepeatedSet, worker: w.number, begin: w.history.now()}
		begun := time.Now()
		state := stateNames[callStates[w.random.IntN(len(callStates))]]
		for o.outcome = unknown; o.outcome != acknowledged && time.Since(begun) < giveUpAfter; {
			o.tries++
			var err error
			if w.random.IntN(2) == 0 {
				o.outcome, _, _, err = w.client.rest(w.client.cluster.pick(w.random), "POST", "/presence/"+name, map[string]any{"action": "set", "state": state})
			} else {
				o.outcome, _, err = w.client.bus(w.random.IntN(16), subject.Set(realm, name), "set", map[string]any{"Realm": realm, "Username": name, "State": state})
			}
			if o.outcome == wrong {
				w.history.wrong(err.Error())
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		if o.outcome != acknowledged {
			w.history.wrong(fmt.Sprintf("a set of %s was not acknowledged within %v", name, giveUpAfter))
		}
		o.end, o.took = w.history.now(), time.Since(begun)
		w.history.add(o)
	}
}

// finish ends the calls that have not ended.
func (w *worker) finish() {
	for _, c := range w.calls {
		w.tellCall(c, terminated)
	}
	w.calls = nil
}

// repeat sends news until it is acknowledged, as docs/contract/nats.md, "Replies", tells senders.
func (w *worker) repeat(o op, topic, event string, fields map[string]any) bool {
	begun := time.Now()
	o.begin, o.worker = w.history.now(), w.number
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		o.tries++
		out, _, err := w.client.bus(w.random.IntN(16), topic, event, fields)
		if out == wrong {
			w.history.wrong(err.Error())
		}
		if out == acknowledged || out == wrong || time.Since(begun) > giveUpAfter {
			o.outcome, o.end, o.took = out, w.history.now(), time.Since(begun)
			if out != acknowledged {
				o.outcome, o.end = unknown, noEnd
				w.history.wrong(fmt.Sprintf("a document was not acknowledged within %v: %s %v (%v)", giveUpAfter, topic, fields, err))
			}
			w.history.add(o)
			return out == acknowledged
		}
		time.Sleep(pause)
	}
}

func (w *worker) subscribe() {
	e := w.world.pick(w.random)
	w.phonesMade++
	p := &phone{extension: e, callID: fmt.Sprintf("phone-%d-%d@10.0.0.9", w.number, w.phonesMade), edge: edgeNames[w.random.IntN(len(edgeNames))], expires: 3600}
	if w.random.IntN(12) == 0 {
		p.expires = 5 // it will lapse
	}
	w.tellPhone(p, p.expires)
	p.active = true
	if p.expires < 60 {
		w.endedPhones = append(w.endedPhones, p) // nobody refreshes it
		return
	}
	w.phones = append(w.phones, p)
}

func (w *worker) refresh(p *phone) { w.tellPhone(p, p.expires) }

func (w *worker) unsubscribe(i int) {
	p := w.phones[i]
	w.phones = append(w.phones[:i:i], w.phones[i+1:]...)
	w.endedPhones = append(w.endedPhones, p)
	w.tellPhone(p, 0)
	p.active = false
}

// tellPhone sends a SUBSCRIBE of a phone until it is acknowledged.
func (w *worker) tellPhone(p *phone, expires int) {
	p.cseq++
	p.sentAt = time.Now()
	topic, event, fields := p.document(p.cseq, expires)
	w.repeat(op{kind: opSubscribe, extension: p.extension}, topic, event, fields)
	p.ackedAt = time.Now()
}

// document is the document of a SUBSCRIBE, as an edge sends it.
func (p *phone) document(cseq, expires int) (topic, event string, fields map[string]any) {
	return subject.Subscription(realm, p.extension.name), "subscription", map[string]any{
		"User": "sip:" + p.extension.address(), "From": "sip:" + p.callID[:len(p.callID)-len("@10.0.0.9")] + "@" + realm, "Call-ID": p.callID, "CSeq": cseq,
		"Contact": "<sip:" + p.callID + ":5060>", "Expires": expires, "Server-ID": p.edge, "Event-Package": "dialog", "From-Tag": "f", "To-Tag": "t"}
}

func (w *worker) startCall() {
	c := &ongoing{extension: w.world.pick(w.random), begun: time.Now()}
	c.number, c.id = c.extension.addCall()
	w.calls = append(w.calls, c)
	w.tellCall(c, early)
}

// nextState moves a call on, to confirmed or to its end.
func (w *worker) nextState(i int) {
	c := w.calls[i]
	next := byte(terminated)
	if c.state == early && w.random.IntN(3) > 0 && time.Since(c.begun) < maxCallAge {
		next = confirmed
	}
	w.tellCall(c, next)
	if next == terminated {
		w.calls = append(w.calls[:i:i], w.calls[i+1:]...)
	}
}

// tellCall sends the state of a call until it is acknowledged.
func (w *worker) tellCall(c *ongoing, state byte) {
	c.state = state
	topic, event, fields := c.extension.news(c.id, state)
	w.repeat(op{kind: opCall, extension: c.extension, call: c.number, state: state}, topic, event, fields)
}

// news is a document about one of the extension's calls.
func (e *extension) news(callID string, state byte) (topic, event string, fields map[string]any) {
	return subject.DialogUpdate(realm, callID), "dialog_update", map[string]any{
		"From": e.address(), "To": "9999@" + realm, "Call-ID": callID, "Direction": "recipient", "State": stateNames[state],
		"Timestamp": time.Now().UnixMicro()}
}

// command sets or resets an extension, once. Whether it happened may stay unknown.
func (w *worker) command() {
	e := w.world.pick(w.random)
	o := op{kind: opSet, extension: e, state: callStates[w.random.IntN(len(callStates))], worker: w.number, tries: 1}
	switch w.random.IntN(6) {
	case 0:
		o.kind = opReset
	case 1:
		o.kind = opResetTo
	}
	w.give(o, w.client.cluster.pick(w.random), w.random.IntN(2) == 0)
}

// confirm makes a command that changes nothing as far as a node knows: it reads an extension there, and then sets the manual
// state that it has, or resets an extension that is dark. While the node is cut off, its memory vouches for no such command.
func (w *worker) confirm() {
	e, n := w.world.pick(w.random), w.client.cluster.pick(w.random)
	out, s, _, _ := w.client.show(n, false, 0, e.name, "")
	if out != acknowledged {
		return
	}
	seen, err := e.lamp(&s)
	if err != nil {
		w.history.wrong(err.Error())
		return
	}
	o := op{kind: opSet, extension: e, state: seen[0], worker: w.number, tries: 1}
	switch {
	case len(seen) == 1 && o.state == noState && w.random.IntN(2) == 0:
		o.kind = opReset
	case o.state == noState:
		o.state = terminated
	}
	w.give(o, n, false)
}

// give makes a command, once, and notes it.
func (w *worker) give(o op, n *node, overBus bool) {
	begun := time.Now()
	o.begin = w.history.now()
	var err error
	o.outcome, err = w.client.command(n, overBus, w.random.IntN(16), o.extension, o.kind, o.state)
	o.end, o.took = w.history.now(), time.Since(begun)
	switch o.outcome {
	case unknown:
		o.end = noEnd
	case wrong:
		w.history.wrong(err.Error())
	}
	w.history.add(o)
}

// command makes a command of one kind, over NATS or HTTP. Only HTTP has opResetTo, and only its answers can say that they are
// stale, which those to commands may not.
func (c *client) command(n *node, overBus bool, conn int, e *extension, what kind, state byte) (out outcome, err error) {
	if overBus && what != opResetTo {
		topic, event, fields := subject.Set(realm, e.name), "set", map[string]any{"Realm": realm, "Username": e.name, "State": stateNames[state]}
		if what == opReset {
			topic, event, fields = subject.Reset(realm, e.name), "reset", map[string]any{"Realm": realm, "Username": e.name}
		}
		out, _, err = c.bus(conn, topic, event, fields)
		return out, err
	}
	body := map[string]any{"action": "reset"}
	if what != opReset {
		body["state"] = stateNames[state]
	}
	if what == opSet {
		body["action"] = "set"
	}
	out, _, stale, err := c.rest(n, "POST", "/presence/"+e.name, body)
	if stale {
		return wrong, fmt.Errorf("%s acknowledged a command to %s from old memory: the answer is marked stale", n.name, e.name)
	}
	return out, err
}

// read reads an extension, and repeats that until it is answered. Only the try that was answered goes into the history.
func (w *worker) read(e *extension) (seen string, fresh bool) {
	begun := time.Now()
	o := op{kind: opRead, extension: e, worker: w.number}
	for time.Since(begun) < giveUpAfter {
		o.tries++
		o.begin = w.history.now()
		out, s, stale, err := w.client.show(w.client.cluster.pick(w.random), w.random.IntN(2) == 0, w.random.IntN(16), e.name, "")
		if out == acknowledged {
			o.end, o.stale, o.took = w.history.now(), stale, time.Since(begun)
			if o.seen, err = e.lamp(&s); err == nil {
				w.history.add(o)
				return o.seen, !stale
			}
			out = wrong
		}
		if out == wrong {
			w.history.wrong(err.Error())
			return "", false
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.history.wrong(fmt.Sprintf("%s could not be read for %v", e.name, giveUpAfter))
	return "", false
}

// listing is the part of an answer to GET /presence that the checks look at.
type listing struct {
	Subscriptions map[string]map[string]map[string]struct {
		Expires int
		From    string
		Stalker string
	}
	Timeout bool
	Missing []int `json:"missing_shards"`
}

// list asks for all subscriptions, and looks for those of its own phones, which no other worker changes.
func (w *worker) list() {
	o := op{kind: opList, worker: w.number, tries: 1, begin: w.history.now()}
	begun := time.Now()
	out, data, stale, err := w.client.rest(w.client.cluster.pick(w.random), "GET", "/presence", nil)
	var l listing
	if out == acknowledged {
		if err = json.Unmarshal(data, &l); err != nil {
			out = wrong
		}
	}
	if out == wrong {
		w.history.wrong(err.Error())
	}
	o.outcome, o.stale, o.end, o.took = out, stale, w.history.now(), time.Since(begun)
	w.history.add(o)
	if out != acknowledged || stale || l.Timeout {
		return
	}
	for _, p := range w.phones {
		if _, there := l.Subscriptions[p.extension.name]["dialog"][p.callID]; !there {
			w.history.wrong(fmt.Sprintf("a listing at %v that misses no shard lacks %s of %s, acknowledged at %v", time.Duration(o.begin), p.callID, p.extension.name, p.ackedAt.Sub(w.history.start)))
		}
	}
}

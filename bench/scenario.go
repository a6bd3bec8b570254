package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"lamplight/bench/phones"
	"lamplight/cluster/subject"
)

// traffic is the load of a scenario on a world. All arrivals run in the pacer's goroutine.
type traffic struct {
	settings *Settings
	world    *world
	model    *model
	nats     *natsSender
	rest     *restSender
	sip      *sipSender // nil without SIP
	pace     *pacer
	random   *rand.Rand

	refreshed int // refreshes sent; they go to one watcher after the other
	stormed   int // watchers that the storm has refreshed
	calls     int
	changes   int64
	watched   *phones.Publication // of the extension of the fanout scenario
	offered   atomic.Int64        // arrivals
	blocked   atomic.Int64        // of these, those that found no free extension
}

func (t *traffic) meter() *meter { return t.model.meter.Load() }

// arrival gives the function that one arrival of the scenario calls.
func (t *traffic) arrival() func(at time.Time) {
	do := t.operation()
	return func(at time.Time) { t.offered.Add(1); do(at) }
}

func (t *traffic) operation() func(at time.Time) {
	switch t.settings.Scenario {
	case "subscribe":
		return t.refresh
	case "fanout":
		return t.changeWatched
	case "rest":
		return t.request
	}
	return t.call
}

// unit is the plural name of the scenario's arrivals.
func (s *Settings) unit() string {
	switch s.Scenario {
	case "subscribe":
		return "refreshes"
	case "fanout":
		return "changes"
	case "rest":
		return "requests"
	}
	return "calls"
}

// docHead begins each document that traffic sends; the Event-Name follows.
const docHead = `{"App-Name":"lamplight-bench","App-Version":"1","Event-Category":"presence","Event-Name":"`

// subscribe sends the SUBSCRIBE of a watcher, the first one or a refresh.
func (t *traffic) subscribe(i int32, at time.Time, rec *recorder, then func(err error)) {
	if t.settings.Via == "sip" {
		t.sip.subscribe(i, at, rec, then)
		return
	}
	w := t.world
	x := w.watched[i]
	home := w.accountOf(x)
	doc := fmt.Appendf(nil, docHead+`subscription","Msg-ID":"1","User":"%s","From":"sip:w%d@%s","Call-ID":"%s","From-Tag":"f%d","To-Tag":"t%d","Contact":"<sip:w%d@10.0.0.9:5060>","Event-Package":"dialog","Server-ID":"%s","User-Agent":"bench","Expires":3600}`,
		w.address(x), i, home.realm, w.callID(i), i, i, i, w.edges[int(i)%len(w.edges)])
	t.nats.send(subject.Subscription(home.realm, w.user(x)), doc, at, rec, then)
}

// refresh is an arrival of the subscribe scenario.
func (t *traffic) refresh(at time.Time) {
	i := int32(t.refreshed % len(t.world.watched))
	t.refreshed++
	t.subscribe(i, at, t.meter().recorder("refresh"), nil)
}

// storm refreshes the next watcher. It does nothing once each had its refresh.
func (t *traffic) storm(at time.Time) {
	if t.stormed >= len(t.world.watched) {
		return
	}
	t.subscribe(int32(t.stormed), at, t.meter().recorder(stormed), nil)
	t.stormed++
}

// reserveAny reserves a random extension that has no call or command. After 20 that have one, it counts the arrival as blocked
// and returns false.
func (t *traffic) reserveAny() (int32, bool) {
	for range 20 {
		if x := int32(t.random.IntN(t.world.extensions())); t.model.reserve(x) {
			return x, true
		}
	}
	t.blocked.Add(1)
	return 0, false
}

// call makes a call ring, be answered and end. Each step comes at its time, or when the step before it was acknowledged,
// whichever is later.
func (t *traffic) call(at time.Time) {
	x, ok := t.reserveAny()
	if !ok {
		return
	}
	t.calls++
	id := fmt.Sprintf("c%d-%s", t.calls, t.world.run)
	steps := []struct {
		operation string
		lamp      lamp
		after     time.Duration
	}{{"ring", early, 0}, {"answer", confirmed, t.settings.Ring}, {"hangup", terminated, t.settings.Talk}}
	publication := phones.NewPublication(t.world.address(x))
	var step func(n int, at time.Time)
	step = func(n int, at time.Time) {
		s := steps[n]
		t.changeCall(x, id, publication, s.lamp, at, t.meter().recorder(s.operation), func(err error) {
			if err != nil {
				t.model.markUnknown(x)
			}
			if n+1 == len(steps) {
				t.model.release(x)
				return
			}
			t.pace.schedule(at.Add(steps[n+1].after), func(at time.Time) { step(n+1, at) })
		})
	}
	step(0, at)
}

// changeCall says that a call has a new state. Through NATS it sends a dialog update, through SIP it changes the publication of the
// call. REST has no calls, so there it sets a manual state.
func (t *traffic) changeCall(x int32, id string, p *phones.Publication, to lamp, at time.Time, rec *recorder, then func(err error)) {
	t.model.change(x, to, at)
	w := t.world
	home := w.accountOf(x)
	if t.settings.Through == "rest" {
		t.set(x, to, at, rec, then)
		return
	}
	if t.settings.Through == "sip" {
		t.sip.publish(p, id, to, at, rec, then)
		return
	}
	doc := fmt.Appendf(nil, docHead+`dialog_update","Msg-ID":"1","From":"%s","To":"9999@%s","Call-ID":"%s","Direction":"recipient","State":"%v","Timestamp":%d}`,
		w.address(x), home.realm, id, to, time.Now().UnixMicro())
	t.nats.send(subject.DialogUpdate(home.realm, id), doc, at, rec, then)
}

// changeWatched changes the one extension of the fanout scenario. Through NATS it writes a register, because there the newest
// timestamp wins in whatever order the documents arrive.
func (t *traffic) changeWatched(at time.Time) {
	t.changes++
	to := []lamp{early, confirmed, terminated}[t.changes%3]
	t.model.change(0, to, at)
	then := func(err error) {
		if err != nil {
			t.model.markUnknown(0)
		}
	}
	if t.settings.Through == "rest" {
		t.set(0, to, at, t.meter().recorder("change"), then)
		return
	}
	if t.settings.Through == "sip" {
		if t.watched == nil {
			t.watched = phones.NewPublication(t.world.address(0))
		}
		t.sip.publish(t.watched, "", to, at, t.meter().recorder("change"), then)
		return
	}
	w := t.world
	doc := fmt.Appendf(nil, docHead+`update","Msg-ID":"1","Presence-ID":"%s","State":"%v","Timestamp":%d}`, w.address(0), to, time.Now().UnixMicro())
	t.nats.sendBy(0, subject.Update(w.accountOf(0).realm, "register"), doc, at, t.meter().recorder("change"), then)
}

func (t *traffic) path(x int32) string {
	return "/v2/accounts/" + t.world.accountOf(x).id + "/presence/" + t.world.user(x)
}

// set sets a manual state through REST.
func (t *traffic) set(x int32, to lamp, at time.Time, rec *recorder, then func(err error)) {
	t.rest.send(&restRequest{method: "POST", path: t.path(x), body: `{"data":{"action":"set","state":"` + to.String() + `"}}`, at: at, recorder: rec,
		done: func(_ []byte, err error) { then(err) }})
}

// request is an arrival of the rest scenario. 80 % read a lamp, 2 % list an account, 15 % set a state and 3 % reset an extension.
func (t *traffic) request(at time.Time) {
	switch n := t.random.IntN(100); {
	case n < 80:
		t.read(int32(t.random.IntN(t.world.extensions())), at)
	case n < 82:
		home := t.world.accounts[t.random.IntN(len(t.world.accounts))]
		t.rest.send(&restRequest{method: "GET", path: "/v2/accounts/" + home.id + "/presence", at: at, recorder: t.meter().recorder("list")})
	default:
		x, ok := t.reserveAny()
		if !ok {
			return
		}
		then := func(err error) {
			if err != nil {
				t.model.markUnknown(x)
			}
			t.model.release(x)
		}
		if n < 97 {
			to := lamp(t.random.IntN(3))
			t.model.change(x, to, at)
			t.set(x, to, at, t.meter().recorder("set"), then)
			return
		}
		t.model.change(x, terminated, at)
		t.rest.send(&restRequest{method: "POST", path: t.path(x), body: `{"data":{"action":"reset"}}`, at: at, recorder: t.meter().recorder("reset"),
			done: func(_ []byte, err error) { then(err) }})
	}
}

// read reads a lamp through REST. It checks the answer unless the lamp changed meanwhile or the answer is marked stale.
func (t *traffic) read(x int32, at time.Time) {
	want, version, certain := t.model.expected(x)
	t.rest.send(&restRequest{method: "GET", path: t.path(x), at: at, recorder: t.meter().recorder("read"), done: func(answer []byte, err error) {
		_, later, still := t.model.expected(x)
		if err != nil || !certain || !still || later != version || bytes.Contains(answer, []byte(`"stale":true`)) {
			return
		}
		if !bytes.Contains(answer, []byte(`"state":"`+want.String()+`"`)) {
			t.model.addMistake("a read of %s does not show %v: %.200s", t.world.address(x), want, answer)
		}
	}})
}

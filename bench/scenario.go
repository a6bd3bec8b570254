package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"lamplight/cluster/subject"
)

// traffic is what the scenarios do to a world. All of its arrivals happen in the pacer's goroutine.
type traffic struct {
	settings *Settings
	world    *world
	model    *model
	news     *news
	web      *web
	pace     *pacer
	random   *rand.Rand

	refreshed int // watchers that had their refresh, in turn
	storming  int
	calls     int
	changes   int64
	blocked   atomic.Int64 // arrivals that found no free extension
}

func (t *traffic) meter() *meter { return t.model.meter.Load() }

// arrive is one arrival of the scenario.
func (t *traffic) arrive() func(at time.Time) {
	switch t.settings.Scenario {
	case "subscribe":
		return t.refresh
	case "fanout":
		return t.flip
	case "rest":
		return t.request
	}
	return t.call
}

// unit is what an arrival is called.
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

const head = `{"App-Name":"lamplight-bench","App-Version":"1","Event-Category":"presence","Event-Name":"`

// subscribe sends one SUBSCRIBE, or its refresh.
func (t *traffic) subscribe(i int32, at time.Time, rec *recorder, then func(err error)) {
	w := t.world
	x := w.watches[i]
	home := w.home(x)
	doc := fmt.Appendf(nil, head+`subscription","Msg-ID":"1","User":"%s","From":"sip:w%d@%s","Call-ID":"%s","From-Tag":"f%d","To-Tag":"t%d","Contact":"<sip:w%d@10.0.0.9:5060>","Event-Package":"dialog","Server-ID":"%s","User-Agent":"bench","Expires":3600}`,
		w.address(x), i, home.realm, w.callID(i), i, i, i, w.edges[int(i)%len(w.edges)])
	t.news.send(subject.Subscription(home.realm, w.user(x)), doc, at, rec, then)
}

// refresh is an arrival of the subscribe scenario.
func (t *traffic) refresh(at time.Time) {
	i := int32(t.refreshed % len(t.world.watches))
	t.refreshed++
	t.subscribe(i, at, t.meter().of("refresh"), nil)
}

// storm is one of many refreshes at once, of each watcher one.
func (t *traffic) storm(at time.Time) {
	if t.storming >= len(t.world.watches) {
		return
	}
	t.subscribe(int32(t.storming), at, t.meter().of("storm"), nil)
	t.storming++
}

// free finds an extension that nothing is under way for, and reserves it.
func (t *traffic) free() (int32, bool) {
	for range 20 {
		if x := int32(t.random.IntN(t.world.extensions())); t.model.take(x) {
			return x, true
		}
	}
	t.blocked.Add(1)
	return 0, false
}

// call rings, is answered and ends. Each step comes at its time, or when the step before it was acknowledged.
func (t *traffic) call(at time.Time) {
	x, ok := t.free()
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
	var step func(n int, at time.Time)
	step = func(n int, at time.Time) {
		s := steps[n]
		t.tell(x, id, s.lamp, at, t.meter().of(s.operation), func(err error) {
			if err != nil {
				t.model.doubt(x)
			}
			if n+1 == len(steps) {
				t.model.release(x)
				return
			}
			t.pace.at(at.Add(steps[n+1].after), func(at time.Time) { step(n+1, at) })
		})
	}
	step(0, at)
}

// tell says that a call has a new state: as a document, or through REST, which knows no calls, as a manual state.
func (t *traffic) tell(x int32, id string, to lamp, at time.Time, rec *recorder, then func(err error)) {
	t.model.change(x, to, at)
	w := t.world
	home := w.home(x)
	if t.settings.Through == "rest" {
		t.set(x, to, at, rec, then)
		return
	}
	doc := fmt.Appendf(nil, head+`dialog_update","Msg-ID":"1","From":"%s","To":"9999@%s","Call-ID":"%s","Direction":"recipient","State":"%v","Timestamp":%d}`,
		w.address(x), home.realm, id, to, time.Now().UnixMicro())
	t.news.send(subject.DialogUpdate(home.realm, id), doc, at, rec, then)
}

// flip changes the one extension of the fanout scenario: a register, so that the newest wins in whatever order they come.
func (t *traffic) flip(at time.Time) {
	t.changes++
	to := []lamp{early, confirmed, terminated}[t.changes%3]
	t.model.change(0, to, at)
	then := func(err error) {
		if err != nil {
			t.model.doubt(0)
		}
	}
	if t.settings.Through == "rest" {
		t.set(0, to, at, t.meter().of("change"), then)
		return
	}
	w := t.world
	doc := fmt.Appendf(nil, head+`update","Msg-ID":"1","Presence-ID":"%s","State":"%v","Timestamp":%d}`, w.address(0), to, time.Now().UnixMicro())
	t.news.sendBy(0, subject.Update(w.home(0).realm, "register"), doc, at, t.meter().of("change"), then)
}

func (t *traffic) path(x int32) string {
	return "/v2/accounts/" + t.world.home(x).id + "/presence/" + t.world.user(x)
}

func (t *traffic) set(x int32, to lamp, at time.Time, rec *recorder, then func(err error)) {
	t.web.send(&visit{method: "POST", path: t.path(x), body: `{"data":{"action":"set","state":"` + to.String() + `"}}`, at: at, rec: rec,
		then: func(_ []byte, err error) { then(err) }})
}

// request is an arrival of the rest scenario: 80 % read a lamp, 2 % list an account, 15 % set and 3 % reset.
func (t *traffic) request(at time.Time) {
	switch n := t.random.IntN(100); {
	case n < 80:
		t.read(int32(t.random.IntN(t.world.extensions())), at)
	case n < 82:
		home := t.world.accounts[t.random.IntN(len(t.world.accounts))]
		t.web.send(&visit{method: "GET", path: "/v2/accounts/" + home.id + "/presence", at: at, rec: t.meter().of("list")})
	default:
		x, ok := t.free()
		if !ok {
			return
		}
		then := func(err error) {
			if err != nil {
				t.model.doubt(x)
			}
			t.model.release(x)
		}
		if n < 97 {
			to := lamp(t.random.IntN(3))
			t.model.change(x, to, at)
			t.set(x, to, at, t.meter().of("set"), then)
			return
		}
		t.model.change(x, terminated, at)
		t.web.send(&visit{method: "POST", path: t.path(x), body: `{"data":{"action":"reset"}}`, at: at, rec: t.meter().of("reset"),
			then: func(_ []byte, err error) { then(err) }})
	}
}

// read asks for a lamp, and checks it if nothing changed it meanwhile.
func (t *traffic) read(x int32, at time.Time) {
	want, version, certain := t.model.shows(x)
	t.web.send(&visit{method: "GET", path: t.path(x), at: at, rec: t.meter().of("read"), then: func(answer []byte, err error) {
		_, later, still := t.model.shows(x)
		if err != nil || !certain || !still || later != version || bytes.Contains(answer, []byte(`"stale":true`)) {
			return
		}
		if !bytes.Contains(answer, []byte(`"state":"`+want.String()+`"`)) {
			t.model.wrong("a read of %s doesn't show %v: %.200s", t.world.address(x), want, answer)
		}
	}})
}

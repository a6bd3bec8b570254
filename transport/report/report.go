// Package report makes the reports of resets (docs/contract/http.md, "Reports"): what the extensions are that somebody is about to reset, and who
// does. transport/rest has it made before it resets. transport/bus sends the question for it right before the reset. cluster/reports keeps what it makes.
// A reset never fails because of its report, and its answer waits for the report a bounded time.
package report

import (
	"context"
	"errors"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/reports"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// most is how long a reset waits at most for what is to be in its report, and again until the report is kept.
const most = 2 * time.Second

// Presence is what a Maker needs of the router. cluster/route has the implementation; transport/rest says what its methods promise.
type Presence interface {
	Request(ctx context.Context, r actors.Request) actors.Answer
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)
}

// Config is what a Maker needs.
type Config struct {
	Presence Presence
	// Keep keeps a report of an account and returns its id; "": it could not be kept. It waits until the context ends at the longest.
	Keep    func(ctx context.Context, account string, data []byte) (id string)
	Timeout time.Duration // of a request that resets
}

// Maker makes reports. Its methods may be called from any goroutine.
type Maker struct{ cfg Config }

// New makes a Maker.
func New(c Config) *Maker { return &Maker{c} }

// Reset says who resets what.
type Reset struct {
	Account string // whose report it is
	Realm   string // of the account
	presence.Origin
	Until time.Time // of the request
}

// begin begins a report.
func (r *Reset) begin() []byte {
	d := appendjson.Field([]byte{'{'}, "account_id", r.Account)
	d = appendjson.Field(d, "realm", r.Realm)
	d = appendjson.Field(d, "action", "reset")
	d = appendjson.Time(d, "at", time.Now())
	d = appendjson.Field(d, "by", r.By)
	d = appendjson.Field(d, "address", r.From)
	return appendjson.Field(d, "request_id", r.Request)
}

// until is until when the reset waits. Most of the request's time is for the reset itself.
func (m *Maker) until(r *Reset) time.Time {
	until := time.Now().Add(min(most, m.cfg.Timeout/5))
	if r.Until.Before(until) {
		return r.Until
	}
	return until
}

// keep keeps a report and returns its id.
func (m *Maker) keep(ctx context.Context, r *Reset, d []byte, leftOut int) string {
	if leftOut > 0 {
		d = appendjson.Number(d, "left_out", int64(leftOut))
	}
	ctx, cancel := context.WithDeadline(ctx, m.until(r))
	defer cancel()
	return m.cfg.Keep(ctx, r.Account, append(d, '}'))
}

// Extensions keeps a report of the extensions that are to be reset, as they are now, and returns its id; "": it could not be kept. What does not
// fit is left out: first their watchers, then whole extensions.
func (m *Maker) Extensions(ctx context.Context, r Reset, ids ...actors.Address) string {
	return m.extensions(ctx, &r, ids, func(q actors.Request) actors.Answer { return m.cfg.Presence.Request(ctx, q) })
}

// Ask is the question for what an extension is, for a caller that must not wait before it resets. Answered makes the report.
func (m *Maker) Ask(r Reset, to actors.Address) actors.Request {
	return actors.Request{To: to, Message: actors.Show{Explain: true}, Deadline: m.until(&r)}
}

// Answered keeps a report of an extension as the answer to Ask shows it, for which it waits as long as Extensions does. It returns the report's
// id; "": it could not be kept.
func (m *Maker) Answered(ctx context.Context, r Reset, to actors.Address, answer <-chan actors.Answer) string {
	return m.extensions(ctx, &r, []actors.Address{to}, func(q actors.Request) actors.Answer {
		late := time.NewTimer(time.Until(q.Deadline))
		defer late.Stop()
		select {
		case a := <-answer:
			return a
		case <-late.C:
			return actors.Answer{Err: actors.ErrTimeout}
		}
	})
}

func (m *Maker) extensions(ctx context.Context, r *Reset, ids []actors.Address, ask func(actors.Request) actors.Answer) string {
	d := append(appendjson.Key(r.begin(), "extensions"), '{')
	leftOut, until := 0, m.until(r)
	for _, to := range ids {
		a := ask(actors.Request{To: to, Message: actors.Show{Explain: true}, Deadline: until})
		if a.Err != nil {
			d = append(appendjson.Field(append(appendjson.OutsideKey(d, to.String()), '{'), "error", a.Err.Error()), '}')
			continue
		}
		one := kazoo.AppendExtension(nil, to.User, &a)
		if len(d)+len(one) > reports.MaxReport && a.Explanation != nil {
			leftOut++
			a.Subscriptions, a.Explanation.Watchers, a.Explanation.Findings = nil, nil, nil
			one = kazoo.AppendExtension(nil, to.User, &a)
		}
		if len(d)+len(one) <= reports.MaxReport {
			d = append(appendjson.OutsideKey(d, to.String()), one...)
		}
	}
	return m.keep(ctx, r, append(d, '}'), leftOut)
}

// errFull ends the listing for a report that has no more room.
var errFull = errors.New("the report is full")

// Lamps keeps a report of the lamps of the realm that are lit, before all of its extensions are reset, and returns its id; "": it could not be kept.
func (m *Maker) Lamps(ctx context.Context, r Reset) string {
	d := appendjson.Key(r.begin(), "lamps")
	var lamps kazoo.Lamps
	leftOut := 0
	within, cancel := context.WithDeadline(ctx, m.until(&r))
	defer cancel()
	_, err := m.cfg.Presence.List(within, actors.Query{Realm: r.Realm, Lit: true}, func(s actors.SubscriptionView) error {
		if len(d) > reports.MaxReport-8192 {
			leftOut++
			return errFull
		}
		d = lamps.Row(d, &s)
		return nil
	})
	d = lamps.End(d)
	if err != nil && !errors.Is(err, errFull) {
		d = appendjson.Field(d, "error", err.Error())
	}
	return m.keep(ctx, &r, d, leftOut)
}

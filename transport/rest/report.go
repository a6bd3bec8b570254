package rest

import (
	"context"
	"errors"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/cluster/reports"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// Reports keeps the reports of resets. cluster/reports has the implementation. Its methods wait until the context ends at the longest.
type Reports interface {
	// Keep keeps a report of an account and returns its id; "": it could not be kept.
	Keep(ctx context.Context, account string, data []byte) (id string)
	// Get returns a report of an account, or reports.ErrUnknown.
	Get(ctx context.Context, account, id string) ([]byte, error)
}

const (
	reportPrefix = "report-"       // of the last segment of a report's path
	reportTime   = 2 * time.Second // how long a reset waits at most for what is to be in its report, and again until the report is kept
)

// reportID returns the id in a segment of a path that names a report.
func reportID(segment string) (id string, ok bool) {
	id, ok = strings.CutPrefix(segment, reportPrefix)
	return id, ok && directory.ValidID(id)
}

// givenReport serves …/presence/report-{ID}: the report as it was kept, without an envelope, as Kazoo gives it.
func (q *request) givenReport(e *directory.Entry, id string) error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	q.Subject = id
	data, err := q.server.cfg.Reports.Get(&q.Within, e.ID, id)
	if err != nil {
		return err
	}
	q.Response.Header.Set("Content-Disposition", "attachment; filename="+id+".json")
	q.File(data, "application/json", `"`+id+`"`)
	return nil
}

// beginReport begins the report of a reset: who asks for it.
func (q *request) beginReport(e *directory.Entry) []byte {
	o := q.origin()
	d := appendjson.Field([]byte{'{'}, "account_id", e.ID)
	d = appendjson.Field(d, "realm", e.Realm())
	d = appendjson.Field(d, "action", "reset")
	d = appendjson.Time(d, "at", time.Now())
	d = appendjson.Field(d, "by", o.By)
	d = appendjson.Field(d, "address", o.From)
	return appendjson.Field(d, "request_id", o.Request)
}

// reportUntil is until when a reset waits for what is to be in its report. Most of the request's time is for the reset itself.
func (q *request) reportUntil() time.Time {
	until := time.Now().Add(min(reportTime, q.server.cfg.Timeout/5))
	if q.Until.Before(until) {
		return q.Until
	}
	return until
}

// keepReport keeps a report. The answer names it.
func (q *request) keepReport(e *directory.Entry, d []byte, leftOut int) {
	if leftOut > 0 {
		d = appendjson.Number(d, "left_out", int64(leftOut))
	}
	ctx, cancel := context.WithDeadline(&q.Within, q.reportUntil())
	defer cancel()
	q.Report = q.server.cfg.Reports.Keep(ctx, e.ID, append(d, '}'))
}

// report keeps a report of the extensions that are to be reset, as they are now. What does not fit is left out: first their watchers, then
// whole extensions.
func (q *request) report(e *directory.Entry, ids []actors.Address) {
	d := append(appendjson.Key(q.beginReport(e), "extensions"), '{')
	leftOut, until := 0, q.reportUntil()
	for _, to := range ids {
		a := q.server.cfg.Presence.Request(&q.Within, actors.Request{To: to, Message: actors.Show{Explain: true}, Deadline: until})
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
	q.keepReport(e, append(d, '}'), leftOut)
}

// errFull ends the listing for a report that has no more room.
var errFull = errors.New("the report is full")

// reportAll keeps a report of the account's lamps that are lit, before all of its extensions are reset.
func (q *request) reportAll(e *directory.Entry) {
	d := appendjson.Key(q.beginReport(e), "lamps")
	var lamps kazoo.Lamps
	leftOut := 0
	ctx, cancel := context.WithDeadline(&q.Within, q.reportUntil())
	defer cancel()
	_, err := q.server.cfg.Presence.List(ctx, actors.Query{Realm: e.Realm(), Lit: true}, func(s actors.SubscriptionView) error {
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
	q.keepReport(e, d, leftOut)
}

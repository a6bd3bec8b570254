package rest

import (
	"context"
	"strings"

	"lamplight/cluster/directory"
	"lamplight/transport/report"
)

// Reports gives the reports of resets. cluster/reports has the implementation.
type Reports interface {
	// Get returns a report of an account, or reports.ErrUnknown. It waits until the context ends at the longest.
	Get(ctx context.Context, account, id string) ([]byte, error)
}

// reportPrefix begins the last segment of a report's path.
const reportPrefix = "report-"

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

// reset says who asks for a reset.
func (q *request) reset(e *directory.Entry) report.Reset {
	return report.Reset{Account: e.ID, Realm: e.Realm(), Origin: q.origin(), Until: q.Until}
}

package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
	"lamplight/transport/audit"
	"lamplight/transport/httpd"
	"lamplight/transport/kazoo"
)

// switches serves /switches: it ends the calls of a switch that is gone. A switch has calls of many accounts, so the token must be of the
// master account.
func (q *request) switches() error {
	if err := q.Methods("POST"); err != nil {
		return err
	}
	if err := q.master(); err != nil {
		return err
	}
	d, err := q.readData()
	if err != nil {
		return err
	}
	if action, _ := d["action"].(string); action != "gone" {
		return httpd.Invalid("action", "Field must be gone")
	}
	gone := presence.SwitchGone{Origin: q.origin()}
	if gone.Switch, _ = d["switch_uri"].(string); gone.Switch == "" || len(gone.Switch) > presence.MaxSwitch {
		return httpd.Invalid("switch_uri", "Field must be the Switch-URI of the calls, such as sip:10.0.0.5:11000")
	}
	if gone.Before, err = moment(d["before"]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), actors.EndSwitchTime) // it may take longer than any other request
	defer cancel()
	cover, err := q.server.cfg.Presence.EndSwitch(ctx, gone)
	q.server.cfg.Audit(audit.Entry{Action: "switch_gone", Switch: gone.Switch, Origin: gone.Origin, Err: err})
	if err != nil {
		return err
	}
	q.OK(200, append(appendjson.Number([]byte{'{'}, "ended", int64(cover.Extensions)), '}'))
	return nil
}

// moment reads a time: a text of RFC 3339, or a number as Timestamp has in documents. An absent one is the zero time.
func moment(v any) (at time.Time, err error) {
	switch v := v.(type) {
	case nil:
		return at, nil
	case string:
		if at, err = time.Parse(time.RFC3339, v); err == nil {
			return at, nil
		}
	case jsontext.Value: // a number
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= 0 {
			return kazoo.Moment(n), nil
		}
	}
	return at, httpd.Invalid("before", "Field must be a time such as 2026-11-28T10:00:00Z, or its seconds since 1970")
}

package rest

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/transport/access"
	"lamplight/transport/appendjson"
	"lamplight/transport/audit"
	"lamplight/transport/httpd"
	"lamplight/transport/kazoo"
)

// address reads the name of an extension: a user of the account's realm, or user@realm with a realm that the account of the
// token may act on.
func (q *request) address(e *directory.Entry, extension string) (actors.Address, error) {
	to, err := q.server.cfg.Access.Extension(&q.Within, q.account, e, extension)
	var wrong *access.InvalidName
	if errors.As(err, &wrong) {
		return to, httpd.Invalid("extension", wrong.Reason)
	}
	return to, err
}

// show asks for an extension as it is.
func (q *request) show(to actors.Address, explain bool) (actors.Answer, error) {
	a := q.server.cfg.Presence.Request(&q.Within, actors.Request{To: to, Message: actors.Show{Explain: explain}, Deadline: q.Until, Trace: q.Span.Parent()})
	q.Stale = q.Stale || a.Stale
	return a, a.Err
}

// origin is who sent the request.
func (q *request) origin() presence.Origin {
	return presence.Origin{By: q.who, From: q.RemoteIP().String(), Request: q.ID}
}

// send sends a command to an extension, waits for the answer and tells the audit. wait is Request.Wait. Several goroutines may call it.
func (q *request) send(to actors.Address, action string, state presence.State, wait time.Duration, origin presence.Origin) actors.Answer {
	a := q.server.cfg.Presence.Request(&q.Within, actors.Request{To: to, Message: command(action, state), Deadline: q.Until, Wait: wait, Origin: origin, Trace: q.Span.Parent()})
	e := audit.Entry{Action: action, Realm: to.Realm, User: to.User, Report: q.Report, Origin: origin, Err: a.Err}
	if state != presence.None {
		e.State = state.String()
	}
	q.server.cfg.Audit(e)
	return a
}

// extension serves …/presence/{EXTENSION}.
func (q *request) extension(e *directory.Entry, extension string) error {
	if err := q.Methods("GET", "POST"); err != nil {
		return err
	}
	to, err := q.address(e, extension)
	if err != nil {
		return err
	}
	display := to.User
	if to.Realm != e.Realm() {
		display = to.String()
	}
	if q.Reads() {
		explain := string(q.QueryArgs().Peek("explain")) == "true"
		var body []byte
		if !explain && q.Span.Parent() == "" && q.server.cfg.Presence.Look(to, func(a *actors.Answer) { body = kazoo.AppendExtension(q.Begin(), display, a) }) {
			q.End(200, body)
			return nil
		}
		a, err := q.show(to, explain)
		if err != nil {
			return err
		}
		q.End(200, kazoo.AppendExtension(q.Begin(), display, &a))
		return nil
	}
	action, state, err := q.action(true)
	if err != nil {
		return err
	}
	if action == "reset" {
		q.Report = q.server.cfg.Report.Extensions(&q.Within, q.reset(e), to)
	}
	wait, err := q.wait()
	if err != nil {
		return err
	}
	a := q.send(to, action, state, wait, q.origin())
	if a.Err != nil {
		return a.Err
	}
	q.Stale = q.Stale || a.Stale
	switch {
	case wait > 0:
		q.OK(200, replyCounts(a))
	case action == "reset":
		q.End(200, appendjson.String(q.Begin(), "reset command sent for extension "+display))
	default:
		q.OK(200, commandSent)
	}
	return nil
}

var commandSent = []byte(`"command sent"`)

// replyCounts encodes how many watchers were told, accepted and refused.
func replyCounts(a actors.Answer) []byte {
	d := appendjson.Number([]byte{'{'}, "notified", int64(a.Notified))
	d = appendjson.Number(d, "acked", int64(a.Acked))
	return append(appendjson.Number(d, "failed", int64(a.Failed)), '}')
}

// command returns the message for an action.
func command(action string, state presence.State) actors.Message {
	if action == "reset" {
		return presence.Reset{Then: state}
	}
	return presence.SetManual{State: state}
}

// action reads {"action":…,"state":…} from the body. With resetIsDefault a missing action means reset.
func (q *request) action(resetIsDefault bool) (string, presence.State, error) {
	var c struct {
		Action jsontext.Value `json:"action"`
		State  jsontext.Value `json:"state"`
		Reset  jsontext.Value `json:"reset"` // deprecated
	}
	if err := q.readInto(&c); err != nil {
		return "", 0, err
	}
	action := text(c.Action)
	switch {
	case given(c.Action):
	case string(c.Reset) == "true", c.Reset == nil && resetIsDefault:
		action = "reset"
	}
	if action != "reset" && action != "set" {
		return "", 0, errAction
	}
	state := presence.None
	if given(c.State) || action == "set" {
		var ok bool
		if state, ok = presence.ParseManual(text(c.State)); !ok {
			return "", 0, errState
		}
	}
	return action, state, nil
}

// wait reads the query parameter wait: how long the answer waits for the replies of watchers. 0 means that it does not wait.
func (q *request) wait() (time.Duration, error) {
	d := 5 * time.Second
	switch w := string(q.QueryArgs().Peek("wait")); w {
	case "", "false":
		return 0, nil
	case "true":
	default:
		var err error
		if d, err = time.ParseDuration(w); err != nil || d <= 0 || d > q.server.cfg.Timeout {
			return 0, httpd.Invalid("wait", "Field must be true, or a duration such as 2s, at most "+q.server.cfg.Timeout.String())
		}
	}
	return max(min(d, time.Until(q.Until)-answerTime), time.Millisecond), nil
}

// answerTime is the time before the request's deadline at which it stops waiting for watchers, so that the answer comes in time.
const answerTime = 500 * time.Millisecond

// wholeAccount serves …/presence of a whole account.
func (q *request) wholeAccount(e *directory.Entry) error {
	if err := q.Methods("GET", "POST"); err != nil {
		return err
	}
	if q.Reads() {
		return q.listing(e)
	}
	d, err := q.readData()
	if err != nil {
		return err
	}
	if a, _ := d["action"].(string); a != "reset" {
		return errAction
	}
	q.Report = q.server.cfg.Report.Lamps(&q.Within, q.reset(e))
	cover, err := q.server.cfg.Presence.ResetRealm(&q.Within, e.Realm(), q.origin())
	if err == nil && len(cover.Missing) > 0 {
		err = actors.ErrUnknown
	}
	q.server.cfg.Audit(audit.Entry{Action: "reset", Realm: e.Realm(), User: "*", Report: q.Report, Origin: q.origin(), Err: err})
	if err != nil {
		return err
	}
	q.OK(200, []byte(`"reset command sent for account"`))
	return nil
}

// ownerPresence serves …/devices/{ID}/presence and …/users/{ID}/presence: the extensions that a device or user acts on. A command
// goes to all of them at the same time. When one of them fails, the others may have been changed.
func (q *request) ownerPresence(e *directory.Entry, kind, id string) error {
	if err := q.Methods("GET", "POST"); err != nil {
		return err
	}
	x, err := q.server.cfg.Directory.Get(&q.Within, kind, e.ID, id)
	if err != nil {
		return err
	}
	ids, err := q.presenceIDs(e, x)
	if err != nil {
		return err
	}
	if q.Reads() {
		d := []byte(`{"presence_ids":{`)
		for _, to := range ids {
			a, err := q.show(to, false)
			if err != nil {
				return err
			}
			d = append(appendjson.Field(append(appendjson.OutsideKey(d, to.String()), '{'), "state", a.View.State.String()), '}')
		}
		q.OK(200, append(d, '}', '}'))
		return nil
	}
	action, state, err := q.action(false)
	if err != nil {
		return err
	}
	if action == "reset" && len(ids) > 0 {
		q.Report = q.server.cfg.Report.Extensions(&q.Within, q.reset(e), ids...)
	}
	wait, err := q.wait()
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		q.OK(200, []byte(`"nothing to send command to"`))
		return nil
	}
	answers := make(chan actors.Answer, len(ids))
	origin := q.origin()
	for _, to := range ids {
		go func() { answers <- q.send(to, action, state, wait, origin) }()
	}
	var sum actors.Answer
	for range ids {
		a := <-answers
		if a.Err != nil && sum.Err == nil {
			sum.Err = a.Err
		}
		sum.Notified, sum.Acked, sum.Failed = sum.Notified+a.Notified, sum.Acked+a.Acked, sum.Failed+a.Failed
	}
	if sum.Err != nil {
		return sum.Err
	}
	if wait > 0 {
		q.OK(200, replyCounts(sum))
		return nil
	}
	q.OK(200, commandSent)
	return nil
}

// presenceIDs returns the extensions that a device or a user acts on, each once: its presence_id, else the SIP username of the
// device, or what the user's devices act on.
func (q *request) presenceIDs(e *directory.Entry, x *directory.Entry) ([]actors.Address, error) {
	var names []string
	own := func(d *directory.Entry) string {
		if id := d.Text("presence_id"); id != "" {
			return id
		}
		return d.Text("sip.username")
	}
	switch {
	case x.Kind == directory.Devices:
		names = append(names, own(x))
	case x.Text("presence_id") != "":
		names = append(names, x.Text("presence_id"))
	default:
		for _, d := range q.server.cfg.Directory.List(directory.Devices, e.ID) {
			if d.UsedBy(x.ID) {
				names = append(names, own(d))
			}
		}
	}
	seen := map[actors.Address]bool{}
	var out []actors.Address
	for _, n := range names {
		if n == "" {
			continue
		}
		a, err := q.address(e, n)
		if err != nil {
			return nil, err
		}
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out, nil
}

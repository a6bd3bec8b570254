package rest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/access"
	"lamplight/transport/audit"
	"lamplight/transport/httpd"
)

// respond answers with data that is small.
func (q *request) respond(code int, data any) error {
	text, err := json.Marshal(data, json.Deterministic(true))
	if err == nil {
		q.OK(code, text)
	}
	return err
}

// public returns what the API shows of an entry: its fields without secrets, and its id.
func public(e *directory.Entry) map[string]any {
	m := e.Public()
	m["id"] = e.ID
	return m
}

// accounts serves /accounts: it lists the account of the token and those below it, and creates accounts.
func (q *request) accounts() error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(q.server.cfg.Directory.List(directory.Accounts, q.account))
	}
	return q.create(directory.Accounts, "", q.account)
}

// relatives serves /accounts/{ID}/children, /descendants, /parents and /tree. The last two are the same, as in Kazoo: the accounts
// above this one, from the token's account down.
func (q *request) relatives(e *directory.Entry, which string) error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	d := q.server.cfg.Directory
	switch which {
	case "children":
		return q.list(d.Children(e.ID))
	case "descendants":
		return q.list(slices.DeleteFunc(d.List(directory.Accounts, e.ID), func(a *directory.Entry) bool { return a.ID == e.ID }))
	}
	rows := []map[string]any{}
	for _, a := range d.Ancestors(q.account, e.ID) {
		rows = append(rows, map[string]any{"id": a.ID, "name": a.Text("name")})
	}
	return q.respond(200, rows)
}

// collection serves the devices or users of an account: it lists them and creates one.
func (q *request) collection(kind, account string) error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(q.server.cfg.Directory.List(kind, account))
	}
	return q.create(kind, account, "")
}

// userDevices serves …/users/{ID}/devices.
func (q *request) userDevices(account, user string) error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	d := q.server.cfg.Directory
	if _, err := d.Get(&q.Within, directory.Users, account, user); err != nil {
		return err
	}
	return q.list(slices.DeleteFunc(d.List(directory.Devices, account), func(e *directory.Entry) bool { return !e.UsedBy(user) }))
}

// statusParallel is how many devices are asked at a time whether they are registered.
const statusParallel = 32

// deviceStatus serves …/devices/status: the devices whose extension has a registration that lives. A device registers as its
// sip.username.
func (q *request) deviceStatus(account *directory.Entry) error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	free, ok := q.server.listings.Take(q.account)
	if !ok {
		return httpd.ErrTooMany
	}
	defer free()
	devices := q.server.cfg.Directory.List(directory.Devices, account.ID)
	answers := make([]actors.Answer, len(devices))
	asked := errgroup.Group{}
	asked.SetLimit(statusParallel)
	for i, d := range devices {
		name := d.Text("sip.username")
		if own := d.Text("sip.realm"); own != "" && name != "" {
			name += "@" + own
		}
		to, err := q.address(account, name)
		if name == "" || err != nil {
			continue // it can't register here
		}
		asked.Go(func() error {
			answers[i] = q.server.cfg.Presence.Request(&q.Within, actors.Request{To: to, Message: actors.Show{}, Deadline: q.Until})
			return answers[i].Err
		})
	}
	if err := asked.Wait(); err != nil {
		return err
	}
	rows := []map[string]any{}
	for i, d := range devices {
		q.Stale = q.Stale || answers[i].Stale
		if v := answers[i].View; v != nil && v.Registered {
			rows = append(rows, map[string]any{"device_id": d.ID, "registered": true})
		}
	}
	return q.respond(200, rows)
}

// about serves /about.
func (q *request) about() error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	return q.respond(200, map[string]any{"product": "lamplight", "version": q.Version()})
}

// apiKey serves …/api_key of an account: it says whether the account has an API key, gives it another one, or revokes it. A key is
// shown when it is made, and never again: only its hash is stored.
func (q *request) apiKey(e *directory.Entry) error {
	if err := q.Methods("GET", "PUT", "DELETE"); err != nil {
		return err
	}
	state := func(e *directory.Entry, more map[string]any) map[string]any {
		if until := e.OldKeyUntil(time.Now()); !until.IsZero() {
			more["old_key_until"] = until.Format(time.RFC3339)
		}
		return more
	}
	if q.Reads() {
		if e.ID != q.account {
			return access.ErrForbidden
		}
		return q.respond(200, state(e, map[string]any{"api_key_set": e.HasAPIKey()}))
	}
	if q.IsDelete() {
		if err := q.changeKey(e, "", 0); err != nil {
			return err
		}
		return q.respond(200, map[string]any{"api_key_set": false})
	}
	fields, err := q.readData()
	if err != nil {
		return err
	}
	key, isText := fields["api_key"].(string)
	if fields["api_key"] == nil {
		key = directory.NewID()
	} else if !isText || key == "" {
		return &directory.Invalid{Field: "api_key", Reason: "must be a key, or be left out"}
	}
	grace, err := graceOf(fields["grace_s"])
	if err != nil {
		return err
	}
	if err := q.changeKey(e, key, grace); err != nil {
		return err
	}
	answer := map[string]any{"api_key": key, "api_key_set": true}
	if now, err := q.server.cfg.Directory.Get(&q.Within, directory.Accounts, e.ID, e.ID); err == nil {
		answer = state(now, answer)
	}
	return q.respond(201, answer)
}

// graceOf reads for how long the key before a new one stays good.
func graceOf(v any) (time.Duration, error) {
	if v == nil {
		return 0, nil
	}
	number, _ := v.(jsontext.Value)
	n, err := strconv.Atoi(string(number))
	if most := int(directory.MaxKeyGrace / time.Second); err != nil || n < 0 || n > most {
		return 0, &directory.Invalid{Field: "grace_s", Reason: fmt.Sprintf("must be a whole number of seconds, 0 to %d", most)}
	}
	return time.Duration(n) * time.Second, nil
}

// changeKey gives an account another API key, or none if the key is "", and tells the audit.
func (q *request) changeKey(e *directory.Entry, key string, grace time.Duration) error {
	now, err := q.server.cfg.Directory.SetAPIKey(&q.Within, e, key, grace)
	if err != nil {
		q.auditKey(e.ID, key != "", err)
		return err
	}
	q.auditKeys(e, now)
	return nil
}

// auditKeys tells the audit if an account has another API key than before, or none any more.
func (q *request) auditKeys(before, now *directory.Entry) {
	if !before.SameAPIKey(now) {
		q.auditKey(now.ID, now.HasAPIKey(), nil)
	}
}

// auditKey tells the audit that an account's API key was set or revoked.
func (q *request) auditKey(account string, set bool, err error) {
	action := "api_key_revoked"
	if set {
		action = "api_key_set"
	}
	q.server.cfg.Audit(audit.Entry{Action: action, Account: account, Origin: q.origin(), Err: err})
}

// parentOf returns the id of the account that the fields of an account name as its parent; "": they name none.
func parentOf(fields map[string]any) (string, error) {
	v := fields["parent_id"]
	parent, isText := v.(string)
	if v != nil && !isText {
		return "", &directory.Invalid{Field: "parent_id", Reason: "must be a string"}
	}
	return parent, nil
}

// mayPutBelow returns access.ErrForbidden when the token's account may not put accounts below another one. An account that does not
// exist is left to the directory, which refuses it as a parent.
func (q *request) mayPutBelow(parent string) error {
	exists, err := q.server.cfg.Directory.Exists(&q.Within, parent)
	if err != nil {
		return err
	}
	if (exists || parent == "") && !q.server.cfg.Access.MayActOn(q.account, parent) {
		return access.ErrForbidden
	}
	return nil
}

// create creates an entry from the body, with a new id. A new account is put below the account parent, or below another one that the
// body names and the token's may act on.
func (q *request) create(kind, account, parent string) error {
	fields, err := q.readData()
	if err != nil {
		return err
	}
	id, d := directory.NewID(), q.server.cfg.Directory
	if kind == directory.Accounts {
		account = id
		named, err := parentOf(fields)
		switch {
		case err != nil:
			return err
		case named == "":
			fields["parent_id"] = parent
		default:
			if err := q.mayPutBelow(named); err != nil {
				return err
			}
		}
	}
	if kind == directory.Accounts {
		if err := q.mayGive(nil, fields); err != nil {
			return err
		}
	}
	e, err := d.Put(&q.Within, q.account, kind, account, id, fields, nil)
	var wrong *directory.Invalid
	if errors.As(err, &wrong) && wrong.Field == "parent_id" && fields["parent_id"] == parent { // the account of the path may have gone since it was looked up
		if _, gone := d.Get(&q.Within, directory.Accounts, parent, parent); gone != nil {
			return gone
		}
	}
	if err != nil {
		return err
	}
	return q.respond(201, public(e))
}

// entry serves one account, user or device: it reads, replaces, changes and removes it, and creates an account below it.
func (q *request) entry(kind, account, id string) error {
	allowed := []string{"GET", "POST", "PATCH", "DELETE"}
	if kind == directory.Accounts {
		allowed = []string{"GET", "PUT", "POST", "PATCH", "DELETE"}
	}
	if err := q.Methods(allowed...); err != nil {
		return err
	}
	q.Subject = id
	d := q.server.cfg.Directory
	e, err := d.Get(&q.Within, kind, account, id)
	if err != nil {
		return err
	}
	switch string(q.Method()) {
	case "GET", "HEAD":
		return q.respond(200, public(e))
	case "PUT":
		return q.create(directory.Accounts, "", id)
	case "DELETE":
		if err := d.Delete(&q.Within, e); err != nil {
			return err
		}
		return q.respond(200, public(e))
	}
	fields, err := q.readData()
	if err != nil {
		return err
	}
	if string(q.Method()) == "PATCH" {
		fields = directory.Change(e, fields)
	} else {
		keepHidden(kind, e, fields)
	}
	if kind == directory.Accounts {
		parent, err := parentOf(fields)
		above := cmp.Or(parent, d.Master()) // accounts without a parent are below the master account
		if err == nil && above != cmp.Or(e.Text("parent_id"), d.Master()) {
			err = q.mayPutBelow(above)
		}
		if err == nil && e.ID == q.account && e.ID != d.Master() {
			err = keepLimits(e, fields)
		} else if err == nil {
			err = q.mayGive(e, fields)
		}
		if err != nil {
			return err
		}
		if parent == "" {
			delete(fields, "parent_id")
		}
	}
	before := e
	if e, err = d.Put(&q.Within, q.account, kind, account, id, fields, e); err != nil {
		return err
	}
	if kind == directory.Accounts {
		q.auditKeys(before, e)
	}
	return q.respond(200, public(e))
}

// mayGive returns access.ErrForbidden if the account of the token gives another one a higher budget than it has itself: it could go round its own
// bounds through that account. old is the account before; nil: it is new.
func (q *request) mayGive(old *directory.Entry, fields map[string]any) error {
	d := q.server.cfg.Directory
	own, bounded := d.Limits(q.account)
	given, before := directory.LimitsOf(fields), directory.LimitsOf(nil)
	if old != nil {
		before = directory.LimitsOf(old.Fields)
	}
	if !bounded || q.account == d.Master() {
		return nil
	}
	for what, most := range own {
		if most > 0 && given[what] != before[what] && (given[what] == 0 || given[what] > most) {
			return access.ErrForbidden
		}
	}
	return nil
}

// keepLimits keeps the budgets of an account whose own token replaces or changes it: the accounts above it set them. It returns
// access.ErrForbidden if the fields name other ones.
func keepLimits(old *directory.Entry, fields map[string]any) error {
	has := directory.LimitsOf(old.Fields)
	switch named := directory.LimitsOf(fields); {
	case named == has:
	case named != directory.LimitsOf(nil):
		return access.ErrForbidden
	default:
		settings, isObject := fields["presence"].(map[string]any)
		if fields["presence"] != nil && !isObject {
			return nil // the directory refuses it
		}
		if settings = maps.Clone(settings); settings == nil {
			settings = map[string]any{}
		}
		settings["limits"] = old.Field("presence.limits")
		fields["presence"] = settings
	}
	return nil
}

// keepHidden copies into the fields that replace an entry what the client cannot have meant to remove by not naming it: the
// password, which the API never shows, and the parent of an account. Who names the parent as null means to remove it, as in a PATCH.
func keepHidden(kind string, old *directory.Entry, fields map[string]any) {
	switch sip, _ := fields["sip"].(map[string]any); {
	case kind == directory.Accounts:
		if _, named := fields["parent_id"]; !named {
			fields["parent_id"] = old.Text("parent_id")
		}
	case kind == directory.Devices && sip != nil && old.Text("sip.password") != "":
		if _, named := sip["password"]; !named {
			sip["password"] = old.Text("sip.password")
		}
	}
}

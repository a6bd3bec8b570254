package rest

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/directory"
	"lamplight/transport/access"
)

// authenticate serves PUT /api_auth: an API key for a token.
func (q *request) authenticate() error {
	d, err := q.data()
	if err != nil {
		return err
	}
	key, _ := d["api_key"].(string)
	if err := q.server.cfg.Access.Allow("api_auth", q.RemoteIP()); err != nil {
		return err
	}
	e, token, err := q.server.cfg.Access.LogIn(&q.Within, key)
	if err != nil {
		return err
	}
	q.Token = []byte(token)
	data, _ := json.Marshal(map[string]any{"account_id": e.ID, "account_name": e.Text("name"), "is_reseller": false}, json.Deterministic(true))
	q.OK(201, data)
	return nil
}

// shown is an entry as the API shows it: with its id, without secrets.
func shown(e *directory.Entry) map[string]any {
	m := map[string]any{}
	for k, v := range e.Fields {
		m[k] = v
	}
	delete(m, "api_key_hash")
	if sip, ok := m["sip"].(map[string]any); ok {
		open := map[string]any{}
		for k, v := range sip {
			if k != "password" {
				open[k] = v
			}
		}
		m["sip"] = open
	}
	m["id"] = e.ID
	return m
}

func (q *request) show(code int, e *directory.Entry) error {
	data, err := json.Marshal(shown(e), json.Deterministic(true))
	if err == nil {
		q.OK(code, data)
	}
	return err
}

// accounts serves /accounts: the token's tree, and new accounts in it.
func (q *request) accounts() error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(directory.Accounts, q.account)
	}
	return q.create(directory.Accounts, "")
}

func (q *request) collection(kind, account string) error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(kind, account)
	}
	return q.create(kind, account)
}

func (q *request) list(kind, account string) error {
	entries := q.server.cfg.Directory.List(kind, account)
	slices.SortFunc(entries, func(a, b *directory.Entry) int { return strings.Compare(a.ID, b.ID) })
	out := make([]map[string]any, len(entries))
	for i, e := range entries {
		out[i] = shown(e)
	}
	data, err := json.Marshal(out, json.Deterministic(true))
	if err == nil {
		q.OK(200, data)
	}
	return err
}

func (q *request) create(kind, account string) error {
	fields, err := q.data()
	if err != nil {
		return err
	}
	id := directory.NewID()
	if kind == directory.Accounts {
		account = id
		if parent, _ := fields["parent_id"].(string); parent == "" {
			fields["parent_id"] = q.account
		} else if !q.server.cfg.Access.MayActOn(q.account, parent) {
			return access.ErrForbidden
		}
	}
	e, err := q.server.cfg.Directory.Put(&q.Within, q.account, kind, account, id, fields, nil)
	if err != nil {
		return err
	}
	return q.show(201, e)
}

// entry serves one account, user or device.
func (q *request) entry(kind, account, id string) error {
	if err := q.Methods("GET", "POST", "PATCH", "DELETE"); err != nil {
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
		return q.show(200, e)
	case "DELETE":
		if err := d.Delete(&q.Within, e); err != nil {
			return err
		}
		return q.show(200, e)
	}
	fields, err := q.data()
	if err != nil {
		return err
	}
	if string(q.Method()) == "PATCH" {
		fields = directory.Merge(e.Fields, fields)
	} else {
		keepUnseen(kind, e, fields)
	}
	if kind == directory.Accounts {
		if parent, _ := fields["parent_id"].(string); parent != e.Text("parent_id") && !q.server.cfg.Access.MayActOn(q.account, parent) {
			return access.ErrForbidden
		}
	}
	if e, err = d.Put(&q.Within, q.account, kind, account, id, fields, e); err != nil {
		return err
	}
	return q.show(200, e)
}

// keepUnseen keeps, when an entry is replaced by one that does not name it, what its reader was never shown or could
// not have meant to change: the password, the account's place in the tree.
func keepUnseen(kind string, old *directory.Entry, fields map[string]any) {
	switch sip, _ := fields["sip"].(map[string]any); {
	case kind == directory.Accounts && fields["parent_id"] == nil && old.Text("parent_id") != "":
		fields["parent_id"] = old.Text("parent_id")
	case kind == directory.Devices && sip != nil && old.Text("sip.password") != "":
		if _, named := sip["password"]; !named {
			sip["password"] = old.Text("sip.password")
		}
	}
}

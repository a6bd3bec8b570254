package rest

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/directory"
	"lamplight/transport/access"
)

// authenticate serves PUT /api_auth: it answers an API key with a token.
func (q *request) authenticate() error {
	d, err := q.readData()
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

// publicFields returns the fields of an entry as the API shows them: with the id, and without the password and the API key.
func publicFields(e *directory.Entry) map[string]any {
	m := map[string]any{}
	for k, v := range e.Fields {
		m[k] = v
	}
	delete(m, "api_key_hash")
	if sip, ok := m["sip"].(map[string]any); ok {
		public := map[string]any{}
		for k, v := range sip {
			if k != "password" {
				public[k] = v
			}
		}
		m["sip"] = public
	}
	m["id"] = e.ID
	return m
}

// respondEntry answers with an entry.
func (q *request) respondEntry(code int, e *directory.Entry) error {
	data, err := json.Marshal(publicFields(e), json.Deterministic(true))
	if err == nil {
		q.OK(code, data)
	}
	return err
}

// accounts serves /accounts: it lists the account of the token and those below it, and creates accounts.
func (q *request) accounts() error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(directory.Accounts, q.account)
	}
	return q.create(directory.Accounts, "")
}

// collection serves the devices or users of an account: it lists them and creates one.
func (q *request) collection(kind, account string) error {
	if err := q.Methods("GET", "PUT"); err != nil {
		return err
	}
	if q.Reads() {
		return q.list(kind, account)
	}
	return q.create(kind, account)
}

// list answers with all entries of a kind in an account, sorted by id.
func (q *request) list(kind, account string) error {
	entries := q.server.cfg.Directory.List(kind, account)
	slices.SortFunc(entries, func(a, b *directory.Entry) int { return strings.Compare(a.ID, b.ID) })
	out := make([]map[string]any, len(entries))
	for i, e := range entries {
		out[i] = publicFields(e)
	}
	data, err := json.Marshal(out, json.Deterministic(true))
	if err == nil {
		q.OK(200, data)
	}
	return err
}

// create creates an entry from the body, with a new id. A new account is put below the token's, or below another one that the
// token's may act on.
func (q *request) create(kind, account string) error {
	fields, err := q.readData()
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
	return q.respondEntry(201, e)
}

// entry serves one account, user or device: it reads, replaces, changes and removes it.
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
		return q.respondEntry(200, e)
	case "DELETE":
		if err := d.Delete(&q.Within, e); err != nil {
			return err
		}
		return q.respondEntry(200, e)
	}
	fields, err := q.readData()
	if err != nil {
		return err
	}
	if string(q.Method()) == "PATCH" {
		fields = directory.Merge(e.Fields, fields)
	} else {
		keepHidden(kind, e, fields)
	}
	if kind == directory.Accounts {
		if parent, _ := fields["parent_id"].(string); parent != e.Text("parent_id") && !q.server.cfg.Access.MayActOn(q.account, parent) {
			return access.ErrForbidden
		}
	}
	if e, err = d.Put(&q.Within, q.account, kind, account, id, fields, e); err != nil {
		return err
	}
	return q.respondEntry(200, e)
}

// keepHidden copies into the fields that replace an entry what the client cannot have meant to remove by not naming it: the
// password, which the API never shows, and the parent of an account.
func keepHidden(kind string, old *directory.Entry, fields map[string]any) {
	switch sip, _ := fields["sip"].(map[string]any); {
	case kind == directory.Accounts && fields["parent_id"] == nil && old.Text("parent_id") != "":
		fields["parent_id"] = old.Text("parent_id")
	case kind == directory.Devices && sip != nil && old.Text("sip.password") != "":
		if _, named := sip["password"]; !named {
			sip["password"] = old.Text("sip.password")
		}
	}
}

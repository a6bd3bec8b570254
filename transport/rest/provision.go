package rest

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"lamplight/cluster/directory"
)

// authenticate serves PUT /api_auth: an API key for a token.
func (q *request) authenticate() error {
	d, err := q.data()
	if err != nil {
		return err
	}
	key, _ := d["api_key"].(string)
	if !q.server.limits.allow("api_auth", q.ctx.RemoteIP(), time.Now()) {
		return errTooMany
	}
	e, err := q.server.cfg.Directory.AccountByAPIKey(&q.within, key)
	if errors.Is(err, directory.ErrUnknown) {
		return errCredentials
	}
	if err != nil {
		return err
	}
	token, err := q.server.cfg.Sign(e.ID)
	if err != nil {
		return err
	}
	q.token = []byte(token)
	data, _ := json.Marshal(map[string]any{"account_id": e.ID, "account_name": e.Text("name"), "is_reseller": false}, json.Deterministic(true))
	q.ok(201, data)
	return nil
}

func bodyToken(body []byte) string {
	var d struct {
		AuthToken string `json:"auth_token"`
	}
	_ = json.Unmarshal(body, &d)
	return d.AuthToken
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
		q.ok(code, data)
	}
	return err
}

// accounts serves /accounts: the token's tree, and new accounts in it.
func (q *request) accounts() error {
	if err := q.methods("GET", "PUT"); err != nil {
		return err
	}
	if q.reads() {
		return q.list(directory.Accounts, q.account)
	}
	return q.create(directory.Accounts, "")
}

func (q *request) collection(kind, account string) error {
	if err := q.methods("GET", "PUT"); err != nil {
		return err
	}
	if q.reads() {
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
		q.ok(200, data)
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
		} else if !q.server.cfg.Directory.InTree(q.account, parent) {
			return errForbidden
		}
	}
	e, err := q.server.cfg.Directory.Put(&q.within, q.account, kind, account, id, fields, nil)
	if err != nil {
		return err
	}
	return q.show(201, e)
}

// entry serves one account, user or device.
func (q *request) entry(kind, account, id string) error {
	if err := q.methods("GET", "POST", "PATCH", "DELETE"); err != nil {
		return err
	}
	q.subject = id
	d := q.server.cfg.Directory
	e, err := d.Get(&q.within, kind, account, id)
	if err != nil {
		return err
	}
	switch string(q.ctx.Method()) {
	case "GET", "HEAD":
		return q.show(200, e)
	case "DELETE":
		if err := d.Delete(&q.within, e); err != nil {
			return err
		}
		return q.show(200, e)
	}
	fields, err := q.data()
	if err != nil {
		return err
	}
	if string(q.ctx.Method()) == "PATCH" {
		fields = directory.Merge(e.Fields, fields)
	} else {
		keepUnseen(kind, e, fields)
	}
	if kind == directory.Accounts {
		if parent, _ := fields["parent_id"].(string); parent != e.Text("parent_id") && !d.InTree(q.account, parent) {
			return errForbidden
		}
	}
	if e, err = d.Put(&q.within, q.account, kind, account, id, fields, e); err != nil {
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

// limits bounds requests per account and client address. It remembers a bounded number of both together.
type limits struct {
	perSecond int
	mu        sync.Mutex
	of        map[string]*rate.Limiter
}

func newLimits(perSecond int) *limits {
	return &limits{perSecond: perSecond, of: map[string]*rate.Limiter{}}
}

func (l *limits) allow(account string, from net.IP, now time.Time) bool {
	if l.perSecond <= 0 {
		return true
	}
	key := account + " " + from.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of[key]
	if r == nil {
		if len(l.of) >= 100_000 { // forget those who have their full allowance again
			for k, old := range l.of {
				if old.TokensAt(now) >= float64(l.perSecond) {
					delete(l.of, k)
				}
			}
			if len(l.of) >= 100_000 {
				return false
			}
		}
		r = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		l.of[key] = r
	}
	return r.AllowN(now, 1)
}

// Package audit tells who commanded what: a line in the node's log, and a document on NATS (docs/contract/nats.md, "Audit"). It serves all
// transports alike. News of calls is no command: the history of a lamp has it (presence.Transition).
package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
)

// Entry is one command and how it ended. One of Realm, Switch and Account is set.
type Entry struct {
	Action  string // "set", "reset", "switch_gone", "api_key_set" or "api_key_revoked"
	State   string // the manual state that the command sets; "": none
	Realm   string
	User    string // "*": every extension of the realm
	Switch  string // the Switch-URI
	Account string // the account's id
	Report  string // the id of the report of a reset; "": there is none
	presence.Origin
	Err error // nil: it was done and is durable
}

// Config is what an Audit needs.
type Config struct {
	Conn   *nats.Conn
	Prefix subject.Prefix
	Node   string
	Log    *slog.Logger
}

// Audit tells of commands. Its method may be called from any goroutine.
type Audit struct{ cfg Config }

// New makes an Audit.
func New(c Config) *Audit {
	c.Log = loglimit.Limit(c.Log)
	return &Audit{c}
}

// Note tells of a command that has ended. It does not wait for the NATS server: the document is sent once.
func (a *Audit) Note(e Entry) {
	result, level := "done", slog.LevelInfo
	if e.Err != nil {
		result, level = e.Err.Error(), slog.LevelWarn
	}
	attrs := append(make([]slog.Attr, 0, 8), slog.String("action", e.Action), slog.String("by", e.By), slog.String("from", e.From),
		slog.String("request_id", e.Request), slog.String("result", result))
	var about string
	switch {
	case e.Switch != "":
		about = subject.AuditSwitch(e.Switch)
		attrs = append(attrs, slog.String("switch", e.Switch))
	case e.Account != "":
		about = subject.AuditAccount(e.Account)
		attrs = append(attrs, slog.String("account", e.Account))
	default:
		about = subject.Audit(e.Realm, e.User)
		attrs = append(attrs, slog.String("extension", e.User+"@"+e.Realm))
	}
	if e.State != "" {
		attrs = append(attrs, slog.String("state", e.State))
	}
	if e.Report != "" {
		attrs = append(attrs, slog.String("report_id", e.Report))
	}
	a.cfg.Log.LogAttrs(context.Background(), level, "a command came", attrs...)
	d := appendjson.Field(append(make([]byte, 0, 512), '{'), "Event-Category", "presence")
	d = appendjson.Field(d, "Event-Name", "audit")
	d = appendjson.Field(d, "Action", e.Action)
	for _, f := range [...]struct {
		name  appendjson.Literal
		value string
	}{{"State", e.State}, {"Realm", e.Realm}, {"Username", e.User}, {"Switch-URI", e.Switch}, {"Account-ID", e.Account}, {"By", e.By}, {"Address", e.From}, {"Request-ID", e.Request}, {"Report-ID", e.Report}} {
		if f.value != "" {
			d = appendjson.Field(d, f.name, f.value)
		}
	}
	d = appendjson.Field(d, "Result", result)
	d = appendjson.Time(d, "At", time.Now())
	d = append(appendjson.Field(d, "Node", a.cfg.Node), '}')
	if err := a.cfg.Conn.Publish(a.cfg.Prefix.Of(about), d); err != nil {
		a.cfg.Log.Warn("the audit document of a command could not be sent; the line above has all that it says", "err", err)
	}
}

package shadow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/actors/presence"
	"lamplight/transport/brokers"
	"lamplight/transport/kazoo"
	"lamplight/transport/publication"
)

// aside is what is read of heartbeats and answers.
type aside struct {
	AppName       string                    `json:"App-Name"`
	EventCategory string                    `json:"Event-Category"`
	EventName     string                    `json:"Event-Name"`
	Node          string                    `json:"Node"`
	MsgID         string                    `json:"Msg-ID"`
	Expires       float64                   `json:"Expires"` // milliseconds
	Roles         map[string]jsontext.Value `json:"Roles"`
	Subscriptions jsontext.Value            `json:"Subscriptions"`
}

// listed is one subscription of an answer: extension, event package, watcher, node, Call-ID.
type listed map[string]map[string]map[string]map[string]map[string]struct {
	Time   jsontext.Value `json:"time"`
	Result jsontext.Value `json:"result"`
	Sent   string         `json:"sent"`
}

// hearAnswer reads a heartbeat or a part of an answer. What Lamplight's own bridge says is passed over: it answers searches as well when it
// serves.
func (k *kazooSide) hearAnswer(ctx context.Context, d *amqp091.Delivery) {
	body, err := brokers.Body(d, maxAnswer)
	if err != nil {
		k.s.unread(ctx, wrongBody, err.Error())
		return
	}
	var a aside
	if err := json.Unmarshal(body, &a); err != nil {
		k.s.unread(ctx, wrongDocument, fmt.Sprintf("%v: %.300q", err, body))
		return
	}
	var heard any
	switch {
	case strings.HasPrefix(a.AppName, "lamplight"):
		return
	case a.EventCategory == "nodes" && a.Roles["Presence"] != nil && a.Node != "":
		life := advertLife
		if a.Expires > 0 {
			life = time.Duration(min(a.Expires, float64(time.Hour.Milliseconds()))) * time.Millisecond
		}
		heard = role{a.Node, time.Now().Add(2 * life)}
	case a.EventName == "search_partial_resp" || a.EventName == "search_resp":
		p := part{id: a.MsgID, node: a.Node, last: a.EventName == "search_resp"}
		var all listed
		if len(a.Subscriptions) > 0 {
			err = json.Unmarshal(a.Subscriptions, &all)
		}
		if err != nil {
			k.s.unread(ctx, wrongDocument, fmt.Sprintf("%v: %.300q", err, body))
			p.last = false // what it lists is not known, so it is not complete
		} else {
			p.rows = k.rows(ctx, all)
		}
		heard = p
	default:
		return
	}
	select {
	case k.answers <- heard:
	case <-ctx.Done():
	}
}

// rows reads the subscriptions of a part.
func (k *kazooSide) rows(ctx context.Context, all listed) (rows []row) {
	for user, packages := range all {
		for name, watchers := range packages {
			for watcher, nodes := range watchers {
				for _, calls := range nodes {
					for _, c := range calls {
						r := row{user: strings.ToLower(user), eventPackage: name, watcher: userOf(watcher), at: moment(c.Time), code: code(c.Result)}
						if name == presence.Dialog.String() && c.Sent != "" {
							var err error
							if r.state, r.call, err = readDialogs(c.Sent); err != nil {
								k.s.unread(ctx, wrongNotify, fmt.Sprintf("%v: %.300q", err, c.Sent))
							}
						}
						rows = append(rows, r)
					}
				}
			}
		}
	}
	return rows
}

// hearNews reads a NOTIFY that Kazoo has sent, or a document of a call that it was sent.
func (k *kazooSide) hearNews(ctx context.Context, d *amqp091.Delivery) {
	body, err := brokers.Body(d, kazoo.MaxDocument)
	if err != nil {
		k.s.unread(ctx, wrongBody, err.Error())
		return
	}
	if d.Exchange == "presence" {
		f, err := kazoo.Read(body, "dialog_update")
		if err != nil {
			k.s.unread(ctx, wrongDocument, fmt.Sprintf("%v: %.300q", err, body))
			return
		}
		u, err := f.Update(string(f.CallID))
		call, ok := u.Event.(presence.CallEvent)
		if err == nil && ok && strings.EqualFold(u.To.Realm, k.s.cfg.Realm) {
			k.s.tell(ctx, func(b *book, now time.Time) {
				b.document(strings.ToLower(u.To.User), call.CallID, call.SwitchURI, call.State, now)
			})
		}
		return
	}
	n, err := readNotify(body)
	if err != nil {
		k.s.unread(ctx, wrongNotify, fmt.Sprintf("%v: %.300q", err, body))
		return
	}
	k.s.tell(ctx, func(b *book, now time.Time) { b.told(n, now) })
}

// readNotify reads a notify document. Its Body is the whole NOTIFY request, with lines of Kamailio's own around it.
func readNotify(body []byte) (n notify, err error) {
	var d struct {
		To        string         `json:"To"`
		From      string         `json:"From"`
		Package   string         `json:"Event-Package"`
		Sent      jsontext.Value `json:"Sent"`
		Timestamp jsontext.Value `json:"Timestamp"`
		Reply     jsontext.Value `json:"Reply"`
		Body      string         `json:"Body"`
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return n, err
	}
	if d.Package == "" {
		d.Package = presence.Dialog.String()
	}
	n = notify{user: userOf(d.To), eventPackage: d.Package, watcher: userOf(d.From), code: code(d.Reply), sent: moment(d.Sent)}
	if n.sent.IsZero() {
		n.sent = moment(d.Timestamp)
	}
	if n.user == "" {
		return n, errors.New("the field To is missing or empty")
	}
	if d.Package == presence.Dialog.String() && d.Body != "" {
		n.state, n.call, err = readDialogs(d.Body)
	}
	return n, err
}

// readDialogs finds the dialog-info document in a text and returns the lamp that it shows, and the dialog that decides.
func readDialogs(text string) (state presence.State, call string, err error) {
	const end = "</dialog-info>"
	from, to := strings.Index(text, "<dialog-info"), strings.LastIndex(text, end)
	switch {
	case from >= 0 && to > from:
		text = text[from : to+len(end)]
	case from >= 0 && strings.Contains(text[from:], "/>"): // without a dialog
		text = text[from : from+strings.Index(text[from:], "/>")+2]
	default:
		return presence.None, "", errors.New("it holds no dialog-info document")
	}
	var ev presence.Publish
	ev.Package = presence.Dialog
	if err := publication.Read(&ev, "application/dialog-info+xml", []byte(text)); err != nil {
		return presence.None, "", err
	}
	state, call = lampOf(ev.Dialogs)
	return state, call, nil
}

// number reads a number, which may be a string; 0: it is none.
func number(v jsontext.Value) float64 {
	n, err := strconv.ParseFloat(string(bytes.Trim(v, `"`)), 64)
	if err != nil || n != n {
		return 0
	}
	return n
}

// code reads a SIP status code; 0: it is none.
func code(v jsontext.Value) int {
	if n := number(v); n >= 100 && n < 700 {
		return int(n)
	}
	return 0
}

// moment reads a time in seconds, milliseconds or microseconds since 1970, or in Kazoo's seconds; zero: it is none.
func moment(v jsontext.Value) time.Time {
	n := number(v)
	switch {
	case n <= 0 || n > 1e16:
		return time.Time{}
	case n > 1e11 && n < 1e13:
		return time.UnixMilli(int64(n))
	}
	return kazoo.Moment(int64(n))
}

package kazoo

import (
	"slices"
	"strconv"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// appendSubscription appends one subscription as a listing shows it (docs/contract/http.md, "The listing").
func appendSubscription(dst []byte, s *actors.SubscriptionView) []byte {
	dst = append(dst, '{')
	dst = appendjson.Number(dst, "expires", int64(s.Granted))
	dst = appendjson.Field(dst, "from", s.From)
	body := s.Body
	if body == "" {
		body = "undefined"
	}
	dst = append(appendjson.Key(dst, "notify"), '{')
	dst = appendjson.Field(dst, "body", body)
	dst = appendjson.Number(dst, "reply", int64(s.Reply))
	dst = appendjson.Number(dst, "sequence", int64(s.Sequence))
	dst = append(dst, '}')
	dst = appendjson.Field(dst, "stalker", s.Stalker)
	dst = appendjson.Number(dst, "timestamp", s.Renewed.Unix()+Gregorian)
	dst = appendjson.Number(dst, "version", int64(s.Version))
	for _, o := range [...]member{{"user_agent", s.UserAgent}, {"contact", s.Contact}, {"subscription_id", s.SubscriptionID}, {"proxy_route", s.ProxyRoute}} {
		if o.value != "" {
			dst = appendjson.Field(dst, o.name, o.value)
		}
	}
	return append(dst, '}')
}

// member is a member of an object.
type member struct {
	name  appendjson.Literal
	value string
}

// Listing writes subscriptions as an object: extension → event package → Call-ID → subscription. The rows must come sorted
// by extension, event package and Call-ID. The zero value is ready for use.
type Listing struct {
	Summary bool // write the number of subscriptions instead of the subscriptions
	Rows    int  // rows so far
	begun   bool // there was a row

	// Of the last row.
	user  string
	pkg   presence.Package
	count int // rows of this extension and event package so far
}

// Row appends one row. The caller passes the slice that the last call returned, or one that ends with the same byte.
func (l *Listing) Row(dst []byte, s *actors.SubscriptionView) []byte {
	if !l.begun {
		dst = append(dst, '{')
	}
	newUser := !l.begun || s.User != l.user
	newPackage := newUser || s.Package != l.pkg
	if l.begun && newPackage {
		dst = l.closePackage(dst)
	}
	if l.begun && newUser {
		dst = append(dst, '}')
	}
	if newUser {
		dst = append(appendjson.OutsideKey(dst, s.User), '{')
	}
	if newPackage {
		dst = appendjson.Key(dst, appendjson.Literal(s.Package.String()))
		if !l.Summary {
			dst = append(dst, '{')
		}
		l.count = 0
	}
	l.begun, l.user, l.pkg = true, s.User, s.Package
	l.count++
	l.Rows++
	if l.Summary {
		return dst
	}
	return appendSubscription(appendjson.OutsideKey(dst, s.CallID), s)
}

// closePackage appends what ends an event package: the count, or the brace.
func (l *Listing) closePackage(dst []byte) []byte {
	if l.Summary {
		return strconv.AppendInt(dst, int64(l.count), 10)
	}
	return append(dst, '}')
}

// End appends what ends the object. A Listing without rows is {}.
func (l *Listing) End(dst []byte) []byte {
	if !l.begun {
		return append(dst, "{}"...)
	}
	return append(l.closePackage(dst), "}}"...)
}

// AppendMissing appends the members that say that a listing is not complete: the shards that it does not cover.
func AppendMissing(dst []byte, shards []int) []byte {
	dst = append(appendjson.Key(dst, "timeout"), "true"...)
	dst = append(appendjson.Key(dst, "missing_shards"), '[')
	for i, shard := range shards {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(shard), 10)
	}
	return append(dst, ']')
}

// AppendDialogs appends the dialogs of an extension as a JSON array.
func AppendDialogs(dst []byte, dialogs []presence.DialogView) []byte {
	dst = append(dst, '[')
	for i := range dialogs {
		d := &dialogs[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDialog(dst, d)
	}
	return append(dst, ']')
}

// appendDialog appends one dialog as an object.
func appendDialog(dst []byte, d *presence.DialogView) []byte {
	dst = append(dst, '{')
	dst = appendjson.Field(dst, "call_id", d.CallID)
	dst = appendjson.Field(dst, "state", d.State.String())
	dst = appendjson.Field(dst, "direction", d.Direction.String())
	dst = appendjson.Field(dst, "source", d.Source)
	dst = appendjson.Field(dst, "from", d.From)
	dst = appendjson.Field(dst, "to", d.To)
	dst = appendjson.Time(dst, "since", d.Since)
	dst = appendjson.Time(dst, "expires", d.Expires)
	if d.Held {
		dst = append(appendjson.Key(dst, "held"), "true"...)
	}
	return append(dst, '}')
}

// AppendExtension appends the answer to a Show as an object (docs/contract/http.md, "One extension"). user is the extension
// as the answer names it.
func AppendExtension(dst []byte, user string, a *actors.Answer) []byte {
	dst = append(dst, '{')
	dst = appendjson.Field(dst, "extension", user)
	dst = appendjson.Field(dst, "state", a.View.State.String())
	dst = AppendDialogs(appendjson.Key(dst, "dialogs"), a.View.Dialogs)
	dst = appendjson.Key(dst, "subscriptions")
	var l Listing
	for i := range a.Subscriptions {
		dst = l.Row(dst, &a.Subscriptions[i])
	}
	dst = l.End(dst)
	if a.Explanation != nil {
		dst = appendExplain(appendjson.Key(dst, "explain"), a)
	}
	return append(dst, '}')
}

// appendExplain appends the member explain: why the lamp is as it is.
func appendExplain(dst []byte, a *actors.Answer) []byte {
	e := a.Explanation
	dst = append(dst, '{')
	dst = appendjson.Field(dst, "node", e.Node)
	dst = appendjson.Number(dst, "shard", int64(e.Shard))
	dst = appendjson.Number(dst, "generation", int64(e.Generation))
	d := a.View.Dialogs
	if len(d) > 0 && a.View.State != presence.Terminated {
		dst = appendDialog(appendjson.Key(dst, "winner"), &d[0])
		d = d[1:]
	} else {
		dst = append(appendjson.Key(dst, "winner"), "null"...)
	}
	dst = AppendDialogs(appendjson.Key(dst, "losers"), d)
	findings := e.Findings
	if a.Stale {
		findings = append(slices.Clip(findings), presence.Finding{Kind: presence.FoundStale,
			Text: "The node that answers can't reach NATS. Another node may own this extension by now and know more."})
	}
	dst = appendObjects(dst, "findings", findings, func(dst []byte, f *presence.Finding) []byte {
		return appendjson.Field(appendjson.Field(dst, "kind", f.Kind), "text", f.Text)
	})
	dst = appendObjects(dst, "transitions", e.Transitions, func(dst []byte, t *presence.Transition) []byte {
		dst = appendjson.Field(dst, "state", t.State.String())
		dst = appendjson.Field(dst, "source", t.Source)
		dst = appendjson.Time(dst, "at", t.At)
		for _, m := range [...]member{{"call_id", t.CallID}, {"switch", t.Switch}, {"by", t.By}, {"address", t.From}, {"request_id", t.Request}} {
			if m.value != "" {
				dst = appendjson.Field(dst, m.name, m.value)
			}
		}
		return dst
	})
	dst = appendObjects(dst, "watchers", e.Watchers, func(dst []byte, w *actors.WatcherState) []byte {
		dst = appendjson.Field(dst, "call_id", w.CallID)
		dst = appendjson.Field(dst, "event", w.Package.String())
		dst = appendjson.Field(dst, "from", w.From)
		dst = appendjson.Field(dst, "edge", w.Edge)
		dst = appendjson.Number(dst, "sequence", int64(w.Sequence))
		dst = appendjson.Number(dst, "acked", int64(w.Acked))
		dst = appendjson.Number(dst, "reply", int64(w.Reply))
		if w.Latency > 0 {
			dst = appendjson.Number(dst, "latency_ms", w.Latency.Round(time.Millisecond).Milliseconds())
		}
		return strconv.AppendBool(appendjson.Key(dst, "behind"), w.Behind)
	})
	dst = appendObjects(dst, "ended", e.Ended, func(dst []byte, w *presence.EndedWatcher) []byte {
		dst = appendjson.Field(dst, "call_id", w.CallID)
		dst = appendjson.Field(dst, "event", w.Package.String())
		dst = appendjson.Field(dst, "from", w.From)
		dst = appendjson.Number(dst, "reply", int64(w.Reply))
		return appendjson.Time(dst, "at", w.At)
	})
	return append(dst, '}')
}

// appendObjects appends a member that is a list of objects. fields appends the members of one of them.
func appendObjects[T any](dst []byte, name appendjson.Literal, all []T, fields func(dst []byte, one *T) []byte) []byte {
	dst = append(appendjson.Key(dst, name), '[')
	for i := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(fields(append(dst, '{'), &all[i]), '}')
	}
	return append(dst, ']')
}

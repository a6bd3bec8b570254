// Package document writes the JSON shapes that the HTTP and the NATS edge share: listings of subscriptions and one
// extension's lamp. It appends to the caller's slice, owns nothing and knows neither transport.
package document

import (
	"strconv"
	"time"
	"unicode/utf8"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Gregorian is the offset of Kazoo's timestamps: seconds since year 0.
const Gregorian = 62167219200

// String appends a JSON string. Invalid UTF-8 becomes U+FFFD.
func String(dst []byte, s string) []byte { return append(Escape(append(dst, '"'), s), '"') }

// Escape appends what stands between the quotes of a JSON string.
func Escape[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		if c < utf8.RuneSelf {
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, "\ufffd"...)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
		start = i
	}
	return append(dst, s[start:]...)
}

// plain says which bytes stand for themselves in a JSON string.
var plain = func() (p [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

// Field appends `"name":"value"`, after a comma if the object has begun.
func Field(dst []byte, name, value string) []byte { return String(Key(dst, name), value) }

// Key appends `"name":`, after a comma if the object has begun.
// Names are ours, and need no escapes.
func Key(dst []byte, name string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	return append(append(append(dst, '"'), name...), `":`...)
}

// Number appends `"name":n`.
func Number(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(Key(dst, name), n, 10)
}

// Time appends `"name":"RFC 3339"`, or nothing for the zero time.
func Time(dst []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = append(Key(dst, name), '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// Subscription appends one subscription as listings show it.
func Subscription(dst []byte, s *actors.SubscriptionView) []byte {
	dst = append(dst, '{')
	dst = Number(dst, "expires", int64(s.Granted))
	dst = Field(dst, "from", s.From)
	body := s.Body
	if body == "" {
		body = "undefined"
	}
	dst = append(Key(dst, "notify"), '{')
	dst = Field(dst, "body", body)
	dst = Number(dst, "reply", int64(s.Reply))
	dst = Number(dst, "sequence", int64(s.Sequence))
	dst = append(dst, '}')
	dst = Field(dst, "stalker", s.Stalker)
	dst = Number(dst, "timestamp", s.Renewed.Unix()+Gregorian)
	dst = Number(dst, "version", int64(s.Version))
	for _, o := range [...][2]string{{"user_agent", s.UserAgent}, {"contact", s.Contact}, {"subscription_id", s.SubscriptionID}, {"proxy_route", s.ProxyRoute}} {
		if o[1] != "" {
			dst = Field(dst, o[0], o[1])
		}
	}
	return append(dst, '}')
}

// Listing nests rows that come sorted by extension, package and Call-ID. Its zero value is ready.
type Listing struct {
	Summary bool // counts instead of subscriptions
	user    string
	pkg     presence.Package
	count   int
	begun   bool
	Rows    int
}

// Row appends one more row.
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
		dst = append(Key(dst, s.User), '{')
	}
	if newPackage {
		dst = Key(dst, s.Package.String())
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
	return Subscription(Key(dst, s.CallID), s)
}

func (l *Listing) closePackage(dst []byte) []byte {
	if l.Summary {
		return strconv.AppendInt(dst, int64(l.count), 10)
	}
	return append(dst, '}')
}

// End closes the object.
func (l *Listing) End(dst []byte) []byte {
	if !l.begun {
		return append(dst, "{}"...)
	}
	return append(l.closePackage(dst), "}}"...)
}

// Missing appends which shards a listing does not cover.
func Missing(dst []byte, shards []int) []byte {
	dst = append(Key(dst, "timeout"), "true"...)
	dst = append(Key(dst, "missing_shards"), '[')
	for i, shard := range shards {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(shard), 10)
	}
	return append(dst, ']')
}

// Dialogs appends the dialogs of a view.
func Dialogs(dst []byte, dialogs []presence.DialogView) []byte {
	dst = append(dst, '[')
	for i := range dialogs {
		d := &dialogs[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = dialog(dst, d)
	}
	return append(dst, ']')
}

func dialog(dst []byte, d *presence.DialogView) []byte {
	dst = append(dst, '{')
	dst = Field(dst, "call_id", d.CallID)
	dst = Field(dst, "state", d.State.String())
	dst = Field(dst, "direction", d.Direction.String())
	dst = Field(dst, "source", d.Source)
	dst = Field(dst, "from", d.From)
	dst = Field(dst, "to", d.To)
	dst = Time(dst, "since", d.Since)
	dst = Time(dst, "expires", d.Expires)
	return append(dst, '}')
}

// Extension appends what a Show answered.
func Extension(dst []byte, user string, a *actors.Answer) []byte {
	dst = append(dst, '{')
	dst = Field(dst, "extension", user)
	dst = Field(dst, "state", a.View.State.String())
	dst = Dialogs(Key(dst, "dialogs"), a.View.Dialogs)
	dst = Key(dst, "subscriptions")
	var l Listing
	for i := range a.Subscriptions {
		dst = l.Row(dst, &a.Subscriptions[i])
	}
	dst = l.End(dst)
	if a.Explain != nil {
		dst = explain(Key(dst, "explain"), a)
	}
	return append(dst, '}')
}

func explain(dst []byte, a *actors.Answer) []byte {
	e := a.Explain
	dst = append(dst, '{')
	dst = Field(dst, "node", e.Node)
	dst = Number(dst, "shard", int64(e.Shard))
	dst = Number(dst, "generation", int64(e.Generation))
	d := a.View.Dialogs
	if len(d) > 0 && a.View.State != presence.Terminated {
		dst = dialog(Key(dst, "winner"), &d[0])
		d = d[1:]
	} else {
		dst = append(Key(dst, "winner"), "null"...)
	}
	dst = Dialogs(Key(dst, "losers"), d)
	dst = append(Key(dst, "transitions"), '[')
	for i, t := range e.Transitions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = Field(dst, "state", t.State.String())
		dst = Field(dst, "source", t.Source)
		dst = Time(dst, "at", t.At)
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	dst = append(Key(dst, "watchers"), '[')
	for i := range e.Watchers {
		w := &e.Watchers[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = Field(dst, "call_id", w.CallID)
		dst = Field(dst, "event", w.Package.String())
		dst = Field(dst, "from", w.From)
		dst = Field(dst, "edge", w.Edge)
		dst = Number(dst, "sequence", int64(w.Sequence))
		dst = Number(dst, "acked", int64(w.Acked))
		dst = Number(dst, "reply", int64(w.Reply))
		dst = strconv.AppendBool(Key(dst, "behind"), w.Behind)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

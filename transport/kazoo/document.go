package kazoo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// The bounds of a document that Read takes.
const (
	MaxDocument = 64 << 10         // bytes of the whole document
	MaxField    = presence.MaxText // bytes of the value of one field
)

// The Reasons of error replies to what is above an account's budget.
const (
	OverBudget           = "over_budget"            // it has sent too many events; the sender repeats the document after a second
	TooManySubscriptions = "too_many_subscriptions" // it holds too many subscriptions
)

// Gregorian is the number of seconds from the start of the year 0, from which Kazoo counts its timestamps, to the start of
// 1970, from which Unix counts.
const Gregorian = 62167219200

// Text is a field whose value must be a string. null counts as absent: it reads as "".
type Text string

// UnmarshalJSONFrom reads the value of the field. It refuses other types than strings, strings of more than MaxField bytes,
// and control characters.
func (t *Text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case 'n':
		*t = ""
	case '"':
		*t = Text(tok.String())
		if len(*t) > MaxField {
			return fmt.Errorf("has %d bytes; it may have at most %d", len(*t), MaxField)
		}
		if strings.ContainsFunc(string(*t), unicode.IsControl) { // an edge would copy them into SIP headers
			return errors.New("must not hold control characters")
		}
	default:
		return fmt.Errorf("must be a string, not %s", tok.Kind())
	}
	return nil
}

// Number is a field whose value must be a whole number, as a JSON number or as a string of decimal digits. null counts as
// absent.
type Number struct {
	n   int64 // 0 when absent
	set bool  // the field is there, and not null
}

// UnmarshalJSONFrom reads the value of the field. It refuses fractions, other types, and numbers that do not fit.
func (c *Number) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case 'n':
		*c = Number{}
		return nil
	case '"', '0':
		s := tok.String()
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			f, ferr := strconv.ParseFloat(s, 64)
			if ferr != nil || !(f >= -(1<<53) && f <= 1<<53) || f != float64(int64(f)) {
				return fmt.Errorf("must be a whole number, not %.40q", s)
			}
			n = int64(f)
		}
		*c = Number{n, true}
		return nil
	}
	return fmt.Errorf("must be a number, not %s", tok.Kind())
}

// Flag is a field whose value must be true or false, as a JSON literal or as a string. null counts as absent: it reads as
// false.
type Flag bool

// UnmarshalJSONFrom reads the value of the field.
func (v *Flag) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch s := tok.String(); {
	case tok.Kind() == 'n', s == "false":
		*v = false
	case s == "true":
		*v = true
	default:
		return fmt.Errorf("must be true or false, not %.40q", s)
	}
	return nil
}

// Document holds all fields that Lamplight reads in documents of bridges, edges and control programs (docs/contract/nats.md,
// "Documents" and "Control"). Which of the fields a document must have depends on its Event-Name. Other fields are ignored.
type Document struct {
	AppName       Text `json:"App-Name"`
	AppVersion    Text `json:"App-Version"`
	EventCategory Text `json:"Event-Category"`
	EventName     Text `json:"Event-Name"`
	MsgID         Text `json:"Msg-ID"`
	ServerID      Text `json:"Server-ID"`

	User           Text   `json:"User"`
	Expires        Number `json:"Expires"`
	CallID         Text   `json:"Call-ID"`
	From           Text   `json:"From"`
	To             Text   `json:"To"`
	FromTag        Text   `json:"From-Tag"`
	ToTag          Text   `json:"To-Tag"`
	FromUser       Text   `json:"From-User"`
	ToUser         Text   `json:"To-User"`
	FromRealm      Text   `json:"From-Realm"`
	ToRealm        Text   `json:"To-Realm"`
	FromURI        Text   `json:"From-URI"`
	ToURI          Text   `json:"To-URI"`
	Contact        Text   `json:"Contact"`
	EventPackage   Text   `json:"Event-Package"`
	Queue          Text   `json:"Queue"`
	SubscriptionID Text   `json:"Subscription-ID"`
	ProxyRoute     Text   `json:"Proxy-Route"`
	UserAgent      Text   `json:"User-Agent"`
	CSeq           Number `json:"CSeq"`
	MaxRate        Text   `json:"Max-Rate"`
	MinRate        Text   `json:"Min-Rate"`
	InDialog       Flag   `json:"In-Dialog"`

	State         Text   `json:"State"`
	Direction     Text   `json:"Direction"`
	CallDirection Text   `json:"Call-Direction"`
	Presentity    Text   `json:"Presentity"`
	PresenceID    Text   `json:"Presence-ID"`
	TargetCallID  Text   `json:"Target-Call-ID"`
	SwitchURI     Text   `json:"Switch-URI"`
	Node          Text   `json:"Node"`
	Rendering     Text   `json:"Rendering"`
	Timestamp     Number `json:"Timestamp"`
	Before        Number `json:"Before"`

	MessagesNew         Number `json:"Messages-New"`
	MessagesSaved       Number `json:"Messages-Saved"`
	MessagesUrgent      Number `json:"Messages-Urgent"`
	MessagesUrgentSaved Number `json:"Messages-Urgent-Saved"`
	MessageAccount      Text   `json:"Message-Account"`
	ExtendedPresenceID  Text   `json:"Extended-Presence-ID"`

	Sequence   Number `json:"Sequence"`
	Reply      Number `json:"Reply"`
	RetryAfter Number `json:"Retry-After"`

	Status   Text `json:"Status"`
	Realm    Text `json:"Realm"`
	Username Text `json:"Username"`
	Explain  Flag `json:"Explain"`

	Summary   Flag `json:"Summary"`
	Lit       Flag `json:"Lit"`
	Source    Text `json:"Source"`
	OlderThan Text `json:"Older-Than"`

	Kind string    `json:"-"` // the first of the Event-Names that the document may have, whatever it has; Read sets it
	Came time.Time `json:"-"` // when the document was read, if the reader of the document notes it
}

// Origin is who the document says has sent it. Nobody has checked that.
func (f *Document) Origin() presence.Origin {
	return presence.Origin{By: cutTo(f.AppName), From: cutTo(f.Node), Request: cutTo(f.MsgID)}
}

// cutTo is at most presence.MaxOrigin bytes of a text.
func cutTo(t Text) string { return string(t[:min(len(t), presence.MaxOrigin)]) }

// Anonymous says that the document lacks a field that Kazoo's own documents have: App-Name, App-Version or Msg-ID. Scripts
// of proxies forget them. Nothing but the answer depends on them, so such a document is taken.
func (f *Document) Anonymous() bool { return f.AppName == "" || f.AppVersion == "" || f.MsgID == "" }

// Refusal is the error of a document that must not be applied. Its sender gets it as an error reply.
type Refusal struct {
	Code   int    // the HTTP status for the same mistake: docs/contract/http.md, "Errors"
	Reason string // what was wrong, with the value, and what would be right
}

// Error implements error.
func (r Refusal) Error() string { return r.Reason }

// refuse returns a Refusal with Code 400.
func refuse(format string, a ...any) error { return Refusal{400, fmt.Sprintf(format, a...)} }

// unreadable turns an error of the JSON decoder into a Refusal that names the field and no Go type.
func unreadable(err error) error {
	var wrong *json.SemanticError // of one field
	if errors.As(err, &wrong) && wrong.JSONPointer != "" && wrong.Err != nil {
		return refuse("%s %v", strings.TrimPrefix(string(wrong.JSONPointer), "/"), wrong.Err)
	}
	return refuse("the document can't be read: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// Read decodes a document and checks the fields that every document has. Its Event-Name must be one of names. Read refuses
// duplicate names, invalid UTF-8, wrong types and values that are too long; its errors are Refusals. The Document is never
// nil: beside an error it holds the fields that could be read, so that the reply can carry the Msg-ID.
func Read(data []byte, names ...string) (*Document, error) {
	f, category := &Document{Kind: names[0]}, "presence"
	if names[0] == "reg_success" {
		category = "directory"
	}
	if len(data) > MaxDocument {
		return f, Refusal{413, fmt.Sprintf("the document has %d bytes; it may have at most %d", len(data), MaxDocument)}
	}
	if err := json.Unmarshal(data, f); err != nil {
		return f, unreadable(err)
	}
	switch {
	case f.EventCategory == "":
		return f, refuse("Event-Category is missing; it must be %s", category)
	case f.EventName == "":
		return f, refuse("Event-Name is missing; on this subject it must be %s", strings.Join(names, " or "))
	}
	if string(f.EventCategory) != category {
		return f, refuse("Event-Category is %.40q; it must be %s", f.EventCategory, category)
	}
	for _, n := range names {
		if string(f.EventName) == n {
			return f, nil
		}
	}
	return f, refuse("Event-Name is %.40q; on this subject it must be %s", f.EventName, strings.Join(names, " or "))
}

// address reads the address of an extension in a field.
func address(field string, value Text) (actors.Address, error) {
	a, err := presence.ParsePresenceID(string(value))
	if err != nil {
		err = refuse("%s %v", field, err)
	}
	return a, err
}

// withoutScheme takes sip: or sips: off a URI, and what surrounds it in a name-addr, as records and documents show it.
func withoutScheme(t Text) string {
	v := target(t)
	for _, scheme := range []string{"sip:", "sips:"} {
		if len(v) >= len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) {
			return v[len(scheme):]
		}
	}
	return v
}

// expires reads the field Expires, in seconds. An absent field reads as 0.
func expires(c Number, most int64) (int, error) {
	if c.n < 0 || c.n > most {
		return 0, refuse("Expires is %d; it must be 0 to %d seconds", c.n, most)
	}
	return int(c.n), nil
}

// timestamp reads the field of that name, which is a Moment. An absent field reads as the zero time.
func timestamp(name string, c Number) (time.Time, error) {
	switch {
	case !c.set:
		return time.Time{}, nil
	case c.n < 0:
		return time.Time{}, refuse("%s is %d; it must not be negative", name, c.n)
	}
	return Moment(c.n), nil
}

// Moment is the time that a number means: seconds since the year 0 (Kazoo's), seconds or microseconds since 1970. The size of the number
// tells which of them it is.
func Moment(n int64) time.Time {
	switch {
	case n > 1e13:
		return time.UnixMicro(n)
	case n < Gregorian:
		return time.Unix(n, 0)
	}
	return time.Unix(n-Gregorian, 0)
}

// rate reads the field of that name, a number of notifications a second (RFC 6446), and returns it in thousandths. An absent
// field reads as 0.
func rate(name string, t Text) (uint32, error) {
	if t == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || !(f > 0 && f <= 1000) {
		return 0, refuse("%s is %.20q; it must be a number of notifications a second, above 0 and at most 1000", name, t)
	}
	return max(uint32(f*1000+0.5), 1), nil
}

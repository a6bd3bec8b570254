package bus

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
)

// Bounds of documents.
const (
	maxDocument = 64 << 10
	maxField    = 4 << 10
	maxExpires  = 86400
	gregorian   = 62167219200 // Unix seconds of the year 0, negated
)

// text is a field that must be a string; null counts as absent.
type text string

// UnmarshalJSONFrom reads the field.
func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case 'n':
		*t = ""
	case '"':
		*t = text(tok.String())
		if len(*t) > maxField {
			return fmt.Errorf("a value of %d bytes; at most %d are taken", len(*t), maxField)
		}
		if strings.ContainsFunc(string(*t), unicode.IsControl) { // they would end up in SIP headers
			return errors.New("must not hold control characters")
		}
	default:
		return fmt.Errorf("must be a string, not %s", tok.Kind())
	}
	return nil
}

// count is a field that is a whole number, or one as a decimal string; null counts as absent.
type count struct {
	n   int64
	set bool
}

// UnmarshalJSONFrom reads the field.
func (c *count) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case 'n':
		*c = count{}
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
		*c = count{n, true}
		return nil
	}
	return fmt.Errorf("must be a number, not %s", tok.Kind())
}

// flag is a field that is true or false, or one of them as a string; null counts as absent.
type flag bool

// UnmarshalJSONFrom reads the field.
func (v *flag) UnmarshalJSONFrom(d *jsontext.Decoder) error {
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

// fields are all that the In and control documents carry and Lamplight uses (BUS.md); others are ignored.
type fields struct {
	AppName       text `json:"App-Name"`
	AppVersion    text `json:"App-Version"`
	EventCategory text `json:"Event-Category"`
	EventName     text `json:"Event-Name"`
	MsgID         text `json:"Msg-ID"`
	ServerID      text `json:"Server-ID"`

	User           text  `json:"User"`
	Expires        count `json:"Expires"`
	CallID         text  `json:"Call-ID"`
	From           text  `json:"From"`
	To             text  `json:"To"`
	FromTag        text  `json:"From-Tag"`
	ToTag          text  `json:"To-Tag"`
	Contact        text  `json:"Contact"`
	EventPackage   text  `json:"Event-Package"`
	Queue          text  `json:"Queue"`
	SubscriptionID text  `json:"Subscription-ID"`
	ProxyRoute     text  `json:"Proxy-Route"`
	UserAgent      text  `json:"User-Agent"`
	CSeq           count `json:"CSeq"`
	MaxRate        text  `json:"Max-Rate"`
	MinRate        text  `json:"Min-Rate"`

	State         text  `json:"State"`
	Direction     text  `json:"Direction"`
	CallDirection text  `json:"Call-Direction"`
	Presentity    text  `json:"Presentity"`
	PresenceID    text  `json:"Presence-ID"`
	TargetCallID  text  `json:"Target-Call-ID"`
	SwitchURI     text  `json:"Switch-URI"`
	Timestamp     count `json:"Timestamp"`

	MessagesNew         count `json:"Messages-New"`
	MessagesSaved       count `json:"Messages-Saved"`
	MessagesUrgent      count `json:"Messages-Urgent"`
	MessagesUrgentSaved count `json:"Messages-Urgent-Saved"`
	MessageAccount      text  `json:"Message-Account"`
	ExtendedPresenceID  text  `json:"Extended-Presence-ID"`

	Sequence count `json:"Sequence"`
	Reply    count `json:"Reply"`

	Realm    text `json:"Realm"`
	Username text `json:"Username"`
	Explain  flag `json:"Explain"`
}

// refusal is an error that a document's sender gets back; code is API.md's.
type refusal struct {
	code   int
	reason string
}

func (r refusal) Error() string { return r.reason }

func refuse(format string, a ...any) error { return refusal{400, fmt.Sprintf(format, a...)} }

// decode reads a document and checks what kind it is and that it carries what every document does. Duplicate names, invalid UTF-8, wrong types and over-long
// values are refused. What could be read is returned with the error, so that the reply can carry the Msg-ID.
func decode(data []byte, names ...string) (*fields, error) {
	f := new(fields)
	if len(data) > maxDocument {
		return f, refusal{413, fmt.Sprintf("a document of %d bytes; at most %d are taken", len(data), maxDocument)}
	}
	if err := json.Unmarshal(data, f); err != nil {
		return f, refuse("the document can't be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	for _, h := range [...]struct {
		name  string
		value text
	}{{"App-Name", f.AppName}, {"App-Version", f.AppVersion}, {"Event-Category", f.EventCategory}, {"Event-Name", f.EventName}, {"Msg-ID", f.MsgID}} {
		if h.value == "" {
			return f, refuse("%s is missing", h.name)
		}
	}
	if f.EventCategory != "presence" {
		return f, refuse("Event-Category is %.40q; it must be presence", f.EventCategory)
	}
	for _, n := range names {
		if string(f.EventName) == n {
			return f, nil
		}
	}
	return f, refuse("Event-Name is %.40q; on this subject it must be %s", f.EventName, strings.Join(names, " or "))
}

// address reads sip:user@realm or user@realm; a URI's port and parameters are dropped.
func address(field string, value text) (actors.Address, error) {
	s := strings.ToLower(strings.TrimSpace(string(value)))
	if i, j := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>'); i >= 0 && j > i {
		s = s[i+1 : j]
	}
	for _, scheme := range []string{"sips:", "sip:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s, _, _ = strings.Cut(rest, ";")
			if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '@') {
				s = s[:i]
			}
			break
		}
	}
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return actors.Address{}, refuse("%s is %.60q; it must be user@realm or sip:user@realm", field, value)
	}
	a := actors.Address{User: s[:at], Realm: s[at+1:]}
	return a, checkName(field, a)
}

func checkName(field string, a actors.Address) error {
	if len(a.User) > maxName || len(a.Realm) > maxName {
		return refuse("%s is over %d bytes long", field, maxName)
	}
	if a.User == "*" {
		return refuse("%s: a bare * is no extension", field)
	}
	return nil
}

// bare takes the scheme off a URI for display.
func bare(t text) string {
	v := string(t)
	for _, scheme := range []string{"sip:", "sips:"} {
		if len(v) >= len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) {
			return v[len(scheme):]
		}
	}
	return v
}

func expires(c count, most int64) (int, error) {
	if c.n < 0 || c.n > most {
		return 0, refuse("Expires is %d; it must be 0 to %d seconds", c.n, most)
	}
	return int(c.n), nil
}

// timestamp reads Gregorian or Unix seconds or Unix microseconds; absent is the zero time.
func timestamp(c count) (time.Time, error) {
	switch {
	case !c.set:
		return time.Time{}, nil
	case c.n < 0:
		return time.Time{}, refuse("Timestamp is negative")
	case c.n > 1e13:
		return time.UnixMicro(c.n), nil
	case c.n < gregorian:
		return time.Unix(c.n, 0), nil
	}
	return time.Unix(c.n-gregorian, 0), nil
}

// rate reads notifications per second (RFC 6446) as thousandths.
func rate(name string, t text) (uint32, error) {
	if t == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || !(f > 0 && f <= 1000) {
		return 0, refuse("%s is %.20q; it must be notifications per second above 0, at most 1000", name, t)
	}
	return max(uint32(f*1000), 1), nil
}

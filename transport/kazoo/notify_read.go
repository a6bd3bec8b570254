package kazoo

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Notify is a NOTIFY message as an edge gets it (docs/contract/nats.md, "NOTIFY"). Its strings share one copy of the whole
// message. Whoever keeps one of them for long clones it, or it keeps the whole message in memory.
type Notify struct {
	Node        string    `json:"Node"`
	Incarnation string    `json:"Incarnation"` // of the node
	EdgeSeq     int64     `json:"Edge-Seq"`
	EdgeFirst   int64     `json:"Edge-First"` // the lowest Edge-Seq that the edge needs; 0: an earlier release sent it
	Edge        string    `json:"Edge"`       // the edge that the targets are behind, if it is down; else ""
	Shard       int64     `json:"Shard"`
	Generation  int64     `json:"Generation"`
	Epoch       time.Time `json:"Epoch"`
	Presentity  string    `json:"Presentity"` // user@realm
	Package     string    `json:"Event-Package"`
	State       string    `json:"State"`
	Sequence    int64     `json:"Sequence"`
	RequestID   string    `json:"Request-ID"` // of the request that caused the change; "": none did, or it is not known
	ContentType string    `json:"Content-Type"`
	Body        string    `json:"Body"`
	Targets     []Target  `json:"Targets"`

	PickupCookies []string `json:"Pickup-Cookies"` // of the dialogs of Body, in their order; nil: none has one, or the edge did not ask
}

// Target is one watcher of a NOTIFY message.
type Target struct {
	CallID            string `json:"Call-ID"`
	From              string `json:"From"`
	FromTag           string `json:"From-Tag"`
	ToTag             string `json:"To-Tag"`
	Contact           string `json:"Contact"`
	ProxyRoute        string `json:"Proxy-Route"`
	SubscriptionID    string `json:"Subscription-ID"`
	SubscriptionState string `json:"Subscription-State"` // the SIP header's value (RFC 6665 §4.1.3), without expires
	Expires           int64  `json:"Expires"`            // the seconds that the subscription has left; 0 when it has ended
	MaxRate           string `json:"Max-Rate"`           // notifications a second (RFC 6446); "": none
	MinRate           string `json:"Min-Rate"`           // notifications a second (RFC 6446); "": none
}

// ReadNotify reads a NOTIFY message. Its errors are Refusals.
//
// An edge gets a message for each change of each lamp that its watchers see. So ReadNotify parses the text by hand, which
// allocates three times however many targets there are, and more only for strings with escapes. A message that its parser
// does not expect goes to a JSON decoder, whose error says what is wrong. The parser trusts the nodes: it also takes some
// texts that are no valid JSON, such as a number with a leading zero.
func ReadNotify(data []byte) (*Notify, error) {
	n := new(Notify)
	r := notifyReader{text: string(data)}
	if r.message(n) {
		return n, nil
	}
	*n = Notify{}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, unreadable(err)
	}
	return n, nil
}

// notifyReader parses a JSON text from front to back. Its methods return false at something that they do not expect.
type notifyReader struct {
	text string
	at   int // the next byte of text
}

// message reads the whole text.
func (r *notifyReader) message(n *Notify) bool {
	return r.object(func(name string) bool {
		switch name {
		case "Node":
			return r.string(&n.Node)
		case "Incarnation":
			return r.string(&n.Incarnation)
		case "Edge-Seq":
			return r.number(&n.EdgeSeq)
		case "Edge-First":
			return r.number(&n.EdgeFirst)
		case "Edge":
			return r.string(&n.Edge)
		case "Shard":
			return r.number(&n.Shard)
		case "Generation":
			return r.number(&n.Generation)
		case "Epoch":
			return r.time(&n.Epoch)
		case "Presentity":
			return r.string(&n.Presentity)
		case "Event-Package":
			return r.string(&n.Package)
		case "State":
			return r.string(&n.State)
		case "Sequence":
			return r.number(&n.Sequence)
		case "Request-ID":
			return r.string(&n.RequestID)
		case "Content-Type":
			return r.string(&n.ContentType)
		case "Body":
			return r.string(&n.Body)
		case "Targets":
			return r.targets(&n.Targets)
		case "Pickup-Cookies":
			return r.strings(&n.PickupCookies)
		}
		var other string
		return r.string(&other) // all other fields of a NOTIFY message are strings
	}) && strings.TrimSpace(r.text[r.at:]) == ""
}

// strings reads an array of strings.
func (r *notifyReader) strings(all *[]string) bool {
	if !r.skip('[') {
		return false
	}
	for first := true; !r.skip(']'); first = false {
		var one string
		if !first && !r.skip(',') || !r.string(&one) {
			return false
		}
		*all = append(*all, one)
	}
	return true
}

// targets reads the array of targets.
func (r *notifyReader) targets(all *[]Target) bool {
	if !r.skip('[') {
		return false
	}
	if r.skip(']') {
		return true
	}
	*all = make([]Target, 0, 1+strings.Count(r.text[r.at:], `,{`)) // at most as many as there are, unless a string holds ,{
	for {
		*all = append(*all, Target{})
		if !r.target(&(*all)[len(*all)-1]) {
			return false
		}
		if r.skip(']') {
			return true
		}
		if !r.skip(',') {
			return false
		}
	}
}

// target reads one target.
func (r *notifyReader) target(t *Target) bool {
	return r.object(func(name string) bool {
		switch name {
		case "Call-ID":
			return r.string(&t.CallID)
		case "From":
			return r.string(&t.From)
		case "From-Tag":
			return r.string(&t.FromTag)
		case "To-Tag":
			return r.string(&t.ToTag)
		case "Contact":
			return r.string(&t.Contact)
		case "Proxy-Route":
			return r.string(&t.ProxyRoute)
		case "Subscription-ID":
			return r.string(&t.SubscriptionID)
		case "Subscription-State":
			return r.string(&t.SubscriptionState)
		case "Expires":
			return r.number(&t.Expires)
		case "Max-Rate":
			return r.string(&t.MaxRate)
		case "Min-Rate":
			return r.string(&t.MinRate)
		}
		return false
	})
}

// object reads an object. It calls field at the value of each member, and field reads that value.
func (r *notifyReader) object(field func(name string) bool) bool {
	if !r.skip('{') {
		return false
	}
	if r.skip('}') {
		return true
	}
	for {
		var name string
		if !r.string(&name) || !r.skip(':') || !field(name) {
			return false
		}
		if r.skip('}') {
			return true
		}
		if !r.skip(',') {
			return false
		}
	}
}

// space goes past white space.
func (r *notifyReader) space() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// skip goes past white space. If c is the next byte then, skip goes past it too and returns true.
func (r *notifyReader) skip(c byte) bool {
	r.space()
	if r.at == len(r.text) || r.text[r.at] != c {
		return false
	}
	r.at++
	return true
}

// string reads a string.
func (r *notifyReader) string(into *string) bool {
	if !r.skip('"') {
		return false
	}
	rest := r.text[r.at:]
	end := strings.IndexByte(rest, '"')
	if end < 0 {
		return false
	}
	if strings.IndexByte(rest[:end], '\\') < 0 {
		*into = rest[:end]
		r.at += end + 1
		return true
	}
	for end = 0; end < len(rest) && rest[end] != '"'; end++ {
		if rest[end] == '\\' {
			end++
		}
	}
	if end >= len(rest) {
		return false
	}
	plain, err := jsontext.AppendUnquote(make([]byte, 0, end), r.text[r.at-1:r.at+end+1])
	*into = string(plain)
	r.at += end + 1
	return err == nil
}

// number reads a whole number of at most 18 digits, without a sign.
func (r *notifyReader) number(into *int64) bool {
	r.space()
	begin := r.at
	for ; r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9'; r.at++ {
		*into = *into*10 + int64(r.text[r.at]-'0')
	}
	return r.at > begin && r.at-begin <= 18
}

// time reads a time that is written as RFC 3339 says.
func (r *notifyReader) time(into *time.Time) bool {
	var text string
	if !r.string(&text) {
		return false
	}
	var err error
	*into, err = time.Parse(time.RFC3339Nano, text)
	return err == nil
}

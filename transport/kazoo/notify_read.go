package kazoo

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Notify is a NOTIFY message as an edge gets it (docs/contract/nats.md, "NOTIFY"). Its strings share the memory of
// the whole message: clone what is kept for long.
type Notify struct {
	Node        string    `json:"Node"`
	Incarnation string    `json:"Incarnation"` // of the node
	EdgeSeq     int64     `json:"Edge-Seq"`
	Shard       int64     `json:"Shard"`
	Generation  int64     `json:"Generation"`
	Epoch       time.Time `json:"Epoch"`
	Presentity  string    `json:"Presentity"` // user@realm
	Package     string    `json:"Event-Package"`
	State       string    `json:"State"`
	Sequence    int64     `json:"Sequence"`
	ContentType string    `json:"Content-Type"`
	Body        string    `json:"Body"`
	Targets     []Target  `json:"Targets"`
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
	SubscriptionState string `json:"Subscription-State"` // RFC 6665 §4.1.3, without expires
	Expires           int64  `json:"Expires"`            // seconds that are left
	MaxRate           string `json:"Max-Rate"`           // RFC 6446, notifications a second
	MinRate           string `json:"Min-Rate"`
}

// ReadNotify reads a NOTIFY message. An edge gets one for every change of every lamp that its watchers see, so the reader
// takes the document apart by hand: two allocations, whatever the number of targets. What it does not expect it leaves to
// a JSON decoder, whose error says what is wrong.
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

// notifyReader walks through a JSON document. Its methods return false at what they do not expect.
type notifyReader struct {
	text string
	at   int
}

// message reads the whole document.
func (r *notifyReader) message(n *Notify) bool {
	return r.object(func(name string) bool {
		switch name {
		case "Node":
			return r.string(&n.Node)
		case "Incarnation":
			return r.string(&n.Incarnation)
		case "Edge-Seq":
			return r.number(&n.EdgeSeq)
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
		case "Content-Type":
			return r.string(&n.ContentType)
		case "Body":
			return r.string(&n.Body)
		case "Targets":
			return r.targets(&n.Targets)
		}
		var other string
		return r.string(&other) // all other fields of a NOTIFY are strings
	}) && strings.TrimSpace(r.text[r.at:]) == ""
}

func (r *notifyReader) targets(all *[]Target) bool {
	if !r.skip('[') {
		return false
	}
	if r.skip(']') {
		return true
	}
	*all = make([]Target, 0, 1+strings.Count(r.text[r.at:], `,{`))
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

// object reads an object, and has field read the value of each name.
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

// skip goes past white space and one character, if that is the next.
func (r *notifyReader) skip(c byte) bool {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
	if r.at == len(r.text) || r.text[r.at] != c {
		return false
	}
	r.at++
	return true
}

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

// number reads a whole number of up to 18 digits.
func (r *notifyReader) number(into *int64) bool {
	r.skip(0) // white space
	begin := r.at
	for ; r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9'; r.at++ {
		*into = *into*10 + int64(r.text[r.at]-'0')
	}
	return r.at > begin && r.at-begin <= 18
}

func (r *notifyReader) time(into *time.Time) bool {
	var text string
	if !r.string(&text) {
		return false
	}
	var err error
	*into, err = time.Parse(time.RFC3339Nano, text)
	return err == nil
}

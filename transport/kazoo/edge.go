package kazoo

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"

	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// The bounds of the documents that edges send.
const (
	maxEdgeDocument = 1 << 20 // bytes of an edge.up or notified document
	MaxReplies      = 500     // replies in one notified document
)

// EdgeUp is an edge.up document: the edge says that it lives, and which messages it has (docs/contract/nats.md, "edge.up").
type EdgeUp struct {
	Edge        string // the edge's name
	Incarnation string // of the edge
	// Seen holds the Edge-Seq up to which the edge misses no message, by "<node>/<incarnation of the node>".
	Seen map[string]int64
	// Draining says that the edge is about to stop, and its connections with it.
	Draining bool
	// PickupCookies says that the edge wants the pickup cookies of dialogs with its NOTIFY messages.
	PickupCookies bool
}

// ReadEdgeUp reads an edge.up document. edge is the name in the subject that it came on; the document must name the same
// edge. Its errors are Refusals.
func ReadEdgeUp(data []byte, edge string) (EdgeUp, error) {
	var d struct {
		Edge        Text              `json:"Edge"`
		Incarnation Text              `json:"Incarnation"`
		Seen        map[string]Number `json:"Seen"`
		Draining    bool              `json:"Draining"`
		Cookies     Flag              `json:"Pickup-Cookies"`
	}
	if err := readEdgeDocument(data, &d); err != nil {
		return EdgeUp{}, err
	}
	if string(d.Edge) != edge {
		return EdgeUp{}, refuse("Edge is %.100q, the subject is about %.100q", d.Edge, edge)
	}
	if d.Incarnation == "" {
		return EdgeUp{}, refuse("Incarnation is missing")
	}
	up := EdgeUp{Edge: edge, Incarnation: string(d.Incarnation), Seen: make(map[string]int64, len(d.Seen)), Draining: d.Draining, PickupCookies: bool(d.Cookies)}
	for source, n := range d.Seen {
		up.Seen[source] = max(n.n, 0)
	}
	return up, nil
}

// Append appends the document to dst.
func (u *EdgeUp) Append(dst []byte) []byte {
	dst = appendjson.Field(append(dst, '{'), "Edge", u.Edge)
	dst = appendjson.Field(dst, "Incarnation", u.Incarnation)
	dst = append(appendjson.Key(dst, "Seen"), '{')
	for source, n := range u.Seen {
		dst = strconv.AppendInt(appendjson.OutsideKey(dst, source), n, 10)
	}
	dst = append(dst, '}')
	if u.Draining {
		dst = append(appendjson.Key(dst, "Draining"), "true"...)
	}
	if u.PickupCookies {
		dst = append(appendjson.Key(dst, "Pickup-Cookies"), "true"...)
	}
	return append(dst, '}')
}

// Reply says how a watcher answered a NOTIFY request.
type Reply struct {
	Presentity string // user@realm
	Package    presence.Package
	CallID     string
	Sequence   uint32 // of the NOTIFY
	Code       int    // the SIP status code
	RetryAfter int    // seconds, of the answer's header Retry-After; 0: it had none
	For        string // the edge that the watcher is behind, when another one sent the NOTIFY because that edge is down
}

// ReadNotified reads a notified document (docs/contract/nats.md, "notified"). edge is the name in the subject that it came
// on; the document must name the same edge. Each of replies is a presence.Notified. A reply for another edge counts as that one's own
// if the other edge is down. wrong counts the replies that ReadNotified left out because a field of theirs is wrong. An error, a Refusal,
// is about the whole document.
func ReadNotified(data []byte, edge string, down func(edge string) bool) (replies []Addressed, wrong int, err error) {
	var d struct {
		Edge    Text `json:"Edge"`
		Replies []struct {
			Presentity Text   `json:"Presentity"`
			Package    Text   `json:"Event-Package"`
			CallID     Text   `json:"Call-ID"`
			Sequence   Number `json:"Sequence"`
			Reply      Number `json:"Reply"`
			RetryAfter Number `json:"Retry-After"`
			For        Text   `json:"For"`
		} `json:"Replies"`
	}
	if err := readEdgeDocument(data, &d); err != nil {
		return nil, 0, err
	}
	if string(d.Edge) != edge {
		return nil, 0, refuse("Edge is %.100q, the subject is about %.100q", d.Edge, edge)
	}
	if len(d.Replies) > MaxReplies {
		return nil, 0, refuse("the document has %d replies; it may have at most %d", len(d.Replies), MaxReplies)
	}
	replies = make([]Addressed, 0, len(d.Replies))
	for _, r := range d.Replies {
		to, err := address("Presentity", r.Presentity)
		p, perr := parsePackage(r.Package)
		if err != nil || perr != nil || !validReply(r.Sequence, r.Reply) || !validRetry(r.RetryAfter) {
			wrong++
			continue
		}
		by := edge
		if other := string(r.For); other != "" && down(other) {
			by = other
		}
		replies = append(replies, Addressed{to, presence.Notified{Package: p, HasPackage: true, CallID: string(r.CallID),
			Sequence: uint32(r.Sequence.n), Reply: int(r.Reply.n), RetryAfter: int(r.RetryAfter.n), Edge: by}})
	}
	return replies, wrong, nil
}

// AppendNotified appends a notified document to dst. The caller passes at most MaxReplies replies: ReadNotified refuses more.
func AppendNotified(dst []byte, edge string, replies []Reply) []byte {
	dst = appendjson.Field(append(dst, '{'), "Edge", edge)
	dst = append(appendjson.Key(dst, "Replies"), '[')
	for i := range replies {
		r := &replies[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendjson.Field(append(dst, '{'), "Presentity", r.Presentity)
		dst = appendjson.Field(dst, "Event-Package", r.Package.String())
		dst = appendjson.Field(dst, "Call-ID", r.CallID)
		dst = appendjson.Number(dst, "Sequence", int64(r.Sequence))
		dst = appendjson.Number(dst, "Reply", int64(r.Code))
		if r.RetryAfter != 0 {
			dst = appendjson.Number(dst, "Retry-After", int64(r.RetryAfter))
		}
		if r.For != "" && r.For != edge {
			dst = appendjson.Field(dst, "For", r.For)
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// readEdgeDocument decodes a document of an edge into a struct.
func readEdgeDocument(data []byte, into any) error {
	if len(data) > maxEdgeDocument {
		return Refusal{413, fmt.Sprintf("the document has %d bytes; a document of an edge may have at most %d", len(data), maxEdgeDocument)}
	}
	if err := json.Unmarshal(data, into); err != nil {
		return unreadable(err)
	}
	return nil
}

// validReply says whether a Sequence and a SIP status code are in their ranges. The code 0 means that the phone did not
// answer.
func validReply(sequence, code Number) bool {
	return sequence.n >= 0 && sequence.n <= 1<<31 && code.n >= 0 && code.n <= 999
}

// validRetry says whether a Retry-After is in its range, in seconds.
func validRetry(seconds Number) bool { return seconds.n >= 0 && seconds.n <= 1<<31 }

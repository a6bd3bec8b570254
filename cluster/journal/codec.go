package journal

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// Leases and claims are written a few times a second: JSON, so that an operator can read them with any NATS client.
// Each is one node's word and replaced by the next one whole; unknown fields are passed over, and kept where a document is
// changed (a restore). A schema above ours is refused: it is written only once all members read it. Whoever may write to the stream can write anything there,
// so sizes are bounded.
const (
	maxDocument = 4 << 10 // bytes, with fields of newer releases
	maxName     = 128     // of a node or an incarnation
)

type leaseDocument struct {
	Schema      int    `json:"schema"`
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
	Expelled    bool   `json:"expelled,omitzero"`
	Left        bool   `json:"left,omitzero"`
	Draining    bool   `json:"draining,omitzero"`
	Before      string `json:"before,omitzero"`
	Beat        int64  `json:"beat,string,omitzero"`
}

type claimDocument struct {
	Schema      int    `json:"schema"`
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
	Nonce       uint64 `json:"nonce,string"`
	Generation  uint64 `json:"generation"`
	Base        uint32 `json:"base"`
	Epoch       int64  `json:"epoch,string"`
	Released    bool   `json:"released,omitzero"`
	Next        string `json:"next,omitzero"`
	Since       int64  `json:"since,string,omitzero"`
	All         bool   `json:"all,omitzero"`

	Unknown jsontext.Value `json:",embed"` // fields of newer releases
}

// decode reads a document into d.
func decode(b []byte, d any) error {
	if len(b) > maxDocument {
		return fmt.Errorf("%d bytes", len(b))
	}
	return json.Unmarshal(b, d)
}

// check refuses another schema and names that no node has: they become parts of subjects.
func check(schemaOf int, node, incarnation string) error {
	if schemaOf > presence.Schema {
		return fmt.Errorf("it has schema %d, this release reads up to %d: upgrade this node", schemaOf, presence.Schema)
	}
	if schemaOf < 1 || !isName(node) || !isName(incarnation) {
		return fmt.Errorf("schema %d, incarnation %.40q of node %.40q", schemaOf, incarnation, node)
	}
	return nil
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e })
}

func encodeLease(schema int, l ownership.Lease) []byte {
	b, _ := json.Marshal(leaseDocument{schema, l.Node, l.Incarnation, l.Expelled, l.Left, l.Draining, l.Before, nanos(l.Beat)})
	return b
}

func decodeLease(b []byte) (ownership.Lease, error) {
	var d leaseDocument
	if err := decode(b, &d); err != nil {
		return ownership.Lease{}, fmt.Errorf("lease: %w", err)
	}
	if err := check(d.Schema, d.Node, d.Incarnation); err != nil {
		return ownership.Lease{}, fmt.Errorf("lease: %w", err)
	}
	return ownership.Lease{Node: d.Node, Incarnation: d.Incarnation, Expelled: d.Expelled, Left: d.Left, Draining: d.Draining,
		Before: d.Before, Beat: instant(d.Beat)}, nil
}

// nanos is a time as documents hold it; 0 is the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func encodeClaim(schema int, c ownership.Claim) []byte {
	b, _ := json.Marshal(claimDocument{Schema: schema, Node: c.Node, Incarnation: c.Incarnation, Nonce: c.Nonce, Generation: c.Generation, Base: c.Base,
		Epoch: c.Epoch, Released: c.Released, Next: c.Next, Since: nanos(c.Since), All: c.All})
	return b
}

// readClaim checks a claim's document.
func readClaim(b []byte) (d claimDocument, err error) {
	if err = decode(b, &d); err == nil {
		err = check(d.Schema, d.Node, d.Incarnation)
	}
	if err == nil && d.Next != "" && !isName(d.Next) {
		err = fmt.Errorf("next owner %.40q", d.Next)
	}
	if err != nil {
		return d, fmt.Errorf("claim: %w", err)
	}
	return d, nil
}

func decodeClaim(b []byte) (ownership.Claim, error) {
	d, err := readClaim(b)
	if err != nil {
		return ownership.Claim{}, err
	}
	return ownership.Claim{Node: d.Node, Incarnation: d.Incarnation, Nonce: d.Nonce, Generation: d.Generation, Base: d.Base,
		Epoch: d.Epoch, Released: d.Released, Next: d.Next, Since: instant(d.Since), All: d.All}, nil
}

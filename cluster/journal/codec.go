package journal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// The form of leases and claims: docs/contract/journal.md, "Leases and claims". They are JSON, so that an operator can read
// them with any NATS client; there are only a few a second. A node replaces them whole, so fields of newer releases are
// passed over; only a restore changes a claim, and keeps them. A schema above ours is refused: it is written only when all
// members can read it. Sizes are bounded, because whoever may write to the stream can write anything.
const (
	maxDocument = 4 << 10 // bytes
	maxName     = 128     // bytes of a node's name or an incarnation

	maxGeneration = 1 << 53 // of a claim: past it, JSON numbers are not exact everywhere
)

// errNewer says that a newer release wrote a lease or claim. It is left alone. What can't be read for another reason is replaced
// (docs/contract/journal.md, rule 10).
var errNewer = errors.New("a newer release wrote it: upgrade this node")

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
}

// decode reads a document into d. It refuses a schema that this release cannot read, whatever else the document holds.
func decode(b []byte, d any) error {
	if len(b) > maxDocument {
		return fmt.Errorf("it has %d bytes; at most %d are read", len(b), maxDocument)
	}
	var first struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(b, &first); err != nil {
		return err
	}
	if first.Schema > presence.Schema {
		return fmt.Errorf("it has schema %d, this release reads up to %d: %w", first.Schema, presence.Schema, errNewer)
	}
	return json.Unmarshal(b, d)
}

// check refuses names that no node has: they become parts of subjects.
func check(schema int, node, incarnation string) error {
	if schema < 1 || !isName(node) || !isName(incarnation) {
		return fmt.Errorf("schema %d, node %.40q, incarnation %.40q: the schema must be at least 1, and the names 1 "+
			"to %d printable ASCII characters without spaces", schema, node, incarnation, maxName)
	}
	return nil
}

// isName says whether a text may be the name of a node or an incarnation.
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

// nanos returns a time as documents hold it: Unix ns, and 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// instant returns the time of which nanos made a number.
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

// readClaim decodes and checks a claim, and keeps the fields that this release does not know.
func readClaim(b []byte) (d claimDocument, err error) {
	if err = decode(b, &d); err == nil {
		err = check(d.Schema, d.Node, d.Incarnation)
	}
	switch {
	case err != nil:
	case d.Next != "" && !isName(d.Next):
		err = fmt.Errorf("its next owner %.40q is not the name of a node", d.Next)
	case d.Generation < 1 || d.Generation > maxGeneration || d.Base > ownership.MaxBase:
		err = fmt.Errorf("generation %d, base %d: the generation must be 1 to 2^53, and the base 0 to 2^31", d.Generation, d.Base)
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

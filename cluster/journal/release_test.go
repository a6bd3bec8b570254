package journal

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// testdata/schema-1-first.txt holds leases and claims as the first release wrote them. schema-1-cluster.txt holds those of
// the first release in which several nodes shared the shards. The files never change. A release that raises presence.Schema
// adds a file of all of these: go test ./cluster/journal -run TestReleases -update.
var update = flag.Bool("update", false, "write the present schema's leases and claims, if they are not kept yet")

// encodeAny encodes a lease or a claim. It returns which of the two it was, too.
func encodeAny(schema int, v any) (kind string, data []byte) {
	if l, ok := v.(ownership.Lease); ok {
		return "lease", encodeLease(schema, l)
	}
	return "claim", encodeClaim(schema, v.(ownership.Claim))
}

// The leases and claims that every release wrote read today as what they meant, and are written again to the byte.
func TestReleases(t *testing.T) {
	epoch, beat := int64(1763978400000000005), time.Unix(1763978400, 7).UTC()
	kept := map[string][]any{
		"schema-1-first.txt": {
			ownership.Lease{Node: "a", Incarnation: "7f3a"},
			ownership.Lease{Node: "box.example.com", Incarnation: "7f3a", Expelled: true},
			ownership.Lease{Node: "a", Incarnation: "7f3a", Left: true},
			ownership.Claim{Node: "a", Incarnation: "7f3a", Nonce: 1<<64 - 1, Generation: 3, Base: 98304, Epoch: epoch},
			ownership.Claim{Node: "a", Incarnation: "7f3a", Nonce: 1, Generation: 4, Base: 131072, Epoch: epoch, Released: true, Next: "b"},
		},
		"schema-1-cluster.txt": {
			ownership.Lease{Node: "a", Incarnation: "7f3a", Draining: true},
			ownership.Lease{Node: "b", Incarnation: "9", Expelled: true, Before: "7f3a", Beat: beat},
			ownership.Claim{Node: "b", Incarnation: "9", Nonce: 2, Generation: 5, Base: 163840, Epoch: epoch, Since: beat},
			ownership.Claim{Node: "b", Incarnation: "9", Nonce: 3, Generation: 5, Base: 163840, Epoch: epoch, All: true},
		},
	}
	all := slices.Concat(kept["schema-1-first.txt"], kept["schema-1-cluster.txt"])
	for schema := 2; schema <= presence.Schema; schema++ {
		kept[fmt.Sprintf("schema-%d.txt", schema)] = all
	}
	own := fmt.Sprintf("testdata/schema-%d.txt", presence.Schema)
	if _, err := os.Stat(own); *update && presence.Schema > 1 && os.IsNotExist(err) {
		var text []byte
		for _, v := range all {
			kind, data := encodeAny(presence.Schema, v)
			text = fmt.Appendf(text, "%s %s\n", kind, data)
		}
		if err := os.WriteFile(own, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for file, wants := range kept {
		schema := 0
		if _, err := fmt.Sscanf(file, "schema-%d", &schema); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatalf("%v; -update makes the file of a new schema", err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(wants) {
			t.Fatalf("%s has %d lines", file, len(lines))
		}
		for i, line := range lines {
			_, data, _ := strings.Cut(line, " ")
			kind, again := encodeAny(schema, wants[i])
			var got any
			if kind == "lease" {
				got, err = decodeLease([]byte(data))
			} else {
				got, err = decodeClaim([]byte(data))
			}
			if err != nil || got != wants[i] {
				t.Errorf("%s: %s reads as %+v, %v", file, data, got, err)
			}
			if string(again) != data {
				t.Errorf("%s: %s is written otherwise: %s", file, data, again)
			}
		}
	}
}

// Fields of a newer release in a claim are passed over. A schema that this release cannot read is refused with an error that
// says what to do.
func TestNewerClaim(t *testing.T) {
	claim := string(encodeClaim(1, ownership.Claim{Node: "a", Incarnation: "7f", Generation: 3, Base: 7}))
	claim = strings.TrimSuffix(claim, "}") + `,"later":{"x":[1,2]}}`
	if c, err := decodeClaim([]byte(claim)); err != nil || c.Generation != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, doc := range [][]byte{encodeClaim(presence.Schema+1, ownership.Claim{Node: "a", Incarnation: "7f"}), encodeLease(presence.Schema+1, ownership.Lease{Node: "a", Incarnation: "7f"})} {
		if _, err := decodeLease(doc); err == nil || !strings.Contains(err.Error(), "upgrade this node") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

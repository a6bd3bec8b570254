package journal

import (
	"fmt"
	"strings"
	"testing"

	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// Whatever can be read as a lease has a bounded size, and gives the same lease when it is written and read again.
func FuzzLease(f *testing.F) {
	f.Add(encodeLease(presence.Schema, ownership.Lease{Node: "a", Incarnation: "7f"}))
	f.Add(encodeLease(presence.Schema, ownership.Lease{Node: "a.b-c", Incarnation: "7f", Expelled: true, Left: true}))
	f.Add([]byte(`{"schema":1,"node":"a","incarnation":"7f","later":{"x":[1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := decodeLease(data)
		if err != nil {
			return
		}
		if len(data) > maxDocument || !isName(l.Node) || !isName(l.Incarnation) {
			t.Fatalf("%q was taken as %+v", data, l)
		}
		if again, err := decodeLease(encodeLease(presence.Schema, l)); err != nil || again != l {
			t.Fatalf("%+v → %+v, %v", l, again, err)
		}
	})
}

func FuzzClaim(f *testing.F) {
	f.Add(encodeClaim(presence.Schema, ownership.Claim{Node: "a", Incarnation: "7f", Nonce: 1<<64 - 1, Generation: 3, Base: 1 << 31, Epoch: -1}))
	f.Add(encodeClaim(presence.Schema, ownership.Claim{Node: "a", Incarnation: "7f", Released: true, Next: "b"}))
	f.Add([]byte(`{"schema":1,"node":"a","incarnation":"7f","nonce":"1","epoch":"2","later":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeClaim(data)
		if err != nil {
			return
		}
		if len(data) > maxDocument || !isName(c.Node) || !isName(c.Incarnation) || c.Next != "" && !isName(c.Next) {
			t.Fatalf("%q was taken as %+v", data, c)
		}
		if again, err := decodeClaim(encodeClaim(presence.Schema, c)); err != nil || again != c {
			t.Fatalf("%+v → %+v, %v", c, again, err)
		}
	})
}

func TestDocumentsThatAreRefused(t *testing.T) {
	long := strings.Repeat("n", maxName+1)
	for what, doc := range map[string]string{
		"another schema":        fmt.Sprintf(`{"schema":%d,"node":"a","incarnation":"1"}`, presence.Schema+1),
		"no node":               `{"schema":1,"incarnation":"1"}`,
		"a long name":           `{"schema":1,"node":"` + long + `","incarnation":"1"}`,
		"a long incarnation":    `{"schema":1,"node":"a","incarnation":"` + long + `"}`,
		"a line end in a name":  `{"schema":1,"node":"a\r\nPUB x 0","incarnation":"1"}`,
		"a long document":       `{"schema":1,"node":"a","incarnation":"1","x":"` + strings.Repeat("x", maxDocument) + `"}`,
		"a field that is twice": `{"schema":1,"node":"a","node":"b","incarnation":"1"}`,
	} {
		if l, err := decodeLease([]byte(doc)); err == nil {
			t.Errorf("%s: a lease %+v", what, l)
		}
		if c, err := decodeClaim([]byte(doc)); err == nil {
			t.Errorf("%s: a claim %+v", what, c)
		}
	}
	if c, err := decodeClaim([]byte(`{"schema":1,"node":"a","incarnation":"1","nonce":"1","epoch":"1","next":"` + long + `"}`)); err == nil {
		t.Errorf("a long next owner: %+v", c)
	}
}

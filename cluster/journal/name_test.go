package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ring"
)

// A record's key is the hash of its parts, each behind its length: releases must agree on it, or they lose records.
func TestRecordKey(t *testing.T) {
	n := newNamer()
	for _, key := range []string{"", "k", "call-1@10.0.0.9", strings.Repeat("x", 1000)} {
		to := actors.Address{Realm: "acme.example.com", User: "1001"}
		h := sha256.New()
		for _, part := range []string{string(rune(presence.KindCall)), to.Realm, to.User, key} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
			h.Write([]byte(part))
		}
		if want := ring.Key(h.Sum(nil)[:16]); n.keyOf(presence.KindCall, to, key) != want {
			t.Errorf("%.20q: %x, want %x", key, n.keyOf(presence.KindCall, to, key), want)
		}
	}
	if all := testing.AllocsPerRun(100, func() {
		n.keyOf(presence.KindCall, actors.Address{Realm: "acme.example.com", User: "1001"}, "call-1@10.0.0.9")
	}); all > 0 {
		t.Errorf("%v allocations", all)
	}
}

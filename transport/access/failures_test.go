package access

import (
	"net"
	"strconv"
	"testing"
	"time"

	"lamplight/cluster/directory"
)

// However many clients fail, the table stays within its bound, and a new client is looked at. After a minute an address may try again.
func TestFailuresAreBounded(t *testing.T) {
	f := &failures{of: map[[32]byte]*failed{}}
	now := time.Now()
	names := func(i int) []failureName {
		return failureNames(net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), directory.Whose{Realm: strconv.Itoa(i)}, "md5", "x")
	}
	for i := range maxFailureNames {
		if !f.begin(names(i), now) {
			t.Fatalf("client %d is not looked at", i)
		}
		if len(f.of) > maxFailureNames {
			t.Fatalf("%d names", len(f.of))
		}
	}
	last := names(maxFailureNames - 1)
	for i := range maxFailures - 1 {
		if !f.begin(last, now) {
			t.Fatalf("failure %d", i+2)
		}
	}
	if f.begin(last, now) || !f.begin(last, now.Add(failureTime)) {
		t.Error("the bound of an address, or its end")
	}
	good := names(1_000_000)
	for range 5 * maxFailures {
		if !f.begin(good, now) {
			t.Fatal("successes count")
		}
		f.undo(good)
	}
}

// The addresses of one IPv6 network are one address, because a client can take any of them.
func TestFailuresOfAnIPv6Network(t *testing.T) {
	name := func(ip string) failureName { return failureNames(net.ParseIP(ip), directory.Whose{}, "", "")[0] }
	if name("2001:db8::1") != name("2001:db8::ffff:1") || name("2001:db8::1") == name("2001:db8:0:1::1") || name("10.0.0.1") == name("10.0.0.2") {
		t.Error("the names of addresses")
	}
}

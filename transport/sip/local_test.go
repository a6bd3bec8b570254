package sip_test

import (
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/sip"
)

// Above its account's budget a new subscription is answered 480, and a refresh 500: with 480 the phone would take the subscription, which was
// accepted, for ended (RFC 6665 §4.1.2.2).
func TestOverBudget(t *testing.T) {
	l := &sip.Local{News: func(_ string, then func(error)) { then(presence.ErrOverBudget) }}
	to := presence.Address{Realm: "acme.test", User: "1001"}
	for inDialog, want := range map[bool]int{false: 480, true: 500} {
		got := 0
		l.Subscribe(to, &presence.Subscribe{CallID: "c", InDialog: inDialog}, time.Now().Add(time.Second), func(o sip.Outcome) { got = o.Code })
		if got != want {
			t.Errorf("in a dialog: %v: %d, want %d", inDialog, got, want)
		}
	}
}

package wire

import (
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// What is asked about switches and sources arrives as it was sent. A node of a release without it finds no field that it knows in it, so it
// refuses the call and does not end a realm instead.
func TestSwitchesAndSources(t *testing.T) {
	who := presence.Origin{By: "user 1 of account 2", From: "10.0.0.1", Request: "r-1"}
	for _, want := range []Call{
		{ID: 3, Deadline: 7, Command: &WideCommand{Only: shardsOf(0, 1023), Gone: presence.SwitchGone{Switch: "sip:10.0.0.5:11000", Before: at}, Origin: who}},
		{ID: 4, Deadline: 8, Request: actors.Request{To: actors.SourceAddress("fs1"), Message: presence.SourceUp{Source: "fs1", Switch: "sip:10.0.0.5:11000", Incarnation: "7f", Expires: 30, Timestamp: at}}},
		{ID: 5, Deadline: 9, Request: actors.Request{To: actors.Address{Realm: "acme.test", User: "1001"}, Message: presence.Registration{Contact: "sip:1001@10.0.0.9", Expires: 3600, Timestamp: at}}},
	} {
		arrives(t, want, callPublish)
	}
}

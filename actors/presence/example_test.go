package presence_test

import (
	"fmt"
	"time"

	"lamplight/actors/presence"
)

// A phone subscribes to an extension, which then gets a call. Each event yields effects, and the caller carries them out.
func ExampleExtension_Apply() {
	rules := &presence.Rules{CallLease: 24 * time.Hour, TombstoneLife: time.Minute}
	extension := presence.New("acme.example.com", "1001", rules)
	now := time.Date(2026, 11, 28, 4, 0, 0, 0, time.UTC) // the time is an argument: the package has no clock

	sequence := uint32(0)
	for _, event := range []presence.Event{
		presence.Subscribe{CallID: "call-1@10.0.0.9", From: "1002@acme.example.com", Package: presence.Dialog, Expires: 1800},
		presence.CallEvent{CallID: "k-1@10.0.0.5", Direction: presence.Recipient, State: presence.Early},
		presence.CallEvent{CallID: "k-1@10.0.0.5", Direction: presence.Recipient, State: presence.Terminated},
		presence.CallEvent{CallID: "k-1@10.0.0.5", Direction: presence.Recipient, State: presence.Confirmed}, // late: the call has ended
	} {
		effects, err := extension.Apply(event, now)
		fmt.Printf("%T %v\n", event, err)
		for _, record := range effects.Records { // first the caller makes the records durable
			fmt.Println("  a record to keep; a tombstone:", record.Tombstone)
		}
		for _, notice := range effects.Notices { // then it tells the watchers
			sequence++
			for _, watcher := range notice.Watchers {
				fmt.Printf("  NOTIFY %d to %s: %v\n", sequence, watcher.From, notice.View.State)
				watcher.Told(sequence)
			}
		}
		if effects.Lamp != nil {
			fmt.Printf("  lamp %v -> %v\n", effects.Lamp.Previous, effects.Lamp.State)
		}
		now = now.Add(10 * time.Second)
	}
	// Output:
	// presence.Subscribe <nil>
	//   a record to keep; a tombstone: false
	//   NOTIFY 1 to 1002@acme.example.com: terminated
	// presence.CallEvent <nil>
	//   a record to keep; a tombstone: false
	//   NOTIFY 2 to 1002@acme.example.com: early
	//   lamp terminated -> early
	// presence.CallEvent <nil>
	//   a record to keep; a tombstone: true
	//   NOTIFY 3 to 1002@acme.example.com: terminated
	//   lamp early -> terminated
	// presence.CallEvent <nil>
}

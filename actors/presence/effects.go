package presence

import "time"

// Rules are the bounds and intervals that every extension of a node shares. They never change while a node runs.
type Rules struct {
	NotifyInterval time.Duration // least time between two coalesced NOTIFYs to one watcher; 0: none held back
	CallLease      time.Duration // a call without news lives this long
	Grace          time.Duration // a subscription outlives its Expires by this (20 s)
	TombstoneLife  time.Duration // a minute
	MaxWatchers    int
	MaxCalls       int
	MaxTombstones  int
	Transitions    int        // how many lamp transitions are remembered for explain
	Writes         func() int // the newest schema that all members read, and so the newest that may be written; nil: Schema
}

func (r *Rules) writes() uint8 {
	if r.Writes == nil {
		return Schema
	}
	return uint8(r.Writes())
}

// Effects is what Apply asks its caller to do, in this order: keep the records, and once all of
// them are durable publish the lamp change and send the notices.
type Effects struct {
	Records []Record
	Notices []Notice
	Lamp    *LampChange // nil: the lamp did not change
}

// Record is the durable form of one thing. Its name is (Kind, extension, Key).
type Record struct {
	Kind      Kind
	Key       string        // for subscriptions package + Call-ID, for calls Call-ID + direction or id, …
	Data      []byte        // see record.go; never empty
	TTL       time.Duration // 0: no TTL
	Tombstone bool          // for counting only; a tombstone is a record like any other
}

// Notice is one NOTIFY for several watchers of the same event package. View is immutable.
type Notice struct {
	Package  Package
	View     *View
	Watchers []*Subscription
	End      string // not empty: the subscriptions ended for this reason (timeout, noresource, …)
}

// LampChange is a change of the lamp, for the state feed.
type LampChange struct {
	State, Previous State
	View            *View
	At              time.Time
	Source          string
}

// View is what an extension looks like at one moment. It is never changed once made.
type View struct {
	State       State        // the lamp: Early, Confirmed or Terminated
	Dialogs     []DialogView // the winner first
	Closed      bool         // RFC 3863 basic status, from the register Offline
	Messages    Messages     // the mailbox's own counts
	HasMessages bool
}

// Messages are the counts of one mailbox (RFC 3842).
type Messages struct {
	New, Saved, UrgentNew, UrgentSaved uint32
	Account                            string
}

// DialogView is one dialog of a View.
type DialogView struct {
	ID           string // unique within the extension
	CallID       string
	State        State
	Direction    Direction
	Source       string    // "call", "register", "manual", "mailbox"
	Since        time.Time // the last change of its state
	Expires      time.Time // end of its lease; zero: none
	From, To     string
	FromTag      string
	ToTag        string
	TargetCallID string
	SwitchURI    string
}

// Transition is one remembered change of the lamp, for explain.
type Transition struct {
	State  State
	At     time.Time
	Source string
}

package presence

import "time"

// Rules are the bounds and intervals that all extensions of a node share. They do not change while a node runs.
type Rules struct {
	NotifyInterval time.Duration // the least time between two changes that a watcher is told; 0: no change is held back
	CallLease      time.Duration // how long a call lives without news, when its news brings no lease
	TombstoneLife  time.Duration // how long it is remembered that something has ended
	MaxWatchers    int           // subscriptions of one extension; 0: any number
	MaxCalls       int           // visible calls of one extension, as many registers, and as many mailboxes that light it; 0: any number
	MaxTombstones  int           // things of one extension that have ended and are remembered; 0: any number
	Transitions    int           // changes of the lamp that are remembered for explain
	Writes         func() int    // the schema to write: the newest that all members read; nil: Schema
	// Tell returns when n watchers of a realm's extensions may be told a change: now, or a later time that is kept for them, because their
	// account has told as many as it may. nil: always now. It must not wait.
	Tell func(realm string, n int, now time.Time) time.Time
	// Gone returns the latest moment at which a switch was declared gone, in µs since 1970; 0: none is remembered. It remembers each
	// for TombstoneLife at least, because older news that begins a call is refused. nil: none is ever gone.
	Gone func(switchURI string) int64
}

// writes is the schema to write.
func (r *Rules) writes() uint8 {
	if r.Writes == nil {
		return Schema
	}
	return uint8(r.Writes())
}

// gone is Gone, which may be nil.
func (r *Rules) gone(switchURI string) int64 {
	if r.Gone == nil || switchURI == "" {
		return 0
	}
	return r.Gone(switchURI)
}

// Effects is what Apply asks its caller to do: write the records and, once all of them are durable, send the notices and
// publish the change of the lamp.
type Effects struct {
	Records []Record
	Notices []Notice
	Lamp    *LampChange // nil: the lamp did not change
	Ignored Ignored     // why the news changed nothing
	Former  []string    // of a MailboxEvent without Lamp: the users whose lamps the mailbox lit and lights no more
	Watched bool        // of a Subscribe: the extension has its first watcher of this event package
	Ended   int         // of a SwitchGone: the number of calls that it has ended

	Coalesced int // changes that were held back for a watcher, and that this one now replaces

	Packages ByPackage     // how many more subscriptions there are
	Edges    []CountChange // watchers behind each edge; "" is the edge of the watchers that name none
	Switches []CountChange // calls of each switch

	origin Origin // of the event
}

// ByPackage is a number for each event package.
type ByPackage [len(packages)]int32

// Request is the id of the request that caused the change; "": none did, or it is not known.
func (f *Effects) Request() string { return f.origin.Request }

// CountChange says that the extension has more or fewer of what is counted by a name, such as the watchers behind an edge.
type CountChange struct {
	Name string
	By   int32
}

// Ignored says why news was taken and changed nothing. Repeated news is not counted as ignored.
type Ignored uint8

// The reasons.
const (
	IgnoredNot       Ignored = iota // it was not ignored
	IgnoredOld                      // its Timestamp is older than a tombstone's life
	IgnoredEnded                    // the call has ended
	IgnoredOvertaken                // newer news of the same thing came first
)

// Reasons are the names of the reasons, for metrics; that of IgnoredNot is "".
func Reasons() []string { return []string{"", "old", "ended", "overtaken"} }

// Record is the durable form of one thing. Its name is (Kind, extension, Key).
type Record struct {
	Kind      Kind
	Key       string        // unique among the extension's things of this kind, such as the package and Call-ID of a subscription
	Data      []byte        // what Load reads; never empty
	Life      time.Duration // the journal must keep the record for so long, or until another record replaces it; 0: until then
	Tombstone bool          // the thing has ended; such a record is written and read like any other
}

// Notice is one NOTIFY for several watchers of the same event package. The caller gives it a Sequence and passes that to
// Told of each watcher when it sends the NOTIFY.
type Notice struct {
	Package  Package
	View     *View
	Watchers []*Subscription
	End      string // not empty: the subscriptions have ended, for this reason (RFC 6665 §4.1.3)
}

// LampChange is a change of the lamp, for the state feed.
type LampChange struct {
	State, Previous State
	View            *View
	At              time.Time
	Source          string // what changed it, such as "dialog_update", "manual" or "lease"
}

// View is an extension at one moment. Nobody changes a View once it is made, so any goroutine may read it.
type View struct {
	State       State        // the lamp: Early, Confirmed or Terminated
	Dialogs     []DialogView // the most important first
	Closed      bool         // the basic status (RFC 3863) is closed: the register says Offline
	Registered  bool         // a registration of the extension lives
	Messages    Messages     // the counts of the extension's own mailbox
	HasMessages bool         // false: no counts have come
}

// Messages are the counts of one mailbox (RFC 3842).
type Messages struct {
	New, Saved, UrgentNew, UrgentSaved uint32
	Account                            string // Message-Account (RFC 3842 §3.5); "": the extension
}

// DialogView is one dialog of a View.
type DialogView struct {
	ID           string // unique within the extension
	CallID       string
	State        State
	Direction    Direction
	Source       string    // "call", "register", "manual" or "mailbox"
	Since        time.Time // when its state last changed
	Expires      time.Time // when its lease ends; zero: never
	From, To     string
	FromTag      string
	ToTag        string
	FromName     string // the display name of From
	ToName       string
	FromURI      string // the target to call to reach From; "": From
	ToURI        string
	TargetCallID string
	SwitchURI    string
	Held         bool // it is confirmed, and the extension does not render its media (RFC 4235 §4.1.6)
}

package actors

import (
	"errors"
	"strings"
	"time"
	"unique"

	"lamplight/actors/presence"
)

// Address names one extension. Both parts are lower case.
type Address struct{ Realm, User string }

// String is user@realm.
func (a Address) String() string { return a.User + "@" + a.Realm }

// own is the address without the document that it came from, its realm shared with others.
func (a Address) own() Address {
	return Address{Realm: unique.Make(a.Realm).Value(), User: strings.Clone(a.User)}
}

// Message is what a transport may ask of one extension: any presence.Event, or Show.
// Only those; the router and the shard know how to carry each of them.
type Message any

// Show asks for the extension as it is. It changes nothing.
type Show struct{ Explain bool }

// Request is one message on its way to its extension.
type Request struct {
	To       Address
	Message  Message
	Deadline time.Time     // past it, a command that has not been applied is dropped (ErrTimeout)
	Wait     time.Duration // for SetManual and Reset: wait up to this long for the watchers' replies
}

// Answer is what became of a Request. An Answer to an event leaves only when the event is durable.
type Answer struct {
	Err           error
	View          *presence.View     // never nil when Err is nil and the request was Show
	Subscriptions []SubscriptionView // Show
	Explain       *Explain           // Show with Explain
	Notified      int                // with Wait: watchers told, and what they answered
	Acked         int
	Failed        int
	Stale         bool // the node can't reach NATS and answered from what it holds
}

// SubscriptionView is a copy of one subscription, as listings show it.
type SubscriptionView struct {
	User           string // the extension
	Package        presence.Package
	CallID         string
	From           string
	Stalker        string    // Subscription-ID, else Server-ID, else Queue
	Granted        int       // seconds, with the grace
	Renewed        time.Time // the last (re)subscription
	Version        int       // 2 with a Subscription-ID, else 1
	Body           string    // of the last NOTIFY; "" before the first
	Reply          int
	Sequence       uint32
	UserAgent      string
	Contact        string
	SubscriptionID string
	ProxyRoute     string
}

// Explain is why the lamp is what it is.
type Explain struct {
	Node        string
	Shard       int
	Generation  uint64
	Transitions []presence.Transition // oldest first
	Watchers    []WatcherState
}

// WatcherState is what one watcher was told and what it answered.
type WatcherState struct {
	CallID   string
	Package  presence.Package
	From     string
	Edge     string
	Sequence uint32 // of the last NOTIFY sent
	Acked    uint32 // the highest Sequence it answered
	Reply    int
	Behind   bool // it should know something newer than it was told, or than it acknowledged
}

// Query selects the subscriptions of one realm.
type Query struct {
	Realm      string
	Package    presence.Package
	HasPackage bool   // unset: all packages
	From       string // list extensions >= From
	Limit      int    // extensions at most; 0: all
	Bodies     bool   // fill SubscriptionView.Body
}

// Coverage says which shards a listing or a realm-wide command covered.
type Coverage struct {
	Missing  []int // shards that did not answer within the deadline; nil: none
	Stale    bool
	Sequence uint64 // grows with every change of what was listed
	Next     string // the first extension past Limit; "" when the listing is whole
}

// Errors that an Answer carries besides those of package presence.
var (
	// ErrBusy: a bound is reached; nothing was changed; try again later.
	ErrBusy = errors.New("too many requests wait for this extension's shard")
	// ErrUnavailable: the owner or the journal could not be reached; nothing was changed.
	ErrUnavailable = errors.New("the owner of the extension or the journal is out of reach")
	// ErrUnknown: as ErrUnavailable, but the change may or may not have happened.
	ErrUnknown = errors.New("the journal did not confirm the change in time; it may or may not have happened")
	// ErrNotMine: this node does not own the shard; nothing was changed.
	ErrNotMine = errors.New("the shard is owned by another node")
	// ErrTimeout: the deadline passed before the change was applied; nothing was changed.
	ErrTimeout = errors.New("the deadline passed before the request was served")
)

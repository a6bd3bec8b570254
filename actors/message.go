package actors

import (
	"errors"
	"strings"
	"time"
	"unique"

	"lamplight/actors/presence"
)

// Address names one extension. Both parts are in lower case.
type Address = presence.Address

// intern copies an address, so that it does not keep the document in memory that it was read from. All extensions of a
// realm share one copy of the realm's name.
func intern(a Address) Address {
	return Address{Realm: unique.Make(a.Realm).Value(), User: strings.Clone(a.User)}
}

// Message is what may be asked of one extension, by a transport or by another node. A listing of a realm and a command to
// a whole realm are no Messages: System.Window and System.CommandRealm take them.
type Message = presence.Message

// Show asks for the extension as it is. It changes nothing.
type Show = presence.Show

// Request is one Message for one extension.
type Request struct {
	To       Address
	Message  Message
	Deadline time.Time     // a request that is not applied by then is dropped; the router sets it where the caller did not
	Wait     time.Duration // for SetManual and Reset: how long the answer waits for the watchers' replies; 0: not at all
	Origin   presence.Origin
	Trace    string // the span that asks, a trace.Parent; "": the request is not traced
}

// Answer is the result of a Request. The answer to an event leaves only when the event is durable.
type Answer struct {
	Err           error
	View          *presence.View     // set when the request was Show and Err is nil
	Subscriptions []SubscriptionView // for Show
	Explanation   *Explanation       // for Show with Explain
	Notified      int                // with Wait: the number of watchers that were told,
	Acked         int                // of those that accepted the NOTIFY (a reply below 300),
	Failed        int                // and of those that refused it
	Former        []string           // for a presence.MailboxEvent: Effects.Former
	Ignored       presence.Ignored   // why the news changed nothing
	Ended         int                // for the end of a switch's calls: their number
	Stale         bool               // the node can't reach NATS and answered from memory: another node may know more
}

// SubscriptionView is a copy of one subscription, as listings show it.
type SubscriptionView struct {
	User           string // the extension
	Package        presence.Package
	CallID         string
	From           string
	Stalker        string    // the Subscription-ID, else the Server-ID, else the Queue
	Granted        int       // the interval in seconds, with the grace
	Renewed        time.Time // when the last SUBSCRIBE came
	Version        int       // 2 with a Subscription-ID, else 1
	Body           string    // of the last NOTIFY; "" before the first
	Reply          int       // the SIP response to the last NOTIFY; 0: none yet
	Sequence       uint32    // of the last NOTIFY; 0 before the first
	UserAgent      string
	Contact        string
	SubscriptionID string
	ProxyRoute     string
	Behind         bool // it should know more than it was told, or has not replied to the last NOTIFY

	// Lamp is set in a listing of lamps only (Query.Lit). The row then is no subscription: it shows the extension User, and no
	// other field is set. Nobody may change what it points to.
	Lamp *presence.View
}

// Explanation says why the lamp is what it is.
type Explanation struct {
	Node        string
	Shard       int
	Generation  uint64
	Transitions []presence.Transition // oldest first
	Watchers    []WatcherState
	Ended       []presence.EndedWatcher // that ended a short time ago
	Findings    []presence.Finding      // what an operator should know
}

// WatcherState is what one watcher was told and what it replied.
type WatcherState struct {
	CallID   string
	Package  presence.Package
	From     string
	Edge     string
	Sequence uint32 // of the last NOTIFY that was sent
	Acked    uint32 // the highest Sequence that it replied to
	Reply    int
	Latency  time.Duration // from the making of the last NOTIFY until the reply to it; 0: not known
	Behind   bool          // it should know more than it was told, or has not replied to the last NOTIFY
}

// Query selects the subscriptions of one realm, or its lit lamps.
type Query struct {
	Realm      string
	Package    presence.Package
	HasPackage bool   // false: all event packages
	From       string // the extensions from this user on, in order of their names
	Limit      int    // the number of extensions; 0: all
	Bodies     bool   // fill SubscriptionView.Body

	Lit    bool           // list each extension whose lamp is early or confirmed, watched or not, instead of subscriptions
	State  presence.State // with Lit: only lamps in this state; None: in any
	Source string         // with Lit: only lamps whose most important dialog has this source; "": any
	Until  time.Time      // with Lit: only lamps whose most important dialog began at this time or earlier; zero: any
}

// shows says whether a listing of lamps shows this one.
func (q *Query) shows(v *presence.View) bool {
	if v.State != presence.Early && v.State != presence.Confirmed {
		return false
	}
	winner := &v.Dialogs[0]
	return (q.State == presence.None || v.State == q.State) && (q.Source == "" || winner.Source == q.Source) &&
		(q.Until.IsZero() || !winner.Since.After(q.Until))
}

// Coverage says which shards a listing or a command to a realm covered.
type Coverage struct {
	Missing  []int // the shards that did not answer within the deadline, in rising order; nil: all did
	Stale    bool
	Sequence uint64 // grows with every durable change on the nodes that were asked
	Next     string // the first extension past Query.Limit; "": the listing is complete

	// Extensions is the number of extensions that have done a command to a realm. Nodes of an earlier release do not count.
	Extensions int
}

// The errors that an Answer carries besides those of package presence. Each transport has a table from these to its own
// codes.
var (
	// ErrBusy says that a bound was reached. Nothing was changed; the caller may try again later.
	ErrBusy = errors.New("too many requests wait for this extension's shard")
	// ErrUnavailable says that the owner or the journal could not be reached. Nothing was changed.
	ErrUnavailable = errors.New("the owner of the extension or the journal is out of reach")
	// ErrUnknown says that the journal did not confirm the change. It may have happened or not.
	ErrUnknown = errors.New("the journal did not confirm the change in time; it may or may not have happened")
	// ErrNotMine says that this node does not own the shard. Nothing was changed; the router asks the owner.
	ErrNotMine = errors.New("the shard is owned by another node")
	// ErrTimeout says that the deadline passed before the change was applied. Nothing was changed.
	ErrTimeout = errors.New("the deadline passed before the request was served")
)

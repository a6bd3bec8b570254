package presence

import "time"

// Kind says what a record is about. Its value is the <kind> token of the record's subject
// (docs/contract/journal.md, "Subjects").
type Kind byte

// The kinds of records.
const (
	KindSubscription Kind = 's'
	KindCall         Kind = 'd'
	KindRegister     Kind = 'r'
	KindManual       Kind = 'm'
	KindMailbox      Kind = 'b'
	KindPublication  Kind = 'p'
)

// State is the state of a call, a register, the manual state or the lamp. A call moves through Trying, Early, Confirmed and
// Terminated in the order of their values, and never back. Records carry the values: they never change.
type State uint8

// The states (RFC 4235 §3.7). Online and Offline are the basic status of RFC 3863.
const (
	None State = iota
	Trying
	Early
	Confirmed
	Terminated
	Online
	Offline
)

// Direction says whether the extension began a call or received it (RFC 4235 §4.1.2).
type Direction uint8

// The directions.
const (
	Initiator Direction = iota
	Recipient
)

// Event is one thing that happened to one extension or is asked of it. Apply takes it.
//
// News (Subscribe, CallEvent, RegisterEvent, MailboxEvent, Publish, Notified) may come in any order and any number of times.
// Commands (SetManual, Reset, End) count in the order in which they come. The owner of the extension makes the others
// (Renotify, EndSubscriptions, Tick) itself.
type Event interface{ event() }

// Message is what may be asked of an extension from outside, from a transport or another node: news, a command, or Show.
// All of these but Show are Events.
type Message interface{ message() }

// Show asks for the extension as it is. It changes nothing. The owner answers it from the View and the Subscriptions. It is no Event:
// Apply refuses it.
type Show struct {
	Explain bool // also say why the lamp is what it is
}

// Subscribe creates, refreshes or, with Expires 0, ends a subscription (RFC 6665 §4.1).
type Subscribe struct {
	Package        Package
	CallID         string
	From           string // the watcher, user@realm without "sip:"
	FromTag        string
	ToTag          string
	Contact        string
	ProxyRoute     string
	UserAgent      string
	SubscriptionID string
	ServerID       string
	Queue          string
	CSeq           uint32
	HasCSeq        bool
	Expires        int    // seconds, as granted, at most LongestSubscription
	MaxRate        uint32 // the most notifications per 1000 seconds that the watcher wants (RFC 6446 §4); 0: it did not say
	MinRate        uint32 // the fewest notifications per 1000 seconds that it wants (RFC 6446 §5); 0: it did not say
	InDialog       bool   // it refreshes or ends a subscription: without one it is refused with ErrNoSubscription
}

// CallEvent is news of one call of the extension.
type CallEvent struct {
	CallID       string
	ID           string // the dialog's id, when the news is a part of a Publish; else ""
	Direction    Direction
	Undirected   bool      // the news does not say the direction; Direction is Initiator then
	State        State     // Trying, Early, Confirmed or Terminated; None: the news only extends the lease
	Timestamp    time.Time // when it happened; zero: when it arrived
	Expires      int       // the lease in seconds, at most LongestLease; 0: Rules.CallLease
	From, To     string    // user@realm without "sip:"; From is the extension's side
	FromTag      string
	ToTag        string
	FromName     string // the display name of From
	ToName       string
	FromURI      string // the target to call to reach From; "": From
	ToURI        string
	TargetCallID string
	SwitchURI    string
	Rendering    Rendering // counts of news that says Confirmed
	Source       string    // what brought the news, for explain: "dialog_update", "update" or "publish"
}

// RegisterEvent is the newest value of a state that a feature publishes under a constant name.
type RegisterEvent struct {
	Name      string // RegisterName of the presence id
	State     State
	Timestamp time.Time // when it happened; zero: when it arrived
	Expires   int       // the lease in seconds, at most LongestLease; 0: it stays until it is changed
	From, To  string
	Call      HeldCall
	Source    string // what brought the news, for explain
}

// HeldCall is what a register knows of the call that waits in it, such as the call in a parking slot, so that a phone can
// pick the call up. Of a register that holds no call only the names and URIs of its parties may be there.
type HeldCall struct {
	CallID           string
	Direction        Direction
	FromTag, ToTag   string
	FromName, ToName string
	FromURI, ToURI   string // as in CallEvent
	TargetCallID     string
	SwitchURI        string
	Rendering        Rendering
}

// Rendering says whether the extension renders the media of a call: the feature tag +sip.rendering of its target (RFC 4235 §4.1.6). A
// call whose media it does not render is held.
type Rendering string

// The values of Rendering.
const (
	RenderingUnknown Rendering = "" // the news does not say
	Rendered         Rendering = "yes"
	NotRendered      Rendering = "no"
)

// Valid says whether the value is one of the three.
func (r Rendering) Valid() bool { return r == RenderingUnknown || r == Rendered || r == NotRendered }

// MailboxEvent is the count of messages of one mailbox. Without Lamp, the mailbox is the extension's own, and the watchers of
// message-summary are told. With Lamp, the extension's lamp follows the mailbox's new messages. MailboxUpdate makes both.
type MailboxEvent struct {
	Source      string // the mailbox, user@realm
	Lamp        bool
	New         uint32
	Saved       uint32
	UrgentNew   uint32
	UrgentSaved uint32
	Account     string    // Message-Account (RFC 3842 §3.5)
	Extended    string    // without Lamp: the user of the further extension that the mailbox lights; "": none
	Timestamp   time.Time // when it was so; zero: when the news arrived
}

// Publish is a PUBLISH request (RFC 3903): it begins, refreshes, modifies or removes a publication of the extension. What it reports is
// named by the publisher and the dialog's id, and not by the publication: two publications of one publisher that report the same dialog
// report one dialog. Of MessageSummary it reports counts, as a MailboxEvent without Extended does.
type Publish struct {
	Package   Package
	Publisher string // who publishes: an address of record, or the name or address of a proxy or switch
	IfMatch   string // the entity-tag that the publication has (SIP-If-Match); "": the publication is a new one
	Tag       string // the entity-tag that it gets (SIP-ETag), which no other publication has had
	Expires   int    // seconds, as granted, at most LongestLease; 0: what the body says counts, and then the publication ends
	HasBody   bool   // false: all that the publication reports lives on for Expires
	// Partial says that the document adds to what the publication reports. Else the publication does not report any more what the document
	// leaves out (RFC 4235 §4.1).
	Partial bool
	// Dialogs are those of Dialog: at most MaxPublished. Timestamp, Expires and Source are not used. State is not None.
	Dialogs  []CallEvent
	Basic    State     // of Presence: Online, Offline, or None if the document has no basic status
	Messages *Messages // of MessageSummary; nil: the document has no counts
}

// Notified is a watcher's reply to a NOTIFY.
type Notified struct {
	Package    Package
	HasPackage bool // false: the Call-ID alone names the subscriptions
	CallID     string
	Sequence   uint32 // of the NOTIFY; 0: the news does not say
	Reply      int    // the SIP response code, up to 699; 0: the news does not say
	RetryAfter int    // seconds, of the response's header Retry-After; 0: it had none
	Edge       string // the edge that says so; "": a bridge, or a node of an earlier release
}

// Failed says that the watcher did not take the NOTIFY.
func (n Notified) Failed() bool { return n.Reply >= 300 }

// Final says that the reply ends the subscription (RFC 6665 §4.2.2).
func (n Notified) Final() bool {
	switch n.Reply {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// SetManual sets the manual state. Terminated removes it.
type SetManual struct{ State State }

// Reset ends all calls, registers and lamps of mailboxes, removes the manual state and tells every watcher again. Counts of messages
// stay. With Then, that manual state
// is set in the same step.
type Reset struct{ Then State }

// Renotify tells the watchers behind one edge the present state again, or with "" all watchers.
type Renotify struct{ Edge string }

// End ends every subscription of the extension and forgets all else, because its account is gone. Reason is that of the
// Subscription-State (RFC 6665 §4.1.3); "": noresource.
type End struct{ Reason string }

// SwitchGone says that a switch has died, or has been started again: the calls of which the last news is from before a moment have
// ended without news. Calls that the switch tells of from that moment on live, in whatever order the news and SwitchGone come.
type SwitchGone struct {
	Switch string    // the Switch-URI of the calls
	Before time.Time // zero, or more than a minute ahead: now
	Origin           // who declared it gone
}

// EndSubscriptions ends subscriptions and keeps all else.
type EndSubscriptions struct {
	Reason string // of the Subscription-State (RFC 6665 §4.1.3), such as Deactivated
	Edge   string // only those end that are behind this edge and Tied to one of its connections; "": all end
}

// Deactivated is the reason that has phones subscribe anew at once (RFC 6665 §4.1.3).
const Deactivated = "deactivated"

// Tick does what time does: it ends leases and subscriptions, and sends the changes that a watcher's rate held back.
type Tick struct{}

func (Subscribe) event()        {}
func (CallEvent) event()        {}
func (RegisterEvent) event()    {}
func (MailboxEvent) event()     {}
func (Publish) event()          {}
func (Notified) event()         {}
func (SetManual) event()        {}
func (Reset) event()            {}
func (Renotify) event()         {}
func (End) event()              {}
func (EndSubscriptions) event() {}
func (Registration) event()     {}
func (SwitchGone) event()       {}
func (Tick) event()             {}

func (Subscribe) message()     {}
func (CallEvent) message()     {}
func (RegisterEvent) message() {}
func (MailboxEvent) message()  {}
func (Publish) message()       {}
func (Registration) message()  {}
func (Notified) message()      {}
func (SetManual) message()     {}
func (Reset) message()         {}
func (End) message()           {}
func (Show) message()          {}

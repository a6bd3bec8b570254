package presence

import "time"

// Kind says what a record, and thus a durable thing of an extension, is.
// Its value is the <kind> token of the record's subject.
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

// State is the state of a call, a register, a manual state or the lamp.
// The order of Trying, Early, Confirmed, Terminated is the order in which a call moves.
type State uint8

// The states (RFC 4235 §3.7; Online and Offline are the basic status of RFC 3863).
const (
	None State = iota
	Trying
	Early
	Confirmed
	Terminated
	Online
	Offline
)

// Direction is who began a call, seen from the extension (RFC 4235 §4.1.2).
type Direction uint8

// The directions.
const (
	Initiator Direction = iota
	Recipient
)

// Event is one thing that happened to one extension or is asked of it. Apply takes it.
//
// News (Subscribe, CallEvent, RegisterEvent, MailboxEvent, Notified) may come in any order and any number of times.
// Commands (SetManual, Reset, End) count in the order in which they come. The owner of the extension makes the others
// (Renotify, EndSubscriptions, Tick) itself.
type Event interface{ event() }

// Message is what may be asked of an extension from outside, from a transport or another node: news, a command, or Show.
// All of these but Show are Events.
type Message interface{ message() }

// Show asks for the extension as it is. It changes nothing. The extension's actor answers it; it is no Event.
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
	Expires        int    // seconds, as granted
	MaxRate        uint32 // RFC 6446, notifications per 1000 seconds; 0 = not asked
	MinRate        uint32 // RFC 6446, notifications per 1000 seconds; 0 = not asked
}

// CallEvent is news of one call of the extension.
type CallEvent struct {
	CallID       string
	ID           string // publication and dialog id when it came as a PUBLISH; else ""
	Direction    Direction
	State        State     // Trying, Early, Confirmed, Terminated; None only extends the lease
	Timestamp    time.Time // zero: the time of arrival
	Expires      int       // lease in seconds; 0: the default lease
	From, To     string    // user@realm without "sip:"; From is the extension's side
	FromTag      string
	ToTag        string
	TargetCallID string
	SwitchURI    string
	Source       string // what told us, for explain: "dialog_update", "update", "publish"
}

// RegisterEvent is the newest value of a state that a feature publishes under a constant name.
type RegisterEvent struct {
	Name      string // hex md5 of the presence id
	State     State
	Timestamp time.Time // zero: the time of arrival
	Expires   int       // lease in seconds; 0: stays until changed
	From, To  string
	Source    string
}

// MailboxEvent is a count of messages. With Lamp unset it is the mailbox's own count, for the
// watchers of message-summary; with Lamp set the extension's lamp follows Source's new messages.
type MailboxEvent struct {
	Source      string // the mailbox, user@realm
	Lamp        bool
	New         uint32
	Saved       uint32
	UrgentNew   uint32
	UrgentSaved uint32
	Account     string // Message-Account (RFC 3842 §3.5)
}

// Notified is what a watcher answered to a NOTIFY.
type Notified struct {
	Package    Package
	HasPackage bool // unset: the Call-ID alone names the subscription
	CallID     string
	Sequence   uint32 // 0: not said
	Reply      int    // SIP response code; 0: not said
}

// SetManual sets the manual state; Terminated removes it.
type SetManual struct{ State State }

// Reset forgets calls, registers and the manual state and tells every watcher anew.
// With Then set, that manual state stands afterwards, in the same step.
type Reset struct{ Then State }

// Renotify tells watchers the present state again: all of them, or those behind one edge.
type Renotify struct{ Edge string }

// End ends every subscription of the extension and forgets the rest (its account is gone).
type End struct{ Reason string } // Subscription-State reason (RFC 6665 §4.1.3), "noresource"

// EndSubscriptions ends every subscription and keeps the rest.
type EndSubscriptions struct{ Reason string } // Subscription-State reason (RFC 6665 §4.1.3), "deactivated"

// Tick lets timers run: leases, expiries, NOTIFYs held back by their rate.
type Tick struct{}

func (Subscribe) event()        {}
func (CallEvent) event()        {}
func (RegisterEvent) event()    {}
func (MailboxEvent) event()     {}
func (Notified) event()         {}
func (SetManual) event()        {}
func (Reset) event()            {}
func (Renotify) event()         {}
func (End) event()              {}
func (EndSubscriptions) event() {}
func (Tick) event()             {}

func (Subscribe) message()     {}
func (CallEvent) message()     {}
func (RegisterEvent) message() {}
func (MailboxEvent) message()  {}
func (Notified) message()      {}
func (SetManual) message()     {}
func (Reset) message()         {}
func (End) message()           {}
func (Show) message()          {}

package presence

import "errors"

// The errors of Apply and Load. They are wrapped with the value that was wrong; ask for them with errors.Is.
var (
	// ErrTooManyWatchers says that the extension has Rules.MaxWatchers subscriptions.
	ErrTooManyWatchers = errors.New("too many watchers of this extension")
	// ErrTooManySubscriptions says that the account has as many subscriptions at the owner as it may have (docs/contract/command-line.md,
	// "lamplight serve").
	ErrTooManySubscriptions = errors.New("too many subscriptions of this account")
	// ErrOverBudget says that the account has sent more than its budget lets through. The sender may try again in a second.
	ErrOverBudget = errors.New("the account is over its budget")
	// ErrTooManyCalls says that the extension has Rules.MaxCalls visible calls, or registers, or mailboxes, or four times as many
	// publications.
	ErrTooManyCalls = errors.New("too many calls of this extension")
	// ErrTooManyTombstones says that so much has ended within Rules.TombstoneLife that nothing new may begin.
	ErrTooManyTombstones = errors.New("too many recently ended things of this extension")
	// ErrTooNew says that a subscription or publication was not taken, because a node of an older release could not read its record
	// (Rules.Writes). The sender may ask again.
	ErrTooNew = errors.New("not all nodes read such records yet; upgrade them, or try again when this node has started")
	// ErrInvalid says that the event contradicts itself or is past a bound of its fields.
	ErrInvalid = errors.New("invalid event")
	// ErrNoSubscription says that there is no subscription that the SUBSCRIBE could refresh or end (RFC 6665 §4.2.1.4).
	ErrNoSubscription = errors.New("there is no such subscription")
	// ErrNoPublication says that the extension has no publication with the entity-tag of SIP-If-Match (RFC 3903 §6).
	ErrNoPublication = errors.New("there is no publication with this entity-tag")
	// ErrRecord says that the bytes are no record of this extension and kind.
	ErrRecord = errors.New("invalid record")
)

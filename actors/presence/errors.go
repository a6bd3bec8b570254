package presence

import "errors"

// The errors of Apply and Load. They are wrapped with the value that was wrong; ask for them with errors.Is.
var (
	// ErrTooManyWatchers says that the extension has Rules.MaxWatchers subscriptions.
	ErrTooManyWatchers = errors.New("too many watchers of this extension")
	// ErrTooManyCalls says that the extension has Rules.MaxCalls visible calls, or registers, or mailboxes.
	ErrTooManyCalls = errors.New("too many calls of this extension")
	// ErrTooManyTombstones says that so much has ended within Rules.TombstoneLife that nothing new may begin.
	ErrTooManyTombstones = errors.New("too many recently ended things of this extension")
	// ErrTooNew says that a subscription was not created, because a node of an older release could not read its record
	// (Rules.Writes). The watcher may ask again.
	ErrTooNew = errors.New("not all nodes read this event package yet; upgrade them, or try again when this node has started")
	// ErrInvalid says that the event contradicts itself or is past a bound of its fields.
	ErrInvalid = errors.New("invalid event")
	// ErrNoSubscription says that there is no subscription that the SUBSCRIBE could refresh or end (RFC 6665 §4.2.1.4).
	ErrNoSubscription = errors.New("there is no such subscription")
	// ErrRecord says that the bytes are no record of this extension and kind.
	ErrRecord = errors.New("invalid record")
)

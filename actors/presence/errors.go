package presence

import "errors"

// Errors of Apply and Load. They are wrapped with what exactly was wrong; ask with errors.Is.
var (
	// ErrTooManyWatchers: Rules.MaxWatchers subscriptions are held.
	ErrTooManyWatchers = errors.New("too many watchers of this extension")
	// ErrTooManyCalls: Rules.MaxCalls calls (or as many registers, or mailboxes) are held.
	ErrTooManyCalls = errors.New("too many calls of this extension")
	// ErrTooManyTombstones: so much ended within Rules.TombstoneLife that nothing new is taken.
	ErrTooManyTombstones = errors.New("too many recently ended things of this extension")
	// ErrInvalid: the event contradicts itself or passes a bound of its fields.
	ErrInvalid = errors.New("invalid event")
	// ErrRecord: the bytes are no record of this extension and kind.
	ErrRecord = errors.New("invalid record")
)

package wire

import (
	"errors"
	"slices"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// The bounds of what is read.
const (
	maxRows    = 1 << 17 // subscriptions in one answer
	maxDialogs = 1 << 12 // of one extension; also its transitions
	maxCalls   = 1 << 12 // in one batch
	maxParts   = 1 << 12 // in one message of answers
	maxLatency = 1 << 50 // in µs
)

// AppendAnswer appends the answer to a request to one extension.
func AppendAnswer(b []byte, a *actors.Answer) []byte { return encode(b, a, answerFields) }

// ReadAnswer decodes what AppendAnswer encoded. The error is ErrMessage.
func ReadAnswer(text string) (actors.Answer, error) { return decode(text, answerFields) }

// AppendWindow appends a stretch of a listing: the answer to a Window.
func AppendWindow(b []byte, w *actors.Window) []byte { return encode(b, w, stretchFields) }

// ReadWindow decodes what AppendWindow encoded. The error is ErrMessage.
func ReadWindow(text string) (actors.Window, error) { return decode(text, stretchFields) }

// AppendCommanded appends the outcome of a WideCommand.
func AppendCommanded(b []byte, s *actors.Commanded) []byte { return encode(b, s, commandedFields) }

// ReadCommanded decodes what AppendCommanded encoded. The error is ErrMessage.
func ReadCommanded(text string) (actors.Commanded, error) { return decode(text, commandedFields) }

func encode[T any](b []byte, v *T, fields func(*coder, *T)) []byte {
	c := coder{out: b}
	fields(&c, v)
	return c.out
}

func decode[T any](text string, fields func(*coder, *T)) (v T, err error) {
	c := reader(text)
	if fields(c, &v); c.failed {
		return *new(T), ErrMessage
	}
	return v, nil
}

func answerFields(c *coder, a *actors.Answer) {
	failure(c, 1, 2, &a.Err)
	flag(c, 3, &a.Stale)
	num(c, 4, &a.Notified)
	num(c, 5, &a.Acked)
	num(c, 6, &a.Failed)
	optional(c, 7, &a.View, viewFields)
	list(c, 8, &a.Subscriptions, maxRows, rowFields)
	dropUnknown(c, &a.Subscriptions, func(v actors.SubscriptionView) presence.Package { return v.Package })
	optional(c, 9, &a.Explanation, explanationFields)
	former := strings.Join(a.Former, " ") // a user has no spaces
	if str(c, 10, &former); c.reading && former != "" {
		a.Former = strings.Fields(former)
	}
	num(c, 11, &a.Ignored)
}

// optional carries a nested message behind a pointer; nil is absent.
func optional[T any](c *coder, field uint64, v **T, fields func(*coder, *T)) {
	if c.reading {
		if !c.seek(field, bytes) {
			return
		}
		*v = new(T)
	}
	if *v != nil {
		nested(c, field, *v, fields)
	}
}

func viewFields(c *coder, v *presence.View) {
	upTo(c, 1, &v.State, presence.Offline)
	list(c, 2, &v.Dialogs, maxDialogs, dialogFields)
	flag(c, 3, &v.Closed)
	flag(c, 4, &v.HasMessages)
	num(c, 5, &v.Messages.New)
	num(c, 6, &v.Messages.Saved)
	num(c, 7, &v.Messages.UrgentNew)
	num(c, 8, &v.Messages.UrgentSaved)
	str(c, 9, &v.Messages.Account)
	flag(c, 10, &v.Registered)
}

func dialogFields(c *coder, v *presence.DialogView) {
	str(c, 1, &v.ID)
	str(c, 2, &v.CallID)
	upTo(c, 3, &v.State, presence.Offline)
	upTo(c, 4, &v.Direction, presence.Recipient)
	str(c, 5, &v.Source)
	timestamp(c, 6, &v.Since)
	timestamp(c, 7, &v.Expires)
	str(c, 8, &v.From)
	str(c, 9, &v.To)
	str(c, 10, &v.FromTag)
	str(c, 11, &v.ToTag)
	str(c, 12, &v.TargetCallID)
	str(c, 13, &v.SwitchURI)
	str(c, 14, &v.FromName)
	str(c, 15, &v.ToName)
	str(c, 16, &v.FromURI)
	str(c, 17, &v.ToURI)
	flag(c, 18, &v.Held)
}

// dropUnknown takes subscriptions out of what was read whose event package this release does not know: a node of a newer
// release sends them. The rest of the answer is good, and this node could not name them.
func dropUnknown[T any](c *coder, rows *[]T, of func(T) presence.Package) {
	if !c.reading {
		return
	}
	*rows = slices.DeleteFunc(*rows, func(row T) bool { return of(row) > presence.LastPackage })
	if len(*rows) == 0 {
		*rows = nil
	}
}

func rowFields(c *coder, v *actors.SubscriptionView) {
	str(c, 1, &v.User)
	num(c, 2, &v.Package)
	str(c, 3, &v.CallID)
	str(c, 4, &v.From)
	str(c, 5, &v.Stalker)
	num(c, 6, &v.Granted)
	timestamp(c, 7, &v.Renewed)
	num(c, 8, &v.Version)
	same := v.Body != "" && v.Body == c.body // most watchers of one extension were told the same: it is written once
	flag(c, 9, &same)
	if same {
		v.Body = c.body
	} else {
		str(c, 10, &v.Body)
		c.body = v.Body
	}
	num(c, 11, &v.Reply)
	num(c, 12, &v.Sequence)
	str(c, 13, &v.UserAgent)
	str(c, 14, &v.Contact)
	str(c, 15, &v.SubscriptionID)
	str(c, 16, &v.ProxyRoute)
	optional(c, 17, &v.Lamp, viewFields)
	flag(c, 18, &v.Behind)
}

func explanationFields(c *coder, v *actors.Explanation) {
	str(c, 1, &v.Node)
	num(c, 2, &v.Shard)
	num(c, 3, &v.Generation)
	list(c, 4, &v.Transitions, maxDialogs, transitionFields)
	list(c, 5, &v.Watchers, maxRows, watcherFields)
	dropUnknown(c, &v.Watchers, func(v actors.WatcherState) presence.Package { return v.Package })
	list(c, 6, &v.Ended, maxRows, endedFields)
	dropUnknown(c, &v.Ended, func(v presence.EndedWatcher) presence.Package { return v.Package })
	list(c, 7, &v.Findings, maxRows, findingFields)
}

func transitionFields(c *coder, v *presence.Transition) {
	upTo(c, 1, &v.State, presence.Offline)
	timestamp(c, 2, &v.At)
	str(c, 3, &v.Source)
	str(c, 4, &v.CallID)
	str(c, 5, &v.Switch)
	originFields(c, 6, &v.Origin)
}

func endedFields(c *coder, v *presence.EndedWatcher) {
	num(c, 1, &v.Package)
	str(c, 2, &v.CallID)
	str(c, 3, &v.From)
	timestamp(c, 4, &v.At)
	num(c, 5, &v.Reply)
}

func findingFields(c *coder, v *presence.Finding) {
	str(c, 1, &v.Kind)
	str(c, 2, &v.Text)
}

func watcherFields(c *coder, v *actors.WatcherState) {
	str(c, 1, &v.CallID)
	num(c, 2, &v.Package)
	str(c, 3, &v.From)
	str(c, 4, &v.Edge)
	num(c, 5, &v.Sequence)
	num(c, 6, &v.Acked)
	num(c, 7, &v.Reply)
	flag(c, 8, &v.Behind)
	latency := uint64(v.Latency / time.Microsecond)
	num(c, 9, &latency)
	v.Latency = time.Duration(min(latency, maxLatency)) * time.Microsecond
}

func stretchFields(c *coder, w *actors.Window) {
	str(c, 1, &w.Next)
	flag(c, 2, &w.Stale)
	num(c, 3, &w.Sequence)
	covers := ""
	if !c.reading {
		list := coder{}
		for _, generation := range w.Covers {
			list.out = appendUvarint(list.out, generation)
		}
		covers = string(list.out)
	}
	str(c, 4, &covers)
	if c.reading {
		numbers := reader(covers)
		for i := 0; i < len(w.Covers) && numbers.at < numbers.end; i++ {
			w.Covers[i] = numbers.uvarint()
		}
		c.failed = c.failed || numbers.failed
	}
	list(c, 5, &w.Rows, maxRows, rowFields)
	dropUnknown(c, &w.Rows, func(v actors.SubscriptionView) presence.Package { return v.Package })
}

func commandedFields(c *coder, s *actors.Commanded) {
	shards(c, 1, &s.Done)
	shards(c, 2, &s.Unknown)
	num(c, 3, &s.Extensions)
}

// failures are the errors that an answer carries. Their positions are their numbers in messages, from 1, so they stay: a new
// error stands at the end.
var failures = []error{actors.ErrBusy, actors.ErrUnavailable, actors.ErrUnknown, actors.ErrNotMine, actors.ErrTimeout,
	presence.ErrTooManyWatchers, presence.ErrTooManyCalls, presence.ErrTooManyTombstones, presence.ErrInvalid, presence.ErrRecord,
	presence.ErrTooNew, presence.ErrNoSubscription, presence.ErrNoPublication}

// otherFailure is the number of an error that is not among failures.
const otherFailure = 255

// failure carries an error: its number, and its text if that says more. otherFailure, and the number of an error of a newer
// release, are read as actors.ErrUnknown: this node cannot tell whether anything was changed.
func failure(c *coder, field, words uint64, err *error) {
	var which int
	var text string
	if *err != nil {
		which = otherFailure
		for i, known := range failures {
			if errors.Is(*err, known) {
				which = i + 1
				break
			}
		}
		if text = (*err).Error(); which <= len(failures) && text == failures[which-1].Error() {
			text = ""
		}
	}
	num(c, field, &which)
	str(c, words, &text)
	if !c.reading || which == 0 {
		return
	}
	kind := actors.ErrUnknown
	if which > 0 && which <= len(failures) {
		kind = failures[which-1]
	}
	if *err = kind; text != "" {
		*err = &remoteError{kind, text}
	}
}

// remoteError is an error of another node: one of failures, with the text that it had there.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

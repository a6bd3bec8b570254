package kazoo

import (
	"fmt"
	"slices"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// Rows writes the rows of a listing as one object: Listing writes subscriptions, Lamps writes lit lamps.
type Rows interface {
	// Row appends one row. The caller passes the slice that the last call returned, or one that ends with the same byte.
	Row(dst []byte, s *actors.SubscriptionView) []byte
	// End appends what ends the object. Without rows the object is {}.
	End(dst []byte) []byte
}

// Lamps writes a listing of lit lamps as an object: extension → lamp (docs/contract/http.md, "Lit lamps"). The rows must come
// sorted by extension. The zero value is ready for use.
type Lamps struct{ begun bool }

// Row implements Rows: s must be a lamp.
func (l *Lamps) Row(dst []byte, s *actors.SubscriptionView) []byte {
	if !l.begun {
		dst = append(dst, '{')
	}
	l.begun = true
	winner := &s.Lamp.Dialogs[0]
	dst = append(appendjson.OutsideKey(dst, s.User), '{')
	dst = appendjson.Field(dst, "state", s.Lamp.State.String())
	dst = appendjson.Time(dst, "since", winner.Since)
	dst = appendjson.Field(dst, "source", winner.Source)
	return append(AppendDialogs(appendjson.Key(dst, "dialogs"), s.Lamp.Dialogs), '}')
}

// End implements Rows.
func (l *Lamps) End(dst []byte) []byte {
	if !l.begun {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

// LitState reads the state that a listing of lit lamps is restricted to. The error says what is right, after the field's name.
func LitState(s string) (presence.State, error) {
	state, ok := presence.ParseState(s)
	if !ok || !slices.Contains(presence.LitStates[:], state) {
		return presence.None, fmt.Errorf("must be %s, not %.40q", presence.StateNames(presence.LitStates[:]), s)
	}
	return state, nil
}

// LitSource checks the source that a listing of lit lamps is restricted to. Its error is like that of LitState.
func LitSource(s string) error {
	if !slices.Contains(presence.Sources[:], s) {
		return fmt.Errorf("must be %s, not %.40q", presence.Or(presence.Sources[:]), s)
	}
	return nil
}

// LitUntil reads how old the lamps of a listing must be at least, and returns the time at which they were lit at the latest.
// Its error is like that of LitState.
func LitUntil(olderThan string, now time.Time) (time.Time, error) {
	d, err := time.ParseDuration(olderThan)
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("must be a duration above 0 such as 4h or 30m, not %.40q", olderThan)
	}
	return now.Add(-d), nil
}

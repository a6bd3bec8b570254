package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/directory"
)

// The values of flags and arguments that have a rule of their own. The parser calls UnmarshalText with what was given, and prints its
// error behind the name of the flag or argument. So a command runs, and asks a node, only with values that can be right. The zero value
// of each type means that nothing was given.

// wrongValue returns the error for a value.
func wrongValue[T ~string | ~[]byte](text T, right string) error {
	if len(text) == 0 {
		return fmt.Errorf("it is empty; it must be %s", right)
	}
	return fmt.Errorf("it is %q; it must be %s", text, right)
}

// amount is a whole number above 0.
type amount int

func (a *amount) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return wrongValue(text, "a whole number, at least 1")
	}
	*a = amount(n)
	return nil
}

// rate is how often something happens in a second, above 0.
type rate float64

func (r *rate) UnmarshalText(text []byte) error {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return wrongValue(text, "a number above 0")
	}
	*r = rate(n)
	return nil
}

// span is a duration above 0.
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return wrongValue(text, "a duration above 0, such as 10s or 4h")
	}
	*s = span(d)
	return nil
}

// serveWord is the word serve.
type serveWord string

func (w *serveWord) UnmarshalText(text []byte) error {
	if string(text) != "serve" {
		return wrongValue(text, "the word serve, or nothing: this command takes the flags of serve")
	}
	*w = serveWord(text)
	return nil
}

// moment is a time, or how long ago it was.
type moment struct{ time.Time }

func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Time, err = time.Parse(time.RFC3339, string(text)); err == nil {
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return wrongValue(text, "a time such as 2026-11-28T10:00:00Z, or how long ago it was, such as 10m")
	}
	m.Time = time.Now().Add(-d)
	return nil
}

// extensionName names one extension.
type extensionName string

func (n *extensionName) UnmarshalText(text []byte) error {
	const right = "the user part of an extension, such as 1001 or *3101"
	to, err := presence.ParseName(string(text), "realm")
	if wrong, ok := errors.AsType[*presence.AddressError](err); ok && len(text) > 0 {
		return fmt.Errorf("it is %.60q, %s; it must be %s", text, wrong.Wrong, right)
	}
	if err != nil || to.User == "" {
		return wrongValue(text, right)
	}
	*n = extensionName(text)
	return nil
}

// extensionsName names one extension or, with *, all of a realm.
type extensionsName string

func (n *extensionsName) UnmarshalText(text []byte) error {
	if string(text) == "*" {
		*n = "*"
		return nil
	}
	return (*extensionName)(n).UnmarshalText(text)
}

// realmName is a realm.
type realmName string

func (r *realmName) UnmarshalText(text []byte) error {
	if invalid, ok := errors.AsType[*directory.Invalid](directory.CheckRealm(string(text))); ok {
		return errors.New(invalid.Reason)
	}
	*r = realmName(text)
	return nil
}

// accountID is the id of an account.
type accountID string

func (a *accountID) UnmarshalText(text []byte) error {
	if !directory.ValidID(string(text)) {
		return wrongValue(text, "32 hexadecimal characters in lower case")
	}
	*a = accountID(text)
	return nil
}

// A word is a value that is one of a few. Completion offers them.
type word interface{ words() []string }

// readWord sets a word from a text.
func readWord[T interface {
	~string
	word
}](w *T, text []byte) error {
	if all := T("").words(); !slices.Contains(all, string(text)) {
		return wrongValue(text, presence.Or(all))
	}
	*w = T(text)
	return nil
}

type (
	eventPackage string // the name of an event package
	manualState  string // the state that an extension is set to
	litState     string // the state of a lamp that is lit
	litSource    string // what a lamp is lit by
	storage      string // where NATS keeps the journal
)

func (eventPackage) words() []string { return presence.Packages() }
func (litSource) words() []string    { return presence.Sources[:] }
func (storage) words() []string      { return []string{"file", "memory"} }
func (manualState) words() []string  { return names(presence.ManualStates[:]) }
func (litState) words() []string     { return names(presence.LitStates[:]) }

// names returns the names of states.
func names(states []presence.State) (all []string) {
	for _, s := range states {
		all = append(all, s.String())
	}
	return all
}

func (p *eventPackage) UnmarshalText(text []byte) error { return readWord(p, text) }
func (s *manualState) UnmarshalText(text []byte) error  { return readWord(s, text) }
func (s *litState) UnmarshalText(text []byte) error     { return readWord(s, text) }
func (s *litSource) UnmarshalText(text []byte) error    { return readWord(s, text) }
func (s *storage) UnmarshalText(text []byte) error      { return readWord(s, text) }

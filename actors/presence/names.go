package presence

import (
	"slices"
	"strings"
)

// states are the names of the states, as documents write them.
var states = [...]string{Trying: "trying", Early: "early", Confirmed: "confirmed", Terminated: "terminated", Online: "online", Offline: "offline"}

// String returns the state as documents write it; "" for None.
func (s State) String() string {
	if int(s) >= len(states) {
		return ""
	}
	return states[s]
}

// The states that may be given where only some are right.
var (
	ManualStates = [...]State{Early, Confirmed, Terminated}                          // that the API may set
	LitStates    = [...]State{Early, Confirmed}                                      // of a lamp that is lit
	CallStates   = [...]State{Trying, Early, Confirmed, Terminated}                  // of news of a call
	UpdateStates = [...]State{Trying, Early, Confirmed, Terminated, Online, Offline} // of a register, or of a call in an update
)

// StateNames lists the names of states for a sentence: "early, confirmed or terminated".
func StateNames(all []State) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.String()
	}
	return Or(names)
}

// Or lists words for a sentence: "a, b or c".
func Or(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// String returns the direction as RFC 4235 §4.1.2 writes it.
func (d Direction) String() string {
	if d == Recipient {
		return "recipient"
	}
	return "initiator"
}

// Sources are what a dialog may come from: the values of DialogView.Source.
var Sources = [...]string{"call", "register", "manual", "mailbox"}

// ParseState is the inverse of String. It reads "proceeding" as Trying. ok is false for all else.
func ParseState(s string) (state State, ok bool) {
	if s == "proceeding" {
		return Trying, true
	}
	if i := slices.Index(states[:], s); i > int(None) {
		return State(i), true
	}
	return None, false
}

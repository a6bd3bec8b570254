package presence

// String returns the state as documents write it; "" for None.
func (s State) String() string {
	switch s {
	case Trying:
		return "trying"
	case Early:
		return "early"
	case Confirmed:
		return "confirmed"
	case Terminated:
		return "terminated"
	case Online:
		return "online"
	case Offline:
		return "offline"
	}
	return ""
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
	for st := Trying; st <= Offline; st++ {
		if st.String() == s {
			return st, true
		}
	}
	return None, false
}

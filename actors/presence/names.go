package presence

// String is the state as documents write it; None is empty.
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

// String is the direction as RFC 4235 §4.1.2 writes it.
func (d Direction) String() string {
	if d == Recipient {
		return "recipient"
	}
	return "initiator"
}

// ParseState is the inverse of String; "proceeding" is read as Trying.
func ParseState(s string) (State, bool) {
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

package presence

// Address names one extension, or a mailbox of one. Both parts are in lower case.
type Address struct{ Realm, User string }

// String is user@realm, the presence id.
func (a Address) String() string { return a.User + "@" + a.Realm }

// Addressed is one Message and the extension that it goes to.
type Addressed struct {
	To      Address
	Message Message
}

package message

// Name is a header field that a notifier knows (RFC 3261 §20 and the RFCs of events).
type Name uint8

// The header fields.
const (
	Other Name = iota // any field that is not known
	Via
	From
	To
	CallID
	CSeq
	MaxForwards
	Contact
	RecordRoute
	Route
	Event             // RFC 6665 §8.2.1
	SubscriptionState // RFC 6665 §8.2.3
	AllowEvents       // RFC 6665 §8.2.2
	Expires
	MinExpires
	RetryAfter
	Accept
	Supported
	Require
	ProxyRequire
	Authorization
	UserAgent
	ContentType
	ContentEncoding
	ContentLength
	ETag    // SIP-ETag, RFC 3903 §11.3.1
	IfMatch // SIP-If-Match, RFC 3903 §11.3.2
	names   // how many there are
)

// fields are the names of the header fields as they are written, by Name.
var fields = [names]string{Via: "Via", From: "From", To: "To", CallID: "Call-ID", CSeq: "CSeq", MaxForwards: "Max-Forwards", Contact: "Contact",
	RecordRoute: "Record-Route", Route: "Route", Event: "Event", SubscriptionState: "Subscription-State", AllowEvents: "Allow-Events",
	Expires: "Expires", MinExpires: "Min-Expires", RetryAfter: "Retry-After", Accept: "Accept", Supported: "Supported", Require: "Require",
	ProxyRequire: "Proxy-Require", Authorization: "Authorization", UserAgent: "User-Agent", ContentType: "Content-Type",
	ContentEncoding: "Content-Encoding", ContentLength: "Content-Length", ETag: "SIP-ETag", IfMatch: "SIP-If-Match"}

// String is the name of the header field.
func (n Name) String() string { return fields[n] }

// single says which header fields may stand in a message only once, because their value is no list.
var single = [names]bool{From: true, To: true, CallID: true, CSeq: true, MaxForwards: true, Event: true, SubscriptionState: true, Expires: true,
	ContentType: true, ContentLength: true, ETag: true, IfMatch: true, UserAgent: true}

// lookup finds a header field by its name, in any case, also in the compact form (RFC 3261 §7.3.3).
func lookup(name []byte) Name {
	var lower [len("subscription-state")]byte
	if len(name) > len(lower) {
		return Other
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "via", "v":
		return Via
	case "from", "f":
		return From
	case "to", "t":
		return To
	case "call-id", "i":
		return CallID
	case "cseq":
		return CSeq
	case "max-forwards":
		return MaxForwards
	case "contact", "m":
		return Contact
	case "record-route":
		return RecordRoute
	case "route":
		return Route
	case "event", "o":
		return Event
	case "subscription-state":
		return SubscriptionState
	case "allow-events", "u":
		return AllowEvents
	case "expires":
		return Expires
	case "min-expires":
		return MinExpires
	case "retry-after":
		return RetryAfter
	case "accept":
		return Accept
	case "supported", "k":
		return Supported
	case "require":
		return Require
	case "proxy-require":
		return ProxyRequire
	case "authorization":
		return Authorization
	case "user-agent":
		return UserAgent
	case "content-type", "c":
		return ContentType
	case "content-encoding", "e":
		return ContentEncoding
	case "content-length", "l":
		return ContentLength
	case "sip-etag":
		return ETag
	case "sip-if-match":
		return IfMatch
	}
	return Other
}

// Method is the method of a request.
type Method uint8

// The methods that a notifier knows.
const (
	Unknown Method = iota // any other
	Subscribe
	Notify
	Publish
	Options
	Register
	Invite
	Ack
	Cancel
	Bye
)

// methods are the names of the methods, by Method. They are case-sensitive (RFC 3261 §7.1).
var methods = [...]string{Unknown: "", Subscribe: "SUBSCRIBE", Notify: "NOTIFY", Publish: "PUBLISH", Options: "OPTIONS", Register: "REGISTER",
	Invite: "INVITE", Ack: "ACK", Cancel: "CANCEL", Bye: "BYE"}

// String is the method's name; "" for one that is not known.
func (m Method) String() string { return methods[m] }

// method finds a method by its name.
func method(name []byte) Method {
	for m := Subscribe; int(m) < len(methods); m++ {
		if string(name) == methods[m] {
			return m
		}
	}
	return Unknown
}

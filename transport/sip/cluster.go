package sip

import (
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/sip/profile"
)

// Cluster is what the edge needs of the nodes. Local is a node that the edge runs in; Remote reaches the nodes over NATS.
// Its methods do not wait.
type Cluster interface {
	// Secret is the secret that all edges of the installation share. It does not change.
	Secret() []byte
	// Credentials looks a user of a realm up; with user "", the realm alone. known is false when the answer must be awaited.
	Credentials(realm, user string) (c Credentials, known bool)
	// Await calls then once the answer is known, or once it is clear that it can't be known now. It calls then once, and not before it
	// returns.
	Await(realm, user string, then func())
	// Subscribe brings a SUBSCRIBE to the owner of the extension. done is called once, from any goroutine, perhaps before Subscribe
	// returns. It must not wait.
	Subscribe(to presence.Address, ev *presence.Subscribe, until time.Time, done func(Outcome))
	// Publish brings a PUBLISH to the owner of the extension. d is the document that ev was read from. What counts light also goes to the extensions that these name. done is called
	// as that of Subscribe. A request whose fate is unknown may be repeated with the same ev: it is applied once.
	Publish(to presence.Address, ev *presence.Publish, d Document, until time.Time, done func(Outcome))
	// Drain says that the edge is about to stop, before it does. connected says that phones are on connections to it: the nodes end the
	// subscriptions that are tied to these, and the last NOTIFYs come like others.
	Drain(connected bool)
	// Replied tells the owner how a watcher answered a NOTIFY. node is Told.Node of it.
	Replied(node string, to presence.Address, reply presence.Notified)
}

// Document is the body of a PUBLISH.
type Document struct {
	Type string // the content type
	Body string
}

// Outcome is what became of a SUBSCRIBE or PUBLISH.
type Outcome struct {
	Code int    // the SIP status code to answer with
	Tag  string // the entity-tag of a publication
}

// Credentials say who may authenticate.
type Credentials struct {
	Unavailable bool // the nodes can't be asked now, and nothing else is set

	Realm bool      // the realm is one of an account
	User  bool      // the realm has the user
	HA1   [2]string // by Algorithm
	// Extensions are the users, beside the own one, of the extensions that the phone may publish for: the presence ids of the device and of
	// its owner, in lower case; "": there is none in the realm.
	Extensions [2]string
}

// Told is one NOTIFY for some watchers of one extension. Whoever hands it over leaves it alone afterwards.
type Told struct {
	Node        string // of the owner, for the replies; "": this process
	For         string // the edge in whose place this one sends, because that one is down; "": none
	To          presence.Address
	Package     presence.Package
	Shard       int
	Epoch       time.Time // of the journal
	Sequence    uint32
	ContentType string
	Body        []byte
	Cookies     []string // the pickup cookies of the dialogs of Body; nil: none has one, or no profile wants them
	Targets     []Target
	Made        time.Time // when Target.Expires was right

	documents []rendered // one for each profile that was needed; only its notifier uses them
}

// rendered is a document as the phones of one profile need it.
type rendered struct {
	profile *profile.Profile
	kind    string
	body    []byte
}

// document returns the content type and the document for phones of a profile.
func (t *Told) document(p *profile.Profile) (kind string, body []byte) {
	if len(t.Body) == 0 {
		return t.ContentType, nil
	}
	for i := range t.documents {
		if d := &t.documents[i]; d.profile == p {
			return d.kind, d.body
		}
	}
	kind, body = p.Document(t.ContentType, t.Body, t.Cookies)
	t.documents = append(t.documents, rendered{p, kind, body})
	return kind, body
}

// Target is one watcher of a Told.
type Target struct {
	CallID, From, FromTag, ToTag, Contact string
	Route                                 string // as the SUBSCRIBE had it (routeOf)
	Expires                               int    // seconds that are left
	End                                   string // not "": the subscription has ended, with this reason
	Rates                                 string // parameters of Subscription-State with a semicolon before each (RFC 6446)
}

package kazoo

import (
	"cmp"
	"slices"
	"strings"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
)

// Addressed is a message and the extension that it is for.
type Addressed struct {
	To    actors.Address
	Event actors.Message
}

// parsePackage reads the field Event-Package. An absent field reads as dialog. The parameters of a header Event, such as
// those of dialog;sla, are dropped.
func parsePackage(t Text) (presence.Package, error) {
	name, _, _ := strings.Cut(string(t), ";")
	if name = strings.TrimSpace(name); t == "" {
		return presence.Dialog, nil
	}
	p, ok := presence.ParsePackage(strings.ToLower(name))
	if !ok {
		return p, refuse("Event-Package is %.40q; it must be %s", t, presence.PackageNames())
	}
	return p, nil
}

// Subscription returns what a `subscription` document means: a presence.Subscribe. Its errors are Refusals, as are those of
// the other methods that say what a document means.
func (f *Document) Subscription() (Addressed, error) {
	var s presence.Subscribe
	if f.User == "" || !f.Expires.set {
		return Addressed{}, refuse("User or Expires is missing")
	}
	to, err := address("User", f.User)
	if err != nil {
		return Addressed{}, err
	}
	if s.Expires, err = expires(f.Expires, presence.LongestSubscription); err != nil {
		return Addressed{}, err
	}
	if s.Package, err = parsePackage(f.EventPackage); err != nil {
		return Addressed{}, err
	}
	if f.CSeq.n < 0 || f.CSeq.n > 1<<32-1 {
		return Addressed{}, refuse("CSeq is %d; it must be 0 to 2^32-1", f.CSeq.n)
	}
	s.CSeq, s.HasCSeq, s.InDialog = uint32(f.CSeq.n), f.CSeq.set, bool(f.InDialog)
	if s.MaxRate, err = rate("Max-Rate", f.MaxRate); err != nil {
		return Addressed{}, err
	}
	if s.MinRate, err = rate("Min-Rate", f.MinRate); err != nil {
		return Addressed{}, err
	}
	s.CallID = string(f.CallID)
	if s.CallID == "" {
		s.CallID = presence.UnnamedCallID(to, withoutScheme(f.From))
	}
	s.From, s.FromTag, s.ToTag = withoutScheme(f.From), string(f.FromTag), string(f.ToTag)
	s.Contact, s.ProxyRoute, s.UserAgent = string(f.Contact), string(f.ProxyRoute), string(f.UserAgent)
	s.SubscriptionID, s.ServerID, s.Queue = string(f.SubscriptionID), string(f.ServerID), string(f.Queue)
	if edge := cmp.Or(s.ServerID, s.Queue); len(edge) > subject.MaxName || edge == subject.AnyEdge {
		return Addressed{}, refuse("Server-ID or Queue is %.40q; the name of an edge must have at most %d bytes and must not be %s", edge, subject.MaxName, subject.AnyEdge)
	}
	return Addressed{to, s}, nil
}

// presentity returns the extension that a `dialog_update` or `update` is about: the first field that is there of
// Presence-ID, Presentity and From names it.
func (f *Document) presentity() (actors.Address, error) {
	switch {
	case f.PresenceID != "":
		return address("Presence-ID", f.PresenceID)
	case f.Presentity != "":
		return address("Presentity", f.Presentity)
	}
	return address("From", f.From)
}

// directions are the words for a call that the extension began and for one that it received, in turn: those of RFC 4235 §4.1.2, and
// those of FreeSWITCH.
var directions = [...]string{"initiator", "recipient", "inbound", "outbound"}

// Update returns what a `dialog_update` or `update` document means: a presence.CallEvent, or a presence.RegisterEvent. A
// register is an `update` without a Call-ID, a document whose Call-ID is a constant name (presence.IsRegister), and a
// `dialog_update` of a parking slot, which Kazoo's application park sends under the Call-ID of the call that it parks. callID
// is the Call-ID in the subject that the document came on. Update uses it when the document has none.
func (f *Document) Update(callID string) (Addressed, error) {
	isUpdate := f.EventName == "update"
	if isUpdate && (f.PresenceID == "" || f.State == "") {
		return Addressed{}, refuse("Presence-ID or State is missing")
	}
	if !isUpdate && (f.From == "" || f.To == "") {
		return Addressed{}, refuse("From or To is missing")
	}
	to, err := f.presentity()
	if err != nil {
		return Addressed{}, err
	}
	state := presence.None
	if f.State != "" {
		right := presence.CallStates[:]
		if isUpdate {
			right = presence.UpdateStates[:]
		}
		state, _ = presence.ParseState(strings.ToLower(string(f.State)))
		if !slices.Contains(right, state) {
			return Addressed{}, refuse("State is %.40q; it must be %s", f.State, presence.StateNames(right))
		}
	}
	at, err := timestamp("Timestamp", f.Timestamp)
	if err != nil {
		return Addressed{}, err
	}
	lease, err := expires(f.Expires, presence.LongestLease)
	if err != nil {
		return Addressed{}, err
	}
	if _, err := parsePackage(f.EventPackage); err != nil {
		return Addressed{}, err
	}
	direction, undirected := presence.Initiator, false
	if d := strings.ToLower(cmp.Or(string(f.Direction), string(f.CallDirection))); d == "" {
		undirected = true
	} else if i := slices.Index(directions[:], d); i >= 0 {
		direction = presence.Direction(i % 2)
	} else {
		return Addressed{}, refuse("Direction is %.40q; it must be %s", d, presence.Or(directions[:]))
	}
	onSwitch := cmp.Or(string(f.SwitchURI), string(f.Node))
	rendering := presence.Rendering(strings.ToLower(string(f.Rendering)))
	if !rendering.Valid() {
		return Addressed{}, refuse("Rendering is %.40q; it must be yes or no", f.Rendering)
	}
	near, far := party(f.From, f.FromUser, f.FromRealm), party(f.To, f.ToUser, f.ToRealm)
	fromURI, toURI := target(f.FromURI), target(f.ToURI)
	named := cmp.Or(f.PresenceID, f.Presentity, f.From)
	parked := !isUpdate && strings.EqualFold(string(f.AppName), "park")
	id := string(f.CallID)
	if !isUpdate {
		id = cmp.Or(id, callID)
	}
	constant := isUpdate && id == "" || presence.IsRegister(id, to, string(named))
	if state == presence.Online || state == presence.Offline || state != presence.None && (parked || constant) {
		held := presence.HeldCall{FromName: near.name, ToName: far.name, FromURI: fromURI, ToURI: toURI, Rendering: rendering}
		if parked && !constant {
			held.CallID, held.Direction, held.FromTag, held.ToTag = id, direction, string(f.FromTag), string(f.ToTag)
			held.TargetCallID, held.SwitchURI = string(f.TargetCallID), onSwitch
		}
		return Addressed{to, presence.RegisterEvent{Name: presence.RegisterName(to.String()), State: state, Timestamp: at, Expires: lease,
			From: near.address, To: far.address, Call: held, Source: string(f.EventName)}}, nil
	}
	return Addressed{to, presence.CallEvent{CallID: cmp.Or(id, callID), Direction: direction, Undirected: undirected, State: state,
		Timestamp: at, Expires: lease, From: near.address, To: far.address, FromTag: string(f.FromTag), ToTag: string(f.ToTag),
		FromName: near.name, ToName: far.name, FromURI: fromURI, ToURI: toURI,
		TargetCallID: string(f.TargetCallID), SwitchURI: onSwitch, Rendering: rendering, Source: string(f.EventName)}}, nil
}

// side is one side of a call as a document says it.
type side struct{ address, name string }

// party reads one side of a call from the fields From or To, -User and -Realm. The address is that of the first field; without
// one that can be read, it is made of the user and the realm, and else it is shown as it came. The name is the display name of the
// first field. When there is none and the address is a number, a user that is another name is the name.
func party(address, user, realm Text) (s side) {
	if address == "" && user == "" {
		return side{}
	}
	p, err := presence.ParseParty(string(address))
	if err != nil && user != "" && realm != "" {
		p, err = presence.ParseParty(string(user + "@" + realm))
	}
	if err != nil {
		return side{address: withoutScheme(cmp.Or(address, user))}
	}
	s = side{p.String(), p.Name}
	if number := strings.Trim(p.User, "+0123456789") == ""; s.name == "" && number && string(user) != p.User {
		s.name = string(user)
	}
	return s
}

// target reads the URI that is to be called to reach a side. It is kept as it came, because phones call it; only what surrounds
// it in a name-addr is dropped.
func target(t Text) string {
	v := strings.TrimSpace(string(t))
	if i, j := strings.LastIndexByte(v, '<'), strings.LastIndexByte(v, '>'); i >= 0 && j > i {
		v = v[i+1 : j]
	}
	return v
}

// Mailbox returns what an `mwi_update` document means: the update, and its events: a presence.MailboxEvent for the mailbox
// first, then the events for the extensions whose lamps show that there are messages.
func (f *Document) Mailbox() (update presence.MailboxUpdate, all []Addressed, err error) {
	if f.To == "" || !f.MessagesNew.set || !f.MessagesSaved.set {
		return update, nil, refuse("To, Messages-New or Messages-Saved is missing")
	}
	to, err := address("To", f.To)
	if err != nil {
		return update, nil, err
	}
	update.Mailbox = to
	if update.At, err = timestamp("Timestamp", f.Timestamp); err != nil {
		return update, nil, err
	}
	m := &update.Messages
	m.Account = withoutScheme(f.MessageAccount)
	for _, c := range []struct {
		name string
		from Number
		into *uint32
	}{{"Messages-New", f.MessagesNew, &m.New}, {"Messages-Saved", f.MessagesSaved, &m.Saved},
		{"Messages-Urgent", f.MessagesUrgent, &m.UrgentNew}, {"Messages-Urgent-Saved", f.MessagesUrgentSaved, &m.UrgentSaved}} {
		if c.from.n < 0 || c.from.n > 1e6 {
			return update, nil, refuse("%s is %d; it must be 0 to 1000000", c.name, c.from.n)
		}
		*c.into = uint32(c.from.n)
	}
	if id := f.ExtendedPresenceID; id != "" {
		x, err := presence.ParseName(string(id), to.Realm)
		if err != nil {
			return update, nil, refuse("Extended-Presence-ID %v", err)
		}
		if x.Realm != to.Realm {
			return update, nil, refuse("Extended-Presence-ID is in the realm %s; it must be in that of the mailbox, %s", x.Realm, to.Realm)
		}
		update.Extended = x.User
	}
	events := update.Events()
	out := make([]Addressed, len(events))
	for i, e := range events {
		if len(e.To.User) > presence.MaxName { // the extension *98<mailbox> has a longer name than the mailbox
			return update, nil, refuse("To is %.60q; the lamp %.60q of that mailbox would have a name of more than %d bytes", f.To, e.To.User, presence.MaxName)
		}
		out[i] = Addressed{e.To, e.Message}
	}
	return update, out, nil
}

// Registration returns what a `reg_success` document means: a presence.Registration.
func (f *Document) Registration() (Addressed, error) {
	if f.Username == "" || f.Realm == "" || !f.Expires.set {
		return Addressed{}, refuse("Username, Realm or Expires is missing")
	}
	to, err := f.Target()
	if err != nil {
		return Addressed{}, err
	}
	ev := presence.Registration{Contact: target(f.Contact)}
	if ev.Expires, err = expires(f.Expires, presence.LongestLease); err != nil {
		return Addressed{}, err
	}
	if strings.HasPrefix(strings.ToLower(string(f.Status)), "unregistered") {
		ev.Expires = 0
	}
	ev.Timestamp, err = timestamp("Timestamp", f.Timestamp)
	return Addressed{to, ev}, err
}

// WatcherReply returns what a `notify` document means: a presence.Notified. to is the extension that its subject names.
func (f *Document) WatcherReply(to actors.Address) (Addressed, error) {
	if f.To == "" || f.From == "" || f.CallID == "" {
		return Addressed{}, refuse("To, From or Call-ID is missing")
	}
	if !validReply(f.Sequence, f.Reply) {
		return Addressed{}, refuse("Sequence is %d and Reply is %d; they must be 0 to 2^31 and 0 to 999", f.Sequence.n, f.Reply.n)
	}
	if !validRetry(f.RetryAfter) {
		return Addressed{}, refuse("Retry-After is %d; it must be 0 to 2^31 seconds", f.RetryAfter.n)
	}
	p, err := parsePackage(f.EventPackage)
	return Addressed{to, presence.Notified{Package: p, HasPackage: f.EventPackage != "", CallID: string(f.CallID),
		Sequence: uint32(f.Sequence.n), Reply: int(f.Reply.n), RetryAfter: int(f.RetryAfter.n)}}, err
}

// Package returns the Event-Package that the document asks for. named is false when it has no such field.
func (f *Document) Package() (p presence.Package, named bool, err error) {
	p, err = parsePackage(f.EventPackage)
	return p, f.EventPackage != "", err
}

// Target returns the extension that a control document names. Username is a user, or an address in the realm of Realm. The user
// is empty when the document has no Username: it is then about a realm. It is * when Username is a bare *, which names all
// extensions of the realm; only a reset may do that.
func (f *Document) Target() (actors.Address, error) {
	realm := strings.ToLower(string(f.Realm))
	if realm == "" || f.Username == "" || f.Username == "*" {
		return actors.Address{Realm: realm, User: string(f.Username)}, nil
	}
	to, err := presence.ParseName(string(f.Username), realm)
	if err != nil {
		return to, refuse("Username %v", err)
	}
	if to.Realm != realm {
		return to, refuse("Username is in the realm %.100q, and Realm is %.100q; they must be the same", to.Realm, realm)
	}
	return to, nil
}

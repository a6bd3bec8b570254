package bus

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"lamplight/actors"
	"lamplight/actors/presence"
)

func hexmd5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// addressed is one message with its extension.
type addressed struct {
	to    actors.Address
	event presence.Event
}

func eventPackage(t text) (presence.Package, error) {
	if t == "" {
		return presence.Dialog, nil
	}
	p, ok := presence.ParsePackage(strings.ToLower(string(t)))
	if !ok {
		return p, refuse("Event-Package is %.40q; it must be dialog, presence or message-summary", t)
	}
	return p, nil
}

// subscription makes the message of a `subscription` document.
func (f *fields) subscription() (addressed, error) {
	var s presence.Subscribe
	if f.User == "" || !f.Expires.set {
		return addressed{}, refuse("User or Expires is missing")
	}
	to, err := address("User", f.User)
	if err != nil {
		return addressed{}, err
	}
	if s.Expires, err = expires(f.Expires, maxExpires); err != nil {
		return addressed{}, err
	}
	if s.Package, err = eventPackage(f.EventPackage); err != nil {
		return addressed{}, err
	}
	if f.CSeq.n < 0 || f.CSeq.n > 1<<32-1 {
		return addressed{}, refuse("CSeq is %d; it must be 0 to 2^32-1", f.CSeq.n)
	}
	s.CSeq, s.HasCSeq = uint32(f.CSeq.n), f.CSeq.set
	if s.MaxRate, err = rate("Max-Rate", f.MaxRate); err != nil {
		return addressed{}, err
	}
	if s.MinRate, err = rate("Min-Rate", f.MinRate); err != nil {
		return addressed{}, err
	}
	s.CallID = string(f.CallID)
	if s.CallID == "" { // the watcher itself names it
		s.CallID = hexmd5(to.String() + "\x00" + strings.ToLower(bare(f.From)))
	}
	s.From, s.FromTag, s.ToTag = bare(f.From), string(f.FromTag), string(f.ToTag)
	s.Contact, s.ProxyRoute, s.UserAgent = string(f.Contact), string(f.ProxyRoute), string(f.UserAgent)
	s.SubscriptionID, s.ServerID, s.Queue = string(f.SubscriptionID), string(f.ServerID), string(f.Queue)
	if edge := cmp.Or(s.ServerID, s.Queue); len(edge) > maxName || edge == anyEdge {
		return addressed{}, refuse("Server-ID or Queue is %.40q: an edge's name has at most %d bytes and is not any", edge, maxName)
	}
	return addressed{to, s}, nil
}

// presentity says which extension an update is about.
func (f *fields) presentity() (actors.Address, error) {
	switch {
	case f.PresenceID != "":
		return address("Presence-ID", f.PresenceID)
	case f.Presentity != "":
		return address("Presentity", f.Presentity)
	}
	return address("From", f.From)
}

// update makes the message of a `dialog_update` or `update` document; callID is the subject's.
func (f *fields) update(callID string) (addressed, error) {
	isUpdate := f.EventName == "update"
	if isUpdate && (f.PresenceID == "" || f.State == "") {
		return addressed{}, refuse("Presence-ID or State is missing")
	}
	if !isUpdate && (f.From == "" || f.To == "") {
		return addressed{}, refuse("From or To is missing")
	}
	to, err := f.presentity()
	if err != nil {
		return addressed{}, err
	}
	state := presence.None
	if f.State != "" {
		var ok bool
		state, ok = presence.ParseState(strings.ToLower(string(f.State)))
		if !ok || !isUpdate && (state == presence.Online || state == presence.Offline) {
			return addressed{}, refuse("State is %.40q; it must be early, confirmed or terminated (an update also: trying, online, offline)", f.State)
		}
	}
	at, err := timestamp(f.Timestamp)
	if err != nil {
		return addressed{}, err
	}
	lease, err := expires(f.Expires, 365*maxExpires)
	if err != nil {
		return addressed{}, err
	}
	if _, err := eventPackage(f.EventPackage); err != nil {
		return addressed{}, err
	}
	if isUpdate && (f.register() || state == presence.Online || state == presence.Offline) {
		return addressed{to, presence.RegisterEvent{Name: hexmd5(to.String()), State: state, Timestamp: at, Expires: lease,
			From: bare(f.From), To: bare(f.To), Source: "update"}}, nil
	}
	direction := presence.Initiator
	switch d := strings.ToLower(cmp.Or(string(f.Direction), string(f.CallDirection))); d {
	case "", "initiator", "inbound":
	case "recipient", "outbound":
		direction = presence.Recipient
	default:
		return addressed{}, refuse("Direction is %.40q; it must be initiator or recipient", d)
	}
	return addressed{to, presence.CallEvent{CallID: cmp.Or(string(f.CallID), callID), Direction: direction, State: state,
		Timestamp: at, Expires: lease, From: bare(f.From), To: bare(f.To), FromTag: string(f.FromTag), ToTag: string(f.ToTag),
		TargetCallID: string(f.TargetCallID), SwitchURI: string(f.SwitchURI), Source: string(f.EventName)}}, nil
}

// register says whether an update is a register: without Call-ID, or named by the md5 of its Presence-ID.
func (f *fields) register() bool {
	if f.CallID == "" {
		return true
	}
	id := string(f.PresenceID)
	for _, name := range []string{id, bare(f.PresenceID), strings.ToLower(id), strings.ToLower(bare(f.PresenceID))} {
		if strings.EqualFold(string(f.CallID), hexmd5(name)) {
			return true
		}
	}
	return false
}

// mailbox makes the messages of an `mwi_update` document: the counts, and the lamps that follow them.
func (f *fields) mailbox() ([]addressed, error) {
	if f.To == "" || !f.MessagesNew.set || !f.MessagesSaved.set {
		return nil, refuse("To, Messages-New or Messages-Saved is missing")
	}
	to, err := address("To", f.To)
	if err != nil {
		return nil, err
	}
	e := presence.MailboxEvent{Source: to.String(), Account: bare(f.MessageAccount)}
	for _, c := range []struct {
		name string
		from count
		into *uint32
	}{{"Messages-New", f.MessagesNew, &e.New}, {"Messages-Saved", f.MessagesSaved, &e.Saved},
		{"Messages-Urgent", f.MessagesUrgent, &e.UrgentNew}, {"Messages-Urgent-Saved", f.MessagesUrgentSaved, &e.UrgentSaved}} {
		if c.from.n < 0 || c.from.n > 1e6 {
			return nil, refuse("%s is %d; it must be 0 to 1000000", c.name, c.from.n)
		}
		*c.into = uint32(c.from.n)
	}
	lamp := presence.MailboxEvent{Source: to.String(), Lamp: true, New: e.New}
	lit := actors.Address{Realm: to.Realm, User: "*98" + to.User}
	if err := checkName("To", lit); err != nil {
		return nil, err
	}
	out := []addressed{{to, e}, {lit, lamp}}
	if id := f.ExtendedPresenceID; id != "" {
		if !strings.Contains(string(id), "@") {
			id += text("@" + to.Realm)
		}
		x, err := address("Extended-Presence-ID", id)
		if err != nil {
			return nil, err
		}
		if x.Realm != to.Realm {
			return nil, refuse("Extended-Presence-ID is in the realm %s, the mailbox in %s", x.Realm, to.Realm)
		}
		if x != lit {
			out = append(out, addressed{x, lamp})
		}
	}
	return out, nil
}

// notified makes the message of a `notify` document; user and realm are the subject's.
func (f *fields) notified(to actors.Address) (addressed, error) {
	if f.To == "" || f.From == "" || f.CallID == "" {
		return addressed{}, refuse("To, From or Call-ID is missing")
	}
	if f.Sequence.n < 0 || f.Sequence.n > 1<<31 || f.Reply.n < 0 || f.Reply.n > 999 {
		return addressed{}, refuse("Sequence must be 0 to 2^31, Reply 0 to 999")
	}
	p, err := eventPackage(f.EventPackage)
	return addressed{to, presence.Notified{Package: p, HasPackage: f.EventPackage != "", CallID: string(f.CallID),
		Sequence: uint32(f.Sequence.n), Reply: int(f.Reply.n)}}, err
}

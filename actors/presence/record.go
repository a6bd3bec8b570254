package presence

import "strings"

// This file is what each record holds, and writes it. load.go reads it, codec.go is how a record is encoded.

// Schema is the newest form of records that this release reads. Leases, claims and messages between nodes have the same
// number. A node writes it once all members read it (Rules.Writes). A record of a newer schema keeps that number, and the
// fields that this release does not know, through every change.
const Schema = 2

// The fields that every record may have. A number keeps its meaning for ever.
const (
	recSchema = 1
	recRealm  = 2
	recUser   = 3
	recKey    = 4 // the record's own Key
	recGone   = 5 // µs; the record is a tombstone, which ends then

	recHistory = 6 // the last changes of the lamp; only in the record that carries them
)

// The fields of each kind of record, beside those that all have. A number keeps its meaning for ever; a new field gets a
// new number.
const (
	subscriptionFrom           = 10
	subscriptionFromTag        = 11
	subscriptionToTag          = 12
	subscriptionContact        = 13
	subscriptionProxyRoute     = 14
	subscriptionSubscriptionID = 15
	subscriptionServerID       = 16
	subscriptionQueue          = 17
	subscriptionUserAgent      = 18
	subscriptionRenewed        = 19 // µs
	subscriptionExpires        = 20 // s
	subscriptionCSeq           = 21 // plus 1; absent: none came
	subscriptionMaxRate        = 22
	subscriptionMinRate        = 23
	subscriptionReplaced       = 24 // only in a tombstone
	subscriptionRetired        = 25 // as callRetired
	subscriptionReply          = 26 // only in a tombstone, which may also have subscriptionFrom

	callState     = 10
	callAt        = 11 // µs, as the three below
	callSince     = 12
	callLease     = 13
	callExtended  = 14
	callRetired   = 15 // µs: until when the journal kept the record. It is read, counts for nothing and is not written back
	callRendering = 16 // and the two that follow: a part, which has no place in the three rows below
	callHeard     = 8  // absent: as callAt
	callGone      = 9
	callValue     = 20 // plus the number of the part
	callPartAt    = 32 // plus the number of the part; absent: as callAt
	callPartRank  = 44 // plus the number of the part; absent: as callState
	callPresumed  = 56 // no news with a state said that it is the initiator's
	callShadow    = 57 // the state of a presumed call that is not shown; callState is then Terminated, for earlier releases
	callKnown     = 61 // µs: until when the call and its presumed call are known
	callBare      = 62 // only news without a state came; callState is then Terminated and recGone at least 1, so that earlier releases know nothing of the call
	callFromURI   = 58 // and the two that follow: a part, which has no place in the three rows above

	regState  = 10
	regAt     = 11
	regSince  = 12
	regLease  = 13
	regFrom   = 14
	regTo     = 15
	regSource = 16

	regCallID    = 17
	regDirection = 18 // 1: recipient
	regFromTag   = 19
	regToTag     = 20
	regFromName  = 21
	regToName    = 22
	regFromURI   = 23
	regToURI     = 24
	regTarget    = 25
	regSwitch    = 26
	regRendering = 27

	manState = 10
	manAt    = 11

	boxNew         = 10
	boxSaved       = 11
	boxUrgentNew   = 12
	boxUrgentSaved = 13
	boxAccount     = 14
	boxSince       = 15
	boxExtended    = 16
	boxFormer      = 17 // users, with spaces between them
	boxAt          = 18 // µs

	pubTag       = 10
	pubPublisher = 11
	pubUntil     = 12 // µs
	pubRetired   = 13 // as callRetired
	pubOpen      = 14
	pubReports   = 20 // and pubReportFields-1 that follow: keys of calls and registers, with spaces between them
)

// The known fields of each kind of record, as masks of their numbers: those that hold a number, those that hold a string.
var (
	subscriptionNum = mask(subscriptionRenewed, subscriptionExpires, subscriptionCSeq, subscriptionMaxRate, subscriptionMinRate, subscriptionReplaced, subscriptionRetired, subscriptionReply)
	subscriptionStr = mask(subscriptionFrom, subscriptionFromTag, subscriptionToTag, subscriptionContact, subscriptionProxyRoute, subscriptionSubscriptionID, subscriptionServerID, subscriptionQueue, subscriptionUserAgent)
	callNum         = mask(callState, callAt, callSince, callLease, callExtended, callRetired, callHeard, callGone, callPresumed, callShadow, callKnown, callBare, callFromURI+1, callFromURI+2, callRendering+1, callRendering+2) | span(callPartAt) | span(callPartRank)
	callStr         = span(callValue) | mask(callFromURI, callRendering)
	regNum          = mask(regState, regAt, regSince, regLease, regDirection)
	regStr          = mask(regFrom, regTo, regSource, regCallID, regFromTag, regToTag, regFromName, regToName, regFromURI, regToURI, regTarget, regSwitch, regRendering)
	manNum          = mask(manState, manAt)
	boxNum          = mask(boxNew, boxSaved, boxUrgentNew, boxUrgentSaved, boxSince, boxAt)
	boxStr          = mask(boxAccount, boxExtended, boxFormer)
	pubNum          = mask(pubUntil, pubRetired, pubOpen)
	pubStr          = mask(pubTag, pubPublisher) | (1<<pubReportFields-1)<<pubReports
)

// span is the mask of one field for each part of a call before partFromURI.
func span(first int) uint64 { return (1<<partFromURI - 1) << first }

// partFields are the fields of a part of a call: its value, its time and its state.
func partFields(part int) (value, at, state int) {
	switch part {
	case partFromURI:
		return callFromURI, callFromURI + 1, callFromURI + 2
	case partRendering:
		return callRendering, callRendering + 1, callRendering + 2
	}
	return callValue + part, callPartAt + part, callPartRank + part
}

// appendHead appends the fields that a record begins with. schema is the one that it was read with, 0 for a new record.
func (e *Extension) appendHead(b []byte, schema uint8, key string) []byte {
	b = appendNum(b, recSchema, uint64(max(schema, e.rules.writes())))
	b = appendStr(b, recRealm, e.realm)
	b = appendStr(b, recUser, e.user)
	return appendStr(b, recKey, key)
}

// encodeSubscription makes the record of a subscription.
func (e *Extension) encodeSubscription(s *Subscription) []byte {
	texts, key, more := s.texts(), s.key(), s.getRare()
	extra := more.extra
	size := 64 + len(extra) + sizeStr(e.realm) + sizeStr(e.user) + sizeStr(key) +
		sizeStr(s.ServerID) + sizeStr(s.Queue) + sizeStr(s.UserAgent)
	for _, t := range texts {
		size += sizeStr(t)
	}
	b := e.appendHead(make([]byte, 0, size), s.schema, key)
	b = appendNum(b, subscriptionRenewed, uint64(s.renewed))
	b = appendNum(b, subscriptionExpires, uint64(s.expires))
	if s.HasCSeq() {
		b = appendNum(b, subscriptionCSeq, uint64(s.CSeq)+1)
	}
	b = appendNum(b, subscriptionMaxRate, uint64(more.maxRate))
	b = appendNum(b, subscriptionMinRate, uint64(more.minRate))
	for i, t := range texts {
		b = appendStr(b, subscriptionFrom+i, t)
	}
	b = appendStr(b, subscriptionServerID, s.ServerID)
	b = appendStr(b, subscriptionQueue, s.Queue)
	b = appendStr(b, subscriptionUserAgent, s.UserAgent)
	return append(b, extra...)
}

// encodeEnded makes the record of a subscription's tombstone.
func (e *Extension) encodeEnded(t *ended) []byte {
	b := make([]byte, 0, 2+sizeStr(e.realm)+sizeStr(e.user)+sizeStr(t.key)+9+7+3+sizeStr(t.from)+5)
	b = e.appendHead(b, 0, t.key)
	b = appendNum(b, recGone, uint64(t.until))
	b = appendNum(b, subscriptionCSeq, uint64(t.cseq)+1)
	if t.replaced {
		b = appendNum(b, subscriptionReplaced, 1)
	}
	b = appendNum(b, subscriptionReply, uint64(t.reply))
	return appendStr(b, subscriptionFrom, t.from)
}

// encodeCall makes the record of a call or of its tombstone.
func (e *Extension) encodeCall(c *call) []byte {
	b := e.appendHead(make([]byte, 0, 256), c.schema, c.key)
	switch {
	case c.state == None:
		b = appendNum(b, recGone, uint64(max(c.until, 1)))
		b = appendNum(b, callState, uint64(Terminated))
		b = appendNum(b, callBare, 1)
	case c.presumed && c.until != 0:
		b = appendNum(b, recGone, uint64(c.until))
		b = appendNum(b, callState, uint64(Terminated))
		b = appendNum(b, callShadow, uint64(c.state))
	default:
		b = appendNum(b, recGone, uint64(c.until))
		b = appendNum(b, callState, uint64(c.state))
	}
	if c.presumed {
		b = appendNum(b, callPresumed, 1)
	}
	b = appendNum(b, callKnown, uint64(c.known))
	b = appendNum(b, callAt, uint64(c.at))
	b = appendNum(b, callSince, uint64(c.since))
	b = appendNum(b, callLease, uint64(c.lease))
	b = appendNum(b, callExtended, uint64(c.extended))
	if c.heard != c.at {
		b = appendNum(b, callHeard, uint64(c.heard))
	}
	b = appendNum(b, callGone, uint64(c.gone))
	for i, p := range c.parts {
		if p.value == "" {
			continue
		}
		value, at, state := partFields(i)
		b = appendStr(b, value, p.value)
		if p.at != c.at {
			b = appendNum(b, at, uint64(p.at))
		}
		if p.state != c.state {
			b = appendNum(b, state, uint64(p.state))
		}
	}
	return append(b, c.unknown...)
}

// encodeRegister makes the record of a register or of its tombstone.
func (e *Extension) encodeRegister(r *register) []byte {
	b := e.appendHead(make([]byte, 0, 192), r.schema, r.key)
	b = appendNum(b, recGone, uint64(r.until))
	b = appendNum(b, regState, uint64(r.state))
	b = appendNum(b, regAt, uint64(r.at))
	b = appendNum(b, regSince, uint64(r.since))
	b = appendNum(b, regLease, uint64(r.lease))
	b = appendStr(b, regFrom, r.from)
	b = appendStr(b, regTo, r.to)
	b = appendStr(b, regSource, r.source)
	if h := r.call; h != nil {
		b = appendStr(b, regCallID, h.CallID)
		b = appendNum(b, regDirection, uint64(h.Direction))
		for i, text := range []string{h.FromTag, h.ToTag, h.FromName, h.ToName, h.FromURI, h.ToURI, h.TargetCallID, h.SwitchURI, string(h.Rendering)} {
			b = appendStr(b, regFromTag+i, text)
		}
	}
	return append(b, r.unknown...)
}

// encodeManual makes the record of a manual state that is set.
func (e *Extension) encodeManual(m *manual) []byte {
	b := e.appendHead(make([]byte, 0, 96), m.schema, manualKey)
	b = appendNum(b, manState, uint64(m.state))
	b = appendNum(b, manAt, uint64(m.at))
	return append(b, m.unknown...)
}

// encodeMailbox makes the record of a mailbox.
func (e *Extension) encodeMailbox(m *mailbox) []byte {
	b := e.appendHead(make([]byte, 0, 128), m.schema, m.key)
	b = appendNum(b, boxNew, uint64(m.messages.New))
	b = appendNum(b, boxSaved, uint64(m.messages.Saved))
	b = appendNum(b, boxUrgentNew, uint64(m.messages.UrgentNew))
	b = appendNum(b, boxUrgentSaved, uint64(m.messages.UrgentSaved))
	b = appendStr(b, boxAccount, m.messages.Account)
	b = appendNum(b, boxSince, uint64(m.since))
	b = appendStr(b, boxExtended, m.extended)
	b = appendStr(b, boxFormer, strings.Join(m.former, " "))
	b = appendNum(b, boxAt, uint64(m.at))
	b = appendNum(b, recGone, uint64(m.until))
	return append(b, m.unknown...)
}

package freeswitch

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/source"
)

// mostChannels is how many channels of a switch are remembered. More are counted and not told.
const mostChannels = 200000

// channel is a channel whose call was told. The name of its call stays what it was first, whatever later events say.
type channel struct {
	callID    string
	extension presence.Address
	direction string // initiator or recipient
	state     presence.State
	rendering string // yes, no, or "": not known
}

// order is how far a state of a call is.
func order(s presence.State) int {
	switch s {
	case presence.Trying:
		return 1
	case presence.Early:
		return 2
	case presence.Confirmed:
		return 3
	case presence.Terminated:
		return 4
	}
	return 0
}

// call tells what an event says of a channel. Without again, only what is new is told.
func (n *session) call(ctx context.Context, e *event, again bool) error {
	uuid := e.is[hUniqueID]
	if uuid == "" {
		n.sink.Refused("news of a channel without a Unique-ID", e.is[hEventName])
		return nil
	}
	ch := n.channels[uuid]
	if e.is[hEventName] == "CHANNEL_HANGUP_COMPLETE" {
		defer delete(n.channels, uuid)
		if ch == nil {
			return nil
		}
	}
	extension, ok := n.extension(e)
	if !ok {
		if ch == nil {
			return nil // a channel of nobody, such as a trunk's
		}
		extension = ch.extension
	}
	direction := "recipient"
	if ch != nil {
		direction = ch.direction
	} else if cmp.Or(e.is[hPresenceDirection], e.is[hCallDirection]) == "inbound" {
		direction = "initiator"
	}
	state, rendering := n.state(e, direction)
	if state == presence.None {
		return nil
	}
	if ch != nil && ch.extension != extension { // the variable presence_id was set anew
		moved := *ch
		moved.state = presence.Terminated
		if err := n.tell(ctx, e, &moved); err != nil {
			return err
		}
		delete(n.channels, uuid)
		ch = nil
	}
	if ch == nil {
		if state == presence.Terminated && e.is[hEventName] == "" {
			return nil // asked for, and gone
		}
		if ch = n.newChannel(uuid, e, extension, direction); ch == nil {
			return nil
		}
	}
	change := order(state) - order(ch.state)
	if change < 0 || change == 0 && (rendering == "" || rendering == ch.rendering) && !again {
		return nil
	}
	ch.state = state
	if rendering != "" {
		ch.rendering = rendering
	}
	if again && state == presence.Terminated {
		delete(n.channels, uuid)
	}
	return n.tell(ctx, e, ch)
}

// newChannel remembers a channel.
func (n *session) newChannel(uuid string, e *event, extension presence.Address, direction string) *channel {
	id := cmp.Or(e.is[hSIPCallID], uuid)
	switch {
	case len(id) > subject.MaxName:
		n.sink.Refused("a Call-ID that is too long", fmt.Sprintf("%.100q of %s has %d bytes; it may have at most %d", id, extension, len(id), subject.MaxName))
		return nil
	case len(n.channels) >= mostChannels:
		n.sink.Refused("more channels than the bridge remembers", fmt.Sprintf("%s of %s", uuid, extension))
		return nil
	}
	ch := &channel{callID: id, extension: extension, direction: direction}
	n.channels[uuid] = ch
	return ch
}

// extension returns whose presence a channel is. An event of presence names it itself.
func (n *session) extension(e *event) (presence.Address, bool) {
	id := cmp.Or(e.is[hChannelPresence], e.is[hVariablePresence])
	if e.presence() {
		id = cmp.Or(e.is[hFrom], id)
	}
	if id == "" {
		return presence.Address{}, false
	}
	return n.address(id)
}

// address reads a presence id. Of x+user the user counts: x says which application it is about. A + at the beginning is part of a number.
func (n *session) address(id string) (presence.Address, bool) {
	name, realm, _ := strings.Cut(id, "@")
	if before, after, _ := strings.Cut(name, "+"); before != "" && after != "" {
		name = after
	}
	a, err := presence.ParsePresenceID(name + "@" + realm)
	if err != nil {
		n.sink.Refused("a presence id that is no user@realm", err.Error())
		return a, false
	}
	return a, true
}

// state returns what the state of a channel means for a lamp; presence.None: nothing. rendering says whether the call is held, when that is
// known.
func (n *session) state(e *event, direction string) (state presence.State, rendering string) {
	is := strings.ToUpper(e.is[hCallState])
	switch {
	case e.is[hEventName] == "CHANNEL_HANGUP_COMPLETE", e.is[hStatus] == "CS_HANGUP", strings.EqualFold(e.is[hAnswerState], "hangup"):
		is = "HANGUP"
	case e.presence() && e.is[hStatus] == "hold":
		is = "HELD"
	case is == "":
		is = map[string]string{"ringing": "RINGING", "early": "EARLY", "answered": "ACTIVE"}[strings.ToLower(e.is[hAnswerState])]
	}
	switch is {
	case "RINGING", "EARLY", "RING_WAIT":
		if direction == "initiator" {
			return n.cfg.CallerRinging, ""
		}
		return presence.Early, ""
	case "ACTIVE", "UNHELD":
		return presence.Confirmed, "yes"
	case "HELD":
		return presence.Confirmed, "no"
	case "HANGUP":
		return presence.Terminated, ""
	}
	return presence.None, "" // DOWN and DIALING: it does not ring yet
}

// tell sends what is known of a channel.
func (n *session) tell(ctx context.Context, e *event, ch *channel) error {
	// The far end of a call that the extension has begun is where it went; else it is who calls. The local tag of a leg that FreeSWITCH has
	// begun is the phone's, which is the To-tag there.
	far, name := cmp.Or(e.is[hCallerNumber], "anonymous"), e.is[hCallerName]
	local, remote := e.is[hSIPToTag], e.is[hSIPFromTag]
	if ch.direction == "initiator" {
		far, name = cmp.Or(e.is[hDestination], e.is[hCalleeNumber], "unknown"), e.is[hCalleeName]
		local, remote = remote, local
	}
	if name == "Outbound Call" { // FreeSWITCH's word for no name
		name = ""
	}
	own := "sip:" + ch.extension.String()
	fields := map[string]any{"Presence-ID": ch.extension.String(), "From": own, "To": party(name, far, ch.extension.Realm), "State": ch.state.String(),
		"Call-ID": ch.callID, "Direction": ch.direction, "Switch-URI": n.uri, "Timestamp": e.at.UnixMicro()}
	for field, value := range map[string]string{"From-Tag": local, "To-Tag": remote} {
		if value != "" {
			fields[field] = value
		}
	}
	if ch.state == presence.Confirmed && ch.rendering != "" {
		fields["Rendering"] = ch.rendering
	}
	return n.send(ctx, source.Document{Event: "dialog_update", Subject: subject.DialogUpdate(ch.extension.Realm, ch.callID), Fields: fields})
}

// party returns an address with a display name. Characters that a user can't have in a URI are escaped.
func party(name, user, realm string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,?/#"
	var b strings.Builder
	if name != "" && name != user {
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" `)
	}
	b.WriteString("<sip:")
	for i := range len(user) {
		if strings.IndexByte(plain, user[i]) >= 0 {
			b.WriteByte(user[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", user[i])
		}
	}
	b.WriteString("@" + realm + ">")
	return b.String()
}

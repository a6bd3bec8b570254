package freeswitch

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/source"
)

// mostLit is how many registers that are not terminated are remembered, and mostCount the most messages of a kind that a mailbox has.
const (
	mostLit   = 10000
	mostCount = 1000000
)

// forgotten are the applications whose states end with the switch: nobody is parked, meets or waits there after it was started again.
var forgotten = map[string]bool{"park": true, "conf": true, "queue": true, "callcenter": true}

// ofUser are the applications whose states are named after the user whom they concern. The lamp of the user's own extension is that of its
// calls; phones watch these states as dnd+1001, which is also how mod_sofia names them.
var ofUser = map[string]bool{"dnd": true, "forward": true, "agent": true, "voicemail": true}

// feature tells the state that an application has published with PRESENCE_IN: a parking slot, a conference, night mode.
func (n *session) feature(ctx context.Context, e *event) error {
	name, answer := strings.ToLower(e.is[hProto]), strings.ToLower(e.is[hAnswerState])
	state := map[string]string{"confirmed": "confirmed", "answered": "confirmed", "early": "early", "ringing": "early", "terminated": "terminated", "hangup": "terminated"}[answer]
	plain := name == "sip" || name == "any" || name == "" // a script that wants the lamp of the extension itself
	switch {
	case e.is[hPresenceSource] == "register":
		return nil // CUSTOM sofia::register says it
	case plain && !applicationState(answer):
		return nil
	case state == "" && (e.is[hEventName] == "PRESENCE_OUT" || e.is[hChannelState] == "CS_HANGUP"):
		state = "terminated"
	case state == "":
		n.sink.Refused("the state of an application that has no known answer-state", fmt.Sprintf("%s of %s: %q", e.is[hProto], e.is[hFrom], answer))
		return nil
	}
	a, ok := n.address(e.is[hFrom])
	if !ok {
		return nil
	}
	if !ofUser[name] {
		if err := n.register(ctx, a.String(), name, state, e.is[hForceStatus], e.at); err != nil {
			return err
		}
	}
	if plain {
		return nil
	}
	return n.register(ctx, name+"+"+a.String(), name, state, e.is[hForceStatus], e.at)
}

// register tells the state of a register. text is what a display shows for it.
func (n *session) register(ctx context.Context, extension, proto, state, text string, at time.Time) error {
	a, err := presence.ParsePresenceID(extension)
	if err != nil {
		n.sink.Refused("a presence id that is no user@realm", err.Error())
		return nil
	}
	if state == "terminated" {
		delete(n.lit, extension)
	} else if len(n.lit) < mostLit {
		n.lit[extension] = proto
	}
	return n.send(ctx, source.Document{Event: "update", Subject: subject.Update(a.Realm, a.User), Fields: map[string]any{"Presence-ID": extension,
		"State": state, "From": "sip:" + extension, "To": party(text, a.User, a.Realm), "Timestamp": at.UnixMicro()}})
}

// mailbox tells how many messages a mailbox has. What is meant for one phone or one subscription is passed over.
func (n *session) mailbox(ctx context.Context, e *event) error {
	if e.is[hCallID] != "" || e.is[hSubCallID] != "" {
		return nil
	}
	a, err := presence.ParsePresenceID(e.is[hMWIAccount])
	if err != nil {
		n.sink.Refused("a mailbox that is no user@realm", err.Error())
		return nil
	}
	counts, ok := readCounts(e.is[hMWIMessages], strings.EqualFold(e.is[hMWIWaiting], "yes"))
	if !ok {
		n.sink.Refused("counts of messages that can't be read", fmt.Sprintf("%s: %q", a, e.is[hMWIMessages]))
		return nil
	}
	return n.ordered.send(source.Document{Event: "mwi_update", Subject: subject.MailboxUpdate(a.Realm, a.User), Fields: map[string]any{"To": "sip:" + a.String(),
		"Message-Account": "sip:" + a.String(), "Messages-New": counts[0], "Messages-Saved": counts[1], "Messages-Urgent": counts[2], "Messages-Urgent-Saved": counts[3],
		"Timestamp": e.at.UnixMicro()}})
}

// readCounts reads the new, old, urgent new and urgent old messages of a mailbox, such as 2/1 (0/0). The urgent ones may be missing. Without
// counts, one message waits or none.
func readCounts(text string, waiting bool) (counts [4]int, ok bool) {
	if text == "" {
		if waiting {
			counts[0] = 1
		}
		return counts, true
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '/' || r == '(' || r == ')' || r == ' ' })
	if len(parts) != 2 && len(parts) != 4 {
		return counts, false
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return counts, false
		}
		counts[i] = min(int(v), mostCount)
	}
	return counts, true
}

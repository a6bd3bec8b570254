package freeswitch

import (
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/source"
)

// mostLit is how many registers that are not terminated are remembered, and mostCount the most messages of a kind that a mailbox has.
const (
	mostLit   = 10000
	mostCount = 1000000
)

// lit is a register that is not terminated: the proto of the application, and when it last said so.
type lit struct {
	proto string
	at    time.Time
}

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
		n.lit[extension] = lit{proto, at}
	}
	return n.send(ctx, source.Document{Event: "update", Subject: subject.Update(a.Realm, a.User), Fields: map[string]any{"Presence-ID": extension,
		"State": state, "From": "sip:" + extension, "To": party(text, a.User, a.Realm), "Timestamp": at.UnixMicro()}})
}

// putOut ends the state of a register that the switch no longer has. The switch's clock may be a little ahead.
func (n *session) putOut(ctx context.Context, extension string, l lit) error {
	at := time.Now()
	if n.telling { // what the switch says meanwhile is newer than what it is asked
		at = n.began
	}
	if !at.After(l.at) {
		at = l.at.Add(time.Microsecond)
	}
	return n.register(ctx, extension, l.proto, "terminated", "", at)
}

// places are the parking slots and lots of a switch, or its conferences, as it lists them.
type places struct {
	domains map[string]bool // of which it lists any; "": of all
	full    map[string]bool // those in which somebody is, as name@domain, or as name@ for all domains
}

// note notes a place, in whose name the domain may stand.
func (p *places) note(name, domain string, full bool) {
	p.domains[strings.ToLower(domain)] = true
	if full {
		p.full[strings.ToLower(name+"@"+domain)] = true
	}
}

// empty says whether the switch lists places of the domain, and that nobody is in this one.
func (p *places) empty(name, domain string) bool {
	return (p.domains[""] || p.domains[domain]) && !p.full[name+"@"+domain] && !p.full[name+"@"]
}

// parked asks the switch for its parking lots.
func (n *session) parked(ctx context.Context) (*places, error) {
	answer, err := n.sock.api(ctx, "valet_info")
	if err != nil {
		return nil, err
	}
	var list struct {
		XMLName xml.Name `xml:"lots"`
		Lots    []struct {
			Name  string   `xml:"name,attr"`
			Slots []string `xml:"extension"`
		} `xml:"lot"`
	}
	p := &places{map[string]bool{}, map[string]bool{}}
	if xml.Unmarshal([]byte(answer), &list) != nil { // such as that of a switch without mod_valet_parking
		return p, nil
	}
	for _, lot := range list.Lots {
		name, domain, _ := strings.Cut(lot.Name, "@")
		p.note(name, domain, len(lot.Slots) > 0)
		for _, slot := range lot.Slots {
			p.note(strings.TrimSpace(slot), domain, true)
		}
	}
	return p, nil
}

// meeting asks the switch for its conferences. It lists only those in which somebody is.
func (n *session) meeting(ctx context.Context) (*places, error) {
	answer, err := n.sock.api(ctx, "conference json_list")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name string `json:"conference_name"`
	}
	p := &places{map[string]bool{}, map[string]bool{}}
	if json.Unmarshal([]byte(answer), &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) != nil {
		return p, nil
	}
	p.domains[""] = true
	for _, c := range list {
		name, domain, _ := strings.Cut(c.Name, "@")
		p.note(name, domain, true)
	}
	return p, nil
}

// resyncPlaces asks the switch for its parking lots and conferences, and puts out those in which nobody is any more: the events that said so may
// be lost. A switch that can't be asked changes nothing, and neither does a list that says nothing of a domain.
func (n *session) resyncPlaces(ctx context.Context) error {
	for proto, ask := range map[string]func(context.Context) (*places, error){"park": n.parked, "conf": n.meeting} {
		var list *places
		for extension, l := range n.lit {
			if l.proto != proto {
				continue
			}
			if list == nil {
				var err error
				if list, err = ask(ctx); err != nil {
					return err
				}
			}
			user, domain, _ := strings.Cut(strings.ToLower(extension), "@")
			if !list.empty(strings.TrimPrefix(user, proto+"+"), domain) {
				continue
			}
			if err := n.putOut(ctx, extension, l); err != nil {
				return err
			}
		}
	}
	return nil
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

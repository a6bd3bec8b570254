package publication

import (
	"bytes"
	"strconv"
	"strings"

	"lamplight/actors/presence"
)

// readDialogInfo reads an application/dialog-info+xml document (RFC 4235 §4). It passes over version: publishers send 0 for ever, and the
// entity-tags order the requests. It passes over entity: the Request-URI names the extension.
func readDialogInfo(ev *presence.Publish, data []byte) error {
	doc, err := root(data, "urn:ietf:params:xml:ns:dialog-info", "dialog-info")
	if err != nil {
		return err
	}
	switch state := doc.attrs["state"]; strings.ToLower(strings.TrimSpace(state)) {
	case "", "full":
	case "partial":
		ev.Partial = true
	default:
		return wrong("the attribute state of dialog-info is %.40q; it must be full or partial", state)
	}
	dialogs := doc.all("dialog")
	if len(dialogs) > presence.MaxPublished {
		return wrong("the document has %d dialogs; it may have at most %d", len(dialogs), presence.MaxPublished)
	}
	for _, d := range dialogs {
		one, err := readDialog(d)
		if err != nil {
			return err
		}
		ev.Dialogs = append(ev.Dialogs, one)
	}
	return nil
}

// readDialog reads an element dialog. Without a direction, the extension counts as the one that is called.
func readDialog(d *element) (ev presence.CallEvent, err error) {
	trim := func(name string) string { return strings.TrimSpace(d.attrs[name]) }
	ev = presence.CallEvent{ID: trim("id"), CallID: trim("call-id"), FromTag: trim("local-tag"), ToTag: trim("remote-tag"), Direction: presence.Recipient}
	switch direction := trim("direction"); strings.ToLower(direction) {
	case "initiator":
		ev.Direction = presence.Initiator
	case "recipient", "":
	default:
		return ev, wrong("the direction of the dialog %.60q is %.40q; it must be initiator or recipient", ev.ID, direction)
	}
	said := d.first("state").text
	state, ok := presence.ParseState(strings.ToLower(said))
	if !ok || state > presence.Terminated {
		return ev, wrong("the state of the dialog %.60q is %.40q; it must be trying, proceeding, early, confirmed or terminated", ev.ID, said)
	}
	ev.State = state
	ev.From, ev.FromName, ev.FromURI = participant(d.first("local"))
	ev.Rendering = rendering(d.first("local").first("target"))
	ev.To, ev.ToName, ev.ToURI = participant(d.first("remote"))
	for _, text := range []string{ev.ID, ev.CallID, ev.FromTag, ev.ToTag, ev.From, ev.To, ev.FromName, ev.ToName, ev.FromURI, ev.ToURI} {
		if len(text) > presence.MaxText || strings.ContainsFunc(text, control) {
			return ev, wrong("a text of the dialog %.60q has %d bytes or a control character; at most %d bytes without control characters are allowed", ev.ID, len(text), presence.MaxText)
		}
	}
	return ev, nil
}

// control says whether a character must not stand in what edges copy into SIP headers.
func control(r rune) bool { return r < ' ' || r == 0x7f }

// participant reads an element local or remote: who that is as user@realm, the name that is shown for it, and the target to call.
func participant(e *element) (who, name, target string) {
	identity := e.first("identity")
	who, name = identity.text, strings.TrimSpace(identity.attrs["display"])
	target = strings.TrimSpace(e.first("target").attrs["uri"])
	if who == "" {
		who = target
	}
	if p, err := presence.ParseParty(who); err == nil {
		who = p.String()
		if name == "" {
			name = p.Name
		}
	}
	return who, name, target
}

// rendering reads the parameter +sip.rendering of the element target of the extension (RFC 4235 §4.1.6). A value that is neither yes nor no, such as
// unknown, says nothing.
func rendering(target *element) presence.Rendering {
	for _, param := range target.all("param") {
		name := strings.TrimPrefix(strings.TrimSpace(param.attrs["pname"]), "+")
		value := presence.Rendering(strings.ToLower(strings.TrimSpace(param.attrs["pval"])))
		if strings.EqualFold(name, "sip.rendering") && value.Valid() {
			return value
		}
	}
	return presence.RenderingUnknown
}

// readPIDF reads an application/pidf+xml document (RFC 3863 §4). The basic status is open when that of any tuple is. What a person does
// (RFC 4480), such as on-the-phone, is passed over: whether somebody is on the phone is a matter of dialogs.
func readPIDF(ev *presence.Publish, data []byte) error {
	doc, err := root(data, "urn:ietf:params:xml:ns:pidf", "presence")
	if err != nil {
		return err
	}
	for _, tuple := range doc.all("tuple") {
		basic := tuple.first("status").first("basic").text
		switch strings.ToLower(basic) {
		case "":
		case "open":
			ev.Basic = presence.Online
		case "closed":
			if ev.Basic == presence.None {
				ev.Basic = presence.Offline
			}
		default:
			return wrong("the basic status of a tuple is %.40q; it must be open or closed", basic)
		}
	}
	return nil
}

// readXPIDF reads an application/xpidf+xml document: presence, atom, address, status, whose attribute status is open, inuse or closed.
func readXPIDF(ev *presence.Publish, data []byte) error {
	doc, err := root(data, "", "presence")
	if err != nil {
		return err
	}
	for _, atom := range doc.all("atom") {
		for _, address := range atom.all("address") {
			switch status := address.first("status").attrs["status"]; strings.ToLower(status) {
			case "":
			case "open", "inuse":
				ev.Basic = presence.Online
			case "closed":
				if ev.Basic == presence.None {
					ev.Basic = presence.Offline
				}
			default:
				return wrong("the status of an address is %.40q; it must be open, inuse or closed", status)
			}
		}
	}
	return nil
}

// readMessageSummary reads an application/simple-message-summary document (RFC 3842 §5.2). Messages-Waiting alone counts as one new message
// or none. Messages of other kinds than voice are passed over.
func readMessageSummary(ev *presence.Publish, data []byte) error {
	m := &presence.Messages{}
	waiting, counted := "", false
	for line := range bytes.Lines(data) {
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), ":")
		if !found {
			if name == "" && waiting != "" {
				break // headers of the messages themselves follow
			}
			if name == "" {
				continue
			}
			return wrong("the line %.60q is no header of a message summary", line)
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "messages-waiting":
			waiting = strings.ToLower(value)
		case "message-account":
			if m.Account = value; len(value) > 4 && strings.EqualFold(value[:4], "sip:") {
				m.Account = value[4:]
			}
			if len(value) > presence.MaxText || strings.ContainsFunc(value, control) {
				return wrong("Message-Account has %d bytes or a control character; at most %d bytes without control characters are allowed", len(value), presence.MaxText)
			}
		case "voice-message":
			if counted = readCounts(m, value); !counted {
				return wrong("Voice-Message is %.60q; it must be new/old or new/old (urgent new/urgent old)", value)
			}
		}
	}
	switch {
	case waiting != "yes" && waiting != "no":
		return wrong("Messages-Waiting is %.40q; it must be yes or no", waiting)
	case !counted && waiting == "yes":
		m.New = 1
	}
	ev.Messages = m
	return nil
}

// readCounts reads new/old or new/old (urgent new/urgent old).
func readCounts(m *presence.Messages, text string) bool {
	all, urgent, found := strings.Cut(text, "(")
	ok := readPair(&m.New, &m.Saved, all)
	if found {
		inside, rest, closed := strings.Cut(urgent, ")")
		ok = ok && closed && strings.TrimSpace(rest) == "" && readPair(&m.UrgentNew, &m.UrgentSaved, inside)
	}
	return ok
}

// readPair reads two numbers with a slash between them.
func readPair(a, b *uint32, text string) bool {
	first, second, found := strings.Cut(text, "/")
	for _, n := range []struct {
		to   *uint32
		text string
	}{{a, first}, {b, second}} {
		v, err := strconv.ParseUint(strings.TrimSpace(n.text), 10, 32)
		if err != nil {
			return false
		}
		*n.to = uint32(v)
	}
	return found
}

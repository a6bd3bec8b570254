package freeswitch

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// maxValue is how many bytes of the value of a header are taken. A longer one counts as absent.
const maxValue = 1024

// clockSkew is how far the clock of a switch may be away from ours until its timestamps are passed over.
const clockSkew = 5 * time.Second

// header is a header of an event that the bridge reads. All others are dropped.
type header uint8

const (
	hEventName header = iota
	hSubclass
	hCoreUUID
	hIPv4
	hDateTimestamp
	hHeartbeatInterval

	hUniqueID
	hCallState
	hAnswerState
	hCallDirection
	hPresenceDirection
	hChannelPresence
	hVariablePresence
	hCallerNumber
	hCallerName
	hCalleeNumber
	hCalleeName
	hDestination
	hSIPCallID
	hSIPFromTag
	hSIPToTag

	hProto
	hFrom
	hStatus
	hForceStatus
	hChannelState
	hPresenceSource

	hMWIWaiting
	hMWIAccount
	hMWIMessages
	hCallID
	hSubCallID

	hFromUser
	hFromHost
	hUser
	hHost
	hContact
	hExpires
	hUserAgent
	headers // their number
)

// headerNames are the names of the headers in lower case: FreeSWITCH compares names without case.
var headerNames = map[string]header{
	"event-name": hEventName, "event-subclass": hSubclass, "core-uuid": hCoreUUID, "freeswitch-ipv4": hIPv4, "event-date-timestamp": hDateTimestamp,
	"heartbeat-interval": hHeartbeatInterval,
	"unique-id":          hUniqueID, "channel-call-state": hCallState, "answer-state": hAnswerState, "call-direction": hCallDirection,
	"presence-call-direction": hPresenceDirection, "channel-presence-id": hChannelPresence, "variable_presence_id": hVariablePresence,
	"caller-caller-id-number": hCallerNumber, "caller-caller-id-name": hCallerName, "caller-callee-id-number": hCalleeNumber,
	"caller-callee-id-name": hCalleeName, "caller-destination-number": hDestination,
	"variable_sip_call_id": hSIPCallID, "variable_sip_from_tag": hSIPFromTag, "variable_sip_to_tag": hSIPToTag,
	"proto": hProto, "from": hFrom, "status": hStatus, "force-status": hForceStatus, "channel-state": hChannelState, "presence-source": hPresenceSource,
	"mwi-messages-waiting": hMWIWaiting, "mwi-message-account": hMWIAccount, "mwi-voice-message": hMWIMessages, "call-id": hCallID, "sub-call-id": hSubCallID,
	"from-user": hFromUser, "from-host": hFromHost, "user": hUser, "host": hHost, "contact": hContact, "expires": hExpires, "user-agent": hUserAgent,
}

// event is one event of the switch, or the dump of a channel, which has the same headers.
type event struct {
	is [headers]string
	at time.Time // when it happened: by the clock of the switch where that is right, else when it arrived
}

// channel says whether the event is news of a channel. What is lost of those can be asked for again. Applications may fire PRESENCE_IN as
// channels do; theirs has no Channel-Call-State, and words of its own in Answer-State.
func (e *event) channel() bool {
	if !e.presence() {
		return strings.HasPrefix(e.is[hEventName], "CHANNEL_")
	}
	return strings.EqualFold(e.is[hProto], "any") && (e.is[hCallState] != "" || !applicationState(e.is[hAnswerState]))
}

// applicationState says whether an Answer-State is one that only applications write.
func applicationState(state string) bool {
	state = strings.ToLower(state)
	return state == "confirmed" || state == "early" || state == "terminated"
}

// presence says whether the event is one of presence.
func (e *event) presence() bool {
	return e.is[hEventName] == "PRESENCE_IN" || e.is[hEventName] == "PRESENCE_OUT"
}

// readEvent reads the body of an event in JSON. When a header comes twice, its first value that is not empty counts. Of a header with
// several values the first counts.
func readEvent(body []byte) (*event, error) {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	open, err := d.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("an event is no JSON: %w", err)
	}
	if open.Kind() != '{' {
		return nil, fmt.Errorf("an event is no JSON object: %.60q", body)
	}
	e := &event{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("an event is no JSON: %w", err)
		}
		h, wanted := headerNames[strings.ToLower(name.String())]
		value, err := readValue(d)
		if err != nil {
			return nil, fmt.Errorf("an event is no JSON: %w", err)
		}
		if wanted {
			e.set(h, value)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("an event is no JSON: %w", err)
	}
	return e, nil
}

// readValue reads a value: a string, or the first string of an array. Anything else reads as "".
func readValue(d *jsontext.Decoder) (value string, err error) {
	switch d.PeekKind() {
	case '"':
		token, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		return token.String(), nil
	case '[':
		if _, err := d.ReadToken(); err != nil {
			return "", err
		}
		for d.PeekKind() != ']' {
			if value != "" || d.PeekKind() != '"' {
				if err := d.SkipValue(); err != nil {
					return "", err
				}
				continue
			}
			token, err := d.ReadToken()
			if err != nil {
				return "", err
			}
			value = token.String()
		}
		_, err := d.ReadToken()
		return value, err
	}
	return "", d.SkipValue()
}

// set sets a header that has no value yet. Control characters are taken out, because the nodes refuse documents that hold any.
func (e *event) set(h header, value string) {
	if e.is[h] != "" || len(value) > maxValue || value == "_undef_" {
		return
	}
	value = strings.ToValidUTF8(strings.TrimSpace(value), "�")
	e.is[h] = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, value)
}

// errClock says that the clock of a switch is wrong.
var errClock = errors.New("the clock of the switch is wrong")

// date sets when the event happened. It returns an error when the switch's clock differs from ours by more than clockSkew: arrived then
// counts.
func (e *event) date(arrived time.Time) error {
	e.at = arrived
	us, err := strconv.ParseInt(e.is[hDateTimestamp], 10, 64)
	if err != nil {
		return nil // a switch that tells no time
	}
	at := time.UnixMicro(us)
	if off := at.Sub(arrived); off.Abs() > clockSkew {
		return fmt.Errorf("%w by %v", errClock, off.Round(time.Second))
	}
	if at.Before(arrived) { // news from the future could outlive the end of its switch
		e.at = at
	}
	return nil
}

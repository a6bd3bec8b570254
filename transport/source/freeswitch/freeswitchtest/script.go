package freeswitchtest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Channel makes a channel, which is not announced before its State is set. Without Unique-ID it gets one, which Channel returns.
func (s *Server) Channel(h Headers) string {
	h = maps.Clone(h)
	if h["Unique-ID"] == "" {
		h["Unique-ID"] = uuid.NewString()
	}
	h["Channel-Call-State"] = "DOWN"
	s.mu.Lock()
	s.channels[h["Unique-ID"]] = h
	s.mu.Unlock()
	return h["Unique-ID"]
}

// Leg makes a channel of an extension, as a phone on SIP has: outbound for one that is called, inbound for one that calls.
func (s *Server) Leg(direction, extension, far string) string {
	id := uuid.NewString()
	user, _, _ := strings.Cut(extension, "@")
	h := Headers{"Unique-ID": id, "Call-Direction": direction, "Presence-Call-Direction": direction, "Channel-Presence-ID": extension,
		"Channel-Name": "sofia/internal/" + extension, "variable_presence_id": extension, "variable_sip_call_id": "sip-" + id,
		"variable_sip_from_tag": "f-" + id[:8], "variable_sip_to_tag": "t-" + id[:8]}
	if direction == "inbound" {
		h["Caller-Destination-Number"], h["Caller-Caller-ID-Number"] = far, user
	} else {
		h["Caller-Destination-Number"], h["Caller-Caller-ID-Number"], h["Caller-Caller-ID-Name"] = user, far, `Ada "x" Lovelace`
	}
	return s.Channel(h)
}

// State changes the call state of a channel and fires the events of it: RINGING, EARLY, ACTIVE, HELD, UNHELD or HANGUP.
func (s *Server) State(id, state string) {
	h, ok := s.set(id, state)
	if !ok {
		return
	}
	s.Fire("CHANNEL_CALLSTATE", h)
	in := maps.Clone(h)
	in["proto"], in["login"], in["from"], in["event_type"], in["alt_event_type"] = "any", "fake", h["Channel-Presence-ID"], "presence", "dialog"
	in["status"] = map[string]string{"RINGING": "CS_ROUTING", "ACTIVE": "answered", "HELD": "hold", "HANGUP": "CS_HANGUP"}[state]
	if in["from"] != "" {
		s.Fire("PRESENCE_IN", in)
	}
	if state == "HANGUP" {
		s.Fire("CHANNEL_HANGUP_COMPLETE", h)
	}
}

// Quietly changes the state of a channel without an event, as if its events had been lost.
func (s *Server) Quietly(id, state string) { s.set(id, state) }

// set changes the state of a channel and returns its headers.
func (s *Server) set(id, state string) (Headers, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.channels[id]
	if h == nil {
		return nil, false
	}
	h["Original-Channel-Call-State"], h["Channel-Call-State"] = h["Channel-Call-State"], state
	h["Answer-State"] = map[string]string{"RINGING": "ringing", "EARLY": "early", "HANGUP": "hangup"}[state]
	if h["Answer-State"] == "" {
		h["Answer-State"] = "answered"
	}
	if state == "HANGUP" {
		delete(s.channels, id)
	}
	return maps.Clone(h), true
}

// Presence fires PRESENCE_IN of an application.
func (s *Server) Presence(proto, from, state, text string) {
	channel := "CS_ROUTING"
	if state == "terminated" {
		channel = "CS_HANGUP"
	}
	s.Fire("PRESENCE_IN", Headers{"proto": proto, "login": proto, "from": from, "force-status": text, "rpid": "unknown", "event_type": "presence",
		"alt_event_type": "dialog", "event_count": "1", "unique-id": from, "channel-state": channel, "answer-state": state, "presence-call-direction": "outbound"})
}

// Messages fires MESSAGE_WAITING of a mailbox, with counts such as 2/1 (0/0).
func (s *Server) Messages(mailbox, counts string) {
	waiting := "yes"
	if strings.HasPrefix(counts, "0/") {
		waiting = "no"
	}
	s.Fire("MESSAGE_WAITING", Headers{"MWI-Messages-Waiting": waiting, "MWI-Message-Account": mailbox, "MWI-Voice-Message": counts})
}

// Register registers a phone and fires the event; seconds 0 ends the registration.
func (s *Server) Register(user, host, callID string, seconds int) {
	h := Headers{"Event-Subclass": "sofia::register", "profile-name": "internal", "from-user": user, "from-host": host, "contact": "<sip:" + user + "@10.0.0.9:5060>",
		"call-id": callID, "expires": strconv.Itoa(seconds), "user-agent": "fake", "username": user, "realm": host, "status": "Registered(UDP)"}
	s.mu.Lock()
	s.registrations = slices.DeleteFunc(s.registrations, func(r Headers) bool { return r["token"] == callID })
	if seconds > 0 {
		s.registrations = append(s.registrations, Headers{"reg_user": user, "realm": host, "token": callID, "url": h["contact"],
			"expires": strconv.FormatInt(time.Now().Unix()+int64(seconds), 10)})
	}
	s.mu.Unlock()
	if seconds == 0 {
		h["Event-Subclass"] = "sofia::unregister"
	}
	s.Fire("CUSTOM", h)
}

// Restart ends all connections without a word, and all channels and registrations with them. The switch has another Core-UUID then.
func (s *Server) Restart() {
	s.mu.Lock()
	s.core, s.channels, s.registrations = uuid.NewString(), map[string]Headers{}, nil
	s.mu.Unlock()
	s.Cut()
}

// Cut ends all connections without a word.
func (s *Server) Cut() {
	for _, c := range s.all() {
		_ = c.conn.Close()
	}
}

// Disconnect ends all connections with a disconnect notice.
func (s *Server) Disconnect() {
	for _, c := range s.all() {
		c.frame("Content-Type: text/disconnect-notice\n", "Disconnected, goodbye.\nSee you at ClueCon!\n")
		_ = c.conn.Close()
	}
}

// Truncate sends half an event and ends all connections.
func (s *Server) Truncate() {
	for _, c := range s.all() {
		c.write.Lock()
		_, _ = c.conn.Write([]byte("Content-Length: 500\nContent-Type: text/event-json\n\n{\"Event-Name\":\"CHANNEL_CALLST"))
		c.write.Unlock()
		_ = c.conn.Close()
	}
}

// Raw sends bytes to all clients.
func (s *Server) Raw(text string) {
	for _, c := range s.all() {
		c.write.Lock()
		_, _ = c.conn.Write([]byte(text))
		c.write.Unlock()
	}
}

// Stall stops the heartbeats, as a switch does whose core stands still, or starts them again.
func (s *Server) Stall(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = is
}

// Skew sets the switch's clock: so much ahead of the machine's.
func (s *Server) Skew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// SetPassword sets the password of clients that connect from now on.
func (s *Server) SetPassword(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = p
}

// Reject has clients refused by their address, or not.
func (s *Server) Reject(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reject = is
}

// HideIdentity has the switch not answer what its Core-UUID and address are.
func (s *Server) HideIdentity() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silentGetvar = true
}

// Answer sets what an API command is answered from now on.
func (s *Server) Answer(command, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[command] = answer
}

// Commands returns the commands that came so far.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Clients returns how many clients listen to events.
func (s *Server) Clients() int {
	n := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		if len(c.events) > 0 {
			n++
		}
	}
	return n
}

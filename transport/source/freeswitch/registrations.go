package freeswitch

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
	"lamplight/transport/source"
)

// The bounds of what is remembered of registrations.
const (
	mostRegistered = 200000 // extensions
	mostContacts   = 20     // phones of one extension
	longestExpires = 86400  // seconds
)

// contacts are the registrations of one extension, by Call-ID, with when each lapses.
type contacts map[string]time.Time

// registration tells what became of a phone's registration. An extension goes offline with its last phone.
func (n *session) registration(ctx context.Context, e *event) error {
	who := cmp.Or(e.is[hFromUser], e.is[hUser]) + "@" + cmp.Or(e.is[hFromHost], e.is[hHost])
	a, err := presence.ParsePresenceID(who)
	if err != nil {
		n.sink.Refused("a registration of no user@realm", err.Error())
		return nil
	}
	seconds, _ := strconv.Atoi(e.is[hExpires])
	ends := e.is[hSubclass] != "sofia::register"
	if !ends && seconds <= 0 {
		n.sink.Refused("a registration without Expires", fmt.Sprintf("%s: %q", a, e.is[hExpires]))
		return nil
	}
	seconds = min(seconds, longestExpires)
	known, id := n.registrations[a.String()], cmp.Or(e.is[hCallID], e.is[hContact])
	if ends {
		delete(known, id)
		for _, until := range known {
			if until.After(e.at) {
				return nil // another phone is there
			}
		}
		delete(n.registrations, a.String())
		return n.registered(ctx, a, 0, e)
	}
	if known == nil && len(n.registrations) < mostRegistered {
		known = contacts{}
		n.registrations[a.String()] = known
	}
	for other, until := range known {
		if until.Before(e.at) {
			delete(known, other)
		}
	}
	if known != nil && len(known) < mostContacts {
		known[id] = e.at.Add(time.Duration(seconds) * time.Second)
	}
	return n.registered(ctx, a, seconds, e)
}

// registered tells that an extension is registered for some seconds; 0: not any more.
func (n *session) registered(ctx context.Context, a presence.Address, seconds int, e *event) error {
	status := "Registered"
	if seconds == 0 {
		status = "Unregistered"
	}
	return n.ordered.send(source.Document{Event: "reg_success", Subject: subject.Registration(a.Realm, a.User), Fields: map[string]any{"Event-Category": "directory",
		"Username": a.User, "Realm": a.Realm, "Expires": seconds, "Status": status, "Contact": e.is[hContact], "User-Agent": e.is[hUserAgent],
		"Call-ID": e.is[hCallID], "Event-Timestamp": e.at.Unix() + kazoo.Gregorian, "Timestamp": e.at.UnixMicro()}})
}

// resyncRegistrations asks the switch for its registrations and tells what has changed since they were last known: while the connection was
// lost, phones may have come and gone. A switch that can't be asked changes nothing.
func (n *session) resyncRegistrations(ctx context.Context) error {
	answer, err := n.sock.api(ctx, "show registrations as json")
	if err != nil {
		return err
	}
	var list struct {
		Rows []struct {
			User    string `json:"reg_user"`
			Realm   string `json:"realm"`
			Token   string `json:"token"`
			URL     string `json:"url"`
			Expires string `json:"expires"`
		} `json:"rows"`
	}
	if strings.HasPrefix(answer, "-") {
		return nil
	}
	if err := json.Unmarshal([]byte(answer), &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); err != nil {
		n.sink.Refused("a list of registrations that can't be read", fmt.Sprintf("%v: %.200q", err, answer))
		return nil
	}
	now, was := time.Now(), n.registrations
	n.registrations = map[string]contacts{}
	for _, r := range list.Rows {
		until, err := strconv.ParseInt(r.Expires, 10, 64)
		seconds := min(until-now.Unix(), longestExpires)
		a, wrong := presence.ParsePresenceID(r.User + "@" + r.Realm)
		if err != nil || wrong != nil || seconds <= 0 || len(n.registrations) >= mostRegistered {
			continue
		}
		e := &event{at: now}
		e.set(hContact, r.URL)
		e.set(hCallID, r.Token)
		all := n.registrations[a.String()]
		if all == nil {
			all = contacts{}
			n.registrations[a.String()] = all
		}
		if len(all) < mostContacts {
			all[cmp.Or(e.is[hCallID], e.is[hContact])] = now.Add(time.Duration(seconds) * time.Second)
		}
		if len(all) == 1 && was[a.String()] == nil {
			if err := n.registered(ctx, a, int(seconds), e); err != nil {
				return err
			}
		}
	}
	for extension := range was {
		if n.registrations[extension] == nil {
			if a, err := presence.ParsePresenceID(extension); err == nil {
				if err := n.registered(ctx, a, 0, &event{at: now}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

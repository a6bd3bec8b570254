package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
)

// Lamp is one lamp as clients see it. A Lamp that is in a feed does not change any more.
type Lamp struct {
	State    string `json:"state"`             // early, confirmed or terminated
	Since    string `json:"since,omitzero"`    // RFC 3339; "": not known
	Source   string `json:"source,omitzero"`   // of the dialog that lights it
	Held     bool   `json:"held,omitzero"`     // that dialog is on hold
	Offline  bool   `json:"offline,omitzero"`  // none of its devices is registered, where registrations are known, or it says so
	Messages uint32 `json:"messages,omitzero"` // new ones in the extension's mailbox
	Watchers int    `json:"watchers,omitzero"` // subscriptions
	Behind   int    `json:"behind,omitzero"`   // of these, those that should know more than they were told or have not answered
	Name     string `json:"name,omitzero"`     // of its user or device
}

// lit says whether a lamp in a state is lit.
func lit(state string) bool {
	return state == presence.Early.String() || state == presence.Confirmed.String()
}

// showParallel is how many extensions are asked at a time.
const showParallel = 64

// read reads all extensions of the account: those of its users and devices, those that are lit, and those that are watched.
func (f *feed) read(anew string) error {
	f.mu.Lock()
	f.touched = map[string]bool{}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.life, readTime)
	defer cancel()
	found, missing := map[string]*Lamp{}, 0
	of := func(user string) *Lamp {
		l := found[user]
		if l == nil && len(found) < MaxLamps {
			l = &Lamp{State: presence.Terminated.String()}
			found[user] = l
		}
		if l == nil {
			l = &Lamp{} // past the bound: it is forgotten
		}
		return l
	}
	f.names(of)
	err := f.views(ctx, found)
	for _, q := range []actors.Query{{Realm: f.realm, Lit: true}, {Realm: f.realm}} {
		if err != nil {
			break
		}
		var cover actors.Coverage
		cover, err = f.hub.cfg.Presence.List(ctx, q, func(s actors.SubscriptionView) error {
			l := of(s.User)
			if s.Lamp != nil {
				l.show(s.Lamp)
				return nil
			}
			l.Watchers++
			if s.Behind {
				l.Behind++
			}
			return nil
		})
		missing = max(missing, len(cover.Missing))
		if err == nil && cover.Stale {
			err = actors.ErrUnavailable
		}
	}
	if err != nil {
		f.setTrouble(fmt.Sprintf("the node could not read the lamps: %v", err))
		return err
	}
	words := ""
	switch {
	case missing > 0:
		words = fmt.Sprintf("%d of %d shards do not answer; their lamps may be missing", missing, actors.Shards)
	case len(found) == MaxLamps:
		words = fmt.Sprintf("the account has more than %d extensions; the others are left out", MaxLamps)
	}
	f.merge(found, anew, words)
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
	if missing > 0 {
		return errMissing
	}
	return nil
}

// errMissing says that some shards did not answer a reading. What the others said was taken.
var errMissing = errors.New("some shards do not answer")

// show takes what a View says.
func (l *Lamp) show(v *presence.View) {
	l.State, l.Since, l.Source, l.Held = v.State.String(), "", "", false
	if len(v.Dialogs) > 0 && lit(l.State) {
		d := &v.Dialogs[0]
		l.Since, l.Source, l.Held = d.Since.UTC().Format(time.RFC3339Nano), d.Source, d.Held
	}
}

// names adds the extensions of the account's users and devices, with their names. That of a user counts before that of a device.
func (f *feed) names(of func(user string) *Lamp) {
	d := f.hub.cfg.Directory
	for _, kind := range []string{directory.Devices, directory.Users} {
		for _, e := range d.List(kind, f.account) {
			user, ok := f.extension(e)
			if !ok {
				continue
			}
			name := e.Text("name")
			if kind == directory.Users {
				name = strings.TrimSpace(e.Text("first_name") + " " + e.Text("last_name"))
			}
			if l := of(user); name != "" && (kind == directory.Users || l.Name == "" || name < l.Name) {
				l.Name = name
			}
		}
	}
}

// extension returns the extension of a user or device: its presence_id, or else the device's SIP username. ok is false when there is
// none in the account's realm.
func (f *feed) extension(e *directory.Entry) (user string, ok bool) {
	name := e.Text("presence_id")
	if name == "" {
		name = e.Text("sip.username")
	}
	to, err := presence.ParseName(name, f.realm)
	return to.User, name != "" && err == nil && to.Realm == f.realm
}

// views asks each extension of a device whether it is registered, and how many messages it has. An extension is offline when the
// account has registered devices and none of the extension's own is one.
func (f *feed) views(ctx context.Context, found map[string]*Lamp) error {
	devices := f.hub.cfg.Directory.List(directory.Devices, f.account)
	registers := map[string][]string{} // by extension: as whom its devices register
	views := map[string]*presence.View{}
	for _, d := range devices {
		user, ok := f.extension(d)
		if !ok {
			continue
		}
		views[user] = nil
		if to, err := presence.ParseName(d.Text("sip.username"), f.realm); err == nil && d.Text("sip.username") != "" {
			registers[user] = append(registers[user], to.User)
			views[to.User] = nil
		}
	}
	var mu sync.Mutex // guards views and any while the extensions are asked
	any := false
	var asked errgroup.Group
	asked.SetLimit(showParallel)
	for _, user := range slices.Collect(maps.Keys(views)) {
		asked.Go(func() error {
			a := f.hub.cfg.Presence.Request(ctx, actors.Request{To: actors.Address{Realm: f.realm, User: user}, Message: actors.Show{}, Deadline: time.Now().Add(readTime)})
			if a.Err != nil {
				return a.Err
			}
			mu.Lock()
			defer mu.Unlock()
			views[user], any = a.View, any || a.View.Registered
			return nil
		})
	}
	if err := asked.Wait(); err != nil {
		return err
	}
	for user, l := range found {
		if v := views[user]; v != nil {
			l.show(v)
			l.Offline, l.Messages = v.Closed, v.Messages.New
		}
		if names := registers[user]; any && len(names) > 0 {
			here := false
			for _, name := range names {
				here = here || views[name] != nil && views[name].Registered
			}
			l.Offline = l.Offline || !here
		}
	}
	return nil
}

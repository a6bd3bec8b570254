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

	// What a reading could not find out, so that what was known before stays. They are false in a feed.
	noState, noDevices, noWatchers bool
}

// keep takes from what was known before what the reading could not find out.
func (l *Lamp) keep(old *Lamp) {
	if l.noState {
		l.State, l.Since, l.Source, l.Held = old.State, old.Since, old.Source, old.Held
	}
	if l.noDevices {
		l.Offline, l.Messages = old.Offline, old.Messages
	}
	if l.noWatchers {
		l.Watchers, l.Behind = old.Watchers, old.Behind
	}
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
	first := !f.tried
	f.tried = true
	found, missing, left := map[string]*Lamp{}, 0, false
	of := func(user string) *Lamp {
		l := found[user]
		if l == nil && len(found) < MaxLamps {
			l = &Lamp{State: presence.Terminated.String(), noState: true}
			found[user] = l
		}
		if l == nil {
			l, left = &Lamp{}, true // past the bound: it is forgotten
		}
		return l
	}
	f.names(of)
	silent, asked := f.views(ctx, found)
	var err error
	unlit := 0 // shards whose lit lamps are not known
	for _, q := range []actors.Query{{Realm: f.realm, Lit: true}, {Realm: f.realm}} {
		if err != nil {
			break
		}
		var cover actors.Coverage
		within := ctx
		if first {
			var cancel context.CancelFunc
			within, cancel = context.WithTimeout(ctx, firstList)
			defer cancel()
		}
		cover, err = f.hub.cfg.Presence.List(within, q, func(s actors.SubscriptionView) error {
			l := of(s.User)
			if s.Lamp != nil {
				l.show(s.Lamp)
				l.noState = false
				return nil
			}
			l.Watchers++
			if s.Behind {
				l.Behind++
			}
			return nil
		})
		missing = max(missing, len(cover.Missing))
		if q.Lit {
			unlit = len(cover.Missing)
		} else {
			for _, l := range found {
				l.noState = l.noState && unlit > 0 // else it is dark, because it is not lit
				l.noWatchers = len(cover.Missing) > 0 && l.Watchers == 0
			}
		}
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
	case silent > 0:
		words = fmt.Sprintf("%d of %d extensions do not answer; their lamps may be old", silent, asked)
	case left:
		words = fmt.Sprintf("the account has more than %d extensions; the others are left out", MaxLamps)
	}
	f.merge(found, anew, words, missing == 0)
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
	if missing > 0 || silent > 0 {
		return errMissing
	}
	return nil
}

// errMissing says that some shards or extensions did not answer a reading. What the others said was taken.
var errMissing = errors.New("some shards or extensions do not answer")

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
// account has registered devices and none of the extension's own is one. silent of the asked extensions do not answer.
func (f *feed) views(ctx context.Context, found map[string]*Lamp) (silent, asked int) {
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
	var mu sync.Mutex // guards views, any and silent while the extensions are asked
	any := false
	var asking sync.WaitGroup
	room := make(chan struct{}, showParallel)
	for _, user := range slices.Collect(maps.Keys(views)) {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			mu.Lock()
			enough := silent >= showFails
			mu.Unlock()
			a := actors.Answer{Err: errMissing}
			if !enough {
				within, cancel := context.WithTimeout(ctx, showTime)
				a = f.hub.cfg.Presence.Request(within, actors.Request{To: actors.Address{Realm: f.realm, User: user}, Message: actors.Show{}, Deadline: time.Now().Add(showTime)})
				cancel()
			}
			mu.Lock()
			defer mu.Unlock()
			if a.Err != nil {
				silent++
				return
			}
			views[user], any = a.View, any || a.View.Registered
		})
	}
	asking.Wait()
	for user, l := range found {
		v, isAsked := views[user]
		l.noState = v == nil
		l.noDevices = v == nil && isAsked
		for _, name := range registers[user] {
			l.noDevices = l.noDevices || views[name] == nil
		}
		if v != nil {
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
	return silent, len(views)
}

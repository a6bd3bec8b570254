package shadow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/actors/presence"
	"lamplight/cluster/status"
	"lamplight/transport/client"
)

// watchLamplight follows the changes of Lamplight's lamps as they happen.
func (s *Shadow) watchLamplight(ctx context.Context) error {
	for {
		err := s.client.Watch(ctx, s.cfg.Realm, "", client.Watcher{
			Change: func(c client.Change) error {
				state, known := presence.ParseState(c.State)
				at, err := time.Parse(time.RFC3339, c.At)
				if !known || err != nil || !strings.EqualFold(c.Realm, s.cfg.Realm) {
					return nil // another program published it
				}
				user := strings.ToLower(c.Extension)
				s.tell(ctx, func(b *book, now time.Time) { b.change(lamplight, user, state, at, now) })
				return nil
			},
			Gap: func(ctx context.Context, g client.Gap) error {
				s.log.Warn("changes of Lamplight's lamps may be missing; the next listing brings them", "since", g.Since, "err", g.Reason)
				return nil
			}})
		if err == nil || ctx.Err() != nil {
			return nil
		}
		s.log.Warn("Lamplight's lamps can't be watched; that is tried again", "err", err)
		if !pause(ctx, time.Second) {
			return nil
		}
	}
}

// listLamplight asks Lamplight for its lit lamps and its subscriptions, again and again. It returns an error if no account has the realm.
func (s *Shadow) listLamplight(ctx context.Context) error {
	for {
		s.tell(ctx, func(b *book, now time.Time) { b.begin(lamplight, now) })
		complete, err := s.listLamps(ctx)
		if err == nil {
			s.tell(ctx, func(b *book, now time.Time) { b.beginSubscriptions(now) })
			var all bool
			all, err = s.listSubscriptions(ctx)
			s.tell(ctx, func(b *book, _ time.Time) { b.allSubscriptions(all && err == nil) })
			complete = complete && all
		}
		if r, ok := errors.AsType[*client.Refusal](err); ok && r.Code == "404" {
			return fmt.Errorf("the realm %s: %w", s.cfg.Realm, err)
		}
		if ctx.Err() != nil {
			return nil
		}
		s.reached(lamplight, err == nil)
		if err != nil {
			s.log.Warn("Lamplight does not list its lamps and subscriptions; it is asked again", "err", err)
		}
		s.tell(ctx, func(*book, time.Time) { s.listed(lamplight, complete && err == nil) })
		if !pause(ctx, s.cfg.Every) {
			return nil
		}
	}
}

// listLamps asks for the lit lamps.
func (s *Shadow) listLamps(ctx context.Context) (complete bool, err error) {
	asked, cancel := context.WithTimeout(ctx, s.times.answer)
	defer cancel()
	complete = true
	err = s.client.Lamps(asked, s.cfg.Realm, client.Lit{}, func(a client.Answer) error {
		var all map[string]struct {
			State string    `json:"state"`
			Since time.Time `json:"since"`
		}
		if err := json.Unmarshal(a["Lamps"], &all); err != nil {
			return err
		}
		complete = complete && a["missing_shards"] == nil
		s.tell(ctx, func(b *book, now time.Time) {
			for user, l := range all {
				if state, known := presence.ParseState(l.State); known {
					b.lit(strings.ToLower(user), state, l.Since, now)
				}
			}
		})
		return nil
	})
	complete = complete && err == nil
	s.tell(ctx, func(b *book, now time.Time) { b.allLit(complete, now) })
	return complete, err
}

// listSubscriptions asks for the subscriptions.
func (s *Shadow) listSubscriptions(ctx context.Context) (complete bool, err error) {
	asked, cancel := context.WithTimeout(ctx, s.times.answer)
	defer cancel()
	complete = true
	err = s.client.Search(asked, s.cfg.Realm, "", func(a client.Answer) error {
		var all map[string]map[string]map[string]struct {
			From string `json:"from"`
		}
		if err := json.Unmarshal(a["Subscriptions"], &all); err != nil {
			return err
		}
		complete = complete && a["missing_shards"] == nil
		s.tell(ctx, func(b *book, now time.Time) {
			for user, packages := range all {
				for name, rows := range packages {
					for _, r := range rows {
						b.ownSubscription(strings.ToLower(user), name, userOf(r.From), now)
					}
				}
			}
		})
		return nil
	})
	return complete, err
}

// userOf is the user part of an address, in lower case.
func userOf(address string) string {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "sips:"), "sip:")
	user, _, _ := strings.Cut(address, "@")
	return strings.ToLower(user)
}

// explain asks Lamplight why a lamp is as it is.
func (s *Shadow) explain(ctx context.Context, user string) {
	soon, cancel := context.WithTimeout(ctx, s.times.answer)
	defer cancel()
	x := &explanation{asked: time.Now()}
	x.err = s.client.Show(soon, s.cfg.Realm, user, true, func(a client.Answer) error {
		var said struct {
			State   string `json:"state"`
			Dialogs []struct {
				State  string `json:"state"`
				Source string `json:"source"`
			} `json:"dialogs"`
			Explain struct {
				Transitions []struct {
					State  string    `json:"state"`
					Source string    `json:"source"`
					At     time.Time `json:"at"`
				} `json:"transitions"`
			} `json:"explain"`
		}
		if a["state"] == nil { // a part with subscriptions
			return nil
		}
		if err := a.Decode(&said); err != nil {
			return err
		}
		x.state, _ = presence.ParseState(said.State)
		for _, d := range said.Dialogs {
			state, _ := presence.ParseState(d.State)
			x.dialogs = append(x.dialogs, dialog{state, d.Source})
		}
		for _, t := range said.Explain.Transitions {
			x.transitions = append(x.transitions, transition{t.State, t.Source, t.At})
		}
		return nil
	})
	if x.err != nil && ctx.Err() == nil {
		s.log.Warn("Lamplight does not say why a lamp is as it is; it is asked again", "extension", user, "err", x.err)
	}
	if n := len(x.transitions); n > 0 && x.transitions[n-1].source == bySwitch {
		all, _ := s.client.Status(soon) // without an answer, the switch has no name
		for _, v := range status.Sources(all) {
			if v.Silent {
				x.silent = append(x.silent, silent{v.SwitchURI, v.ExpiresAt})
			}
		}
	}
	s.tell(ctx, func(b *book, now time.Time) { b.explained(user, x, now) })
}

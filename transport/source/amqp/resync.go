package amqp

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
	"lamplight/transport/source"
)

// What the keeper is told besides beats and named.
type (
	reconnected struct{ broker int }
	resyncSoon  struct{}
	told        struct{}
	answer      struct {
		node, id string
		channels map[string]jsontext.Value
	}
)

// keeper follows the media servers and resynchronizes. One goroutine has it.
type keeper struct {
	s       *Source
	servers map[string]*mediaServerState
	next    time.Time // when Kazoo is asked again
	again   bool      // this answer is the first since something happened: the second one follows soon
	advert  time.Time // when the next heartbeat of our own is due

	askedAt  time.Time
	asked    string // the Msg-ID of the question under way; "": none
	until    time.Time
	answered bool
	running  map[string]running
	about    map[string]bool // the switches whose calls the answers list
	realms   map[string]bool // those of the calls that run
	telling  bool            // what runs is being told

	since time.Time       // when the first question was asked that was answered
	swept map[string]bool // the switches whose calls from before that were compared
}

// running is a call that an answer lists.
type running struct {
	event  presence.CallEvent
	of     presence.Address
	fields map[string]any
}

// keep runs the keeper until ctx ends.
func (s *Source) keep(ctx context.Context) {
	k := &keeper{s: s, servers: map[string]*mediaServerState{}, swept: map[string]bool{}, next: time.Now().Add(24 * time.Hour)}
	t := time.NewTicker(s.times.tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-s.heard:
			k.hear(ctx, h, time.Now())
		case now := <-t.C:
			k.tick(ctx, now)
		}
	}
}

func (k *keeper) hear(ctx context.Context, h heard, now time.Time) {
	switch h := h.(type) {
	case reconnected:
		k.postpone(h.broker, now)
		k.soon(now)
	case resyncSoon:
		k.soon(now)
	case told:
		k.telling = false
	case beats:
		k.beaten(ctx, h, now)
	case answer:
		k.collect(h, now)
	case named:
		h.uris <- k.find(h.name)
	}
}

// soon has Kazoo asked at once, and once more when a call that an answer does not list can be ended.
func (k *keeper) soon(now time.Time) { k.next, k.again = now, true }

func (k *keeper) tick(ctx context.Context, now time.Time) {
	for _, z := range k.s.zones {
		if !z.reached() { // nobody knows what it would tell
			k.postpone(z.number, now)
		}
	}
	k.silent(ctx, now)
	switch {
	case k.asked != "" && now.After(k.until):
		k.compare(ctx, now)
	case k.asked == "" && !k.telling && !now.Before(k.next):
		k.ask(ctx, now)
	}
	if k.s.cfg.Serve && !now.Before(k.advert) {
		k.advert = now.Add(k.s.times.advert)
		k.s.work.Go(func() { k.s.advertise(ctx) })
	}
}

// ask asks Kazoo, in every zone, which calls run.
func (k *keeper) ask(ctx context.Context, now time.Time) {
	k.asked, k.until, k.answered = uuid.NewString(), now.Add(k.s.times.answer), false
	k.running, k.about, k.realms, k.askedAt = map[string]running{}, map[string]bool{}, map[string]bool{}, now
	k.next = now.Add(k.s.cfg.Resync)
	if k.again {
		k.next, k.again = now.Add(min(k.s.times.grace+time.Second, k.s.cfg.Resync)), false
	}
	for _, z := range k.s.zones {
		session := z.session.Load()
		if session == nil {
			continue
		}
		body, err := k.s.client.Document("query_channels_req", client.Fields{"Event-Category": "call_event", "Node": k.s.node, "Msg-ID": k.asked,
			"Server-ID": session.replies, "Fields": "all", "Active-Only": false})
		if err == nil {
			err = session.publish(ctx, "callevt", "call.status_req.channels", body)
		}
		if err != nil && ctx.Err() == nil {
			k.s.cfg.Log.Warn("Kazoo could not be asked which calls run; that is tried again", "source", k.s.Name(), "broker", client.Redacted(z.url), "err", err)
		}
	}
}

// collect notes the calls of one answer.
func (k *keeper) collect(a answer, now time.Time) {
	if a.id != k.asked || k.asked == "" {
		return
	}
	k.answered = true
	for _, m := range k.servers {
		if m.nodes[a.node] {
			for _, uri := range m.uris {
				k.about[uri] = true
			}
		}
	}
	for id, value := range a.channels {
		var c channel
		r, err := running{}, json.Unmarshal(value, &c)
		if err == nil {
			r, err = c.read(id)
		}
		if err != nil {
			k.s.sink.Refused("a call that runs can't be read", fmt.Sprintf("%v: %.300s", err, value))
			continue
		}
		if uri := r.event.SwitchURI; uri != "" {
			k.about[uri] = true
		}
		k.running[id] = r
		k.realms[strings.ToLower(string(c.Realm))] = true
	}
}

// channel is a call leg, as Kazoo lists it.
type channel struct {
	CallID       kazoo.Text `json:"Call-ID"`
	Direction    kazoo.Text `json:"Call-Direction"`
	Answered     kazoo.Flag `json:"Answered"`
	PresenceID   kazoo.Text `json:"Presence-ID"`
	Realm        kazoo.Text `json:"Realm"`
	CallerName   kazoo.Text `json:"Caller-ID-Name"`
	CallerNumber kazoo.Text `json:"Caller-ID-Number"`
	CalleeName   kazoo.Text `json:"Callee-ID-Name"`
	CalleeNumber kazoo.Text `json:"Callee-ID-Number"`
	Destination  kazoo.Text `json:"Destination"`
	FromTag      kazoo.Text `json:"From-Tag"`
	ToTag        kazoo.Text `json:"To-Tag"`
	SwitchURL    kazoo.Text `json:"Switch-URL"`
}

// read makes of a channel the document that ecallmgr would send of it. A channel of no extension has no fields.
func (c *channel) read(id string) (r running, err error) {
	r.event = presence.CallEvent{CallID: cmp.Or(string(c.CallID), id), Direction: presence.Initiator, State: presence.Confirmed, SwitchURI: switchURI(string(c.SwitchURL))}
	direction, far, name := "initiator", cmp.Or(c.CalleeNumber, c.Destination), c.CalleeName
	if c.Direction == "outbound" {
		direction, far, name, r.event.Direction = "recipient", c.CallerNumber, c.CallerName, presence.Recipient
		if !c.Answered { // ecallmgr says confirmed of a caller whose call rings
			r.event.State = presence.Early
		}
	}
	if c.PresenceID == "" {
		return r, nil
	}
	of := string(c.PresenceID)
	if user, _, ok := strings.Cut(of, "@"); ok && c.Realm != "" { // the realm is that of the account, as in a dialog_update
		of = user
	}
	if r.of, err = presence.ParseName(of, strings.ToLower(string(c.Realm))); err != nil {
		return r, err
	}
	from := "sip:" + r.of.String()
	to := from
	if far != "" {
		to = "sip:" + string(far)
		if !strings.Contains(to, "@") {
			to += "@" + r.of.Realm
		}
	}
	r.fields = map[string]any{"Presence-ID": r.of.String(), "From": from, "To": to, "Call-ID": r.event.CallID, "Direction": direction,
		"State": r.event.State.String(), "Switch-URI": r.event.SwitchURI, "Event-Package": "dialog"}
	for field, value := range map[string]kazoo.Text{"To-User": name, "From-Tag": c.FromTag, "To-Tag": c.ToTag} {
		if value != "" {
			r.fields[field] = string(value)
		}
	}
	return r, nil
}

// compare tells again what runs, and ends what two answers in a row did not list.
func (k *keeper) compare(ctx context.Context, now time.Time) {
	k.asked = ""
	if !k.answered {
		k.s.cfg.Log.Warn("no node of Kazoo's said which calls run: calls whose end was lost stay until one does", "source", k.s.Name(), "waited", k.s.times.answer)
		return
	}
	ids := make(map[string]bool, len(k.running))
	for _, r := range k.running {
		ids[r.event.CallID] = true
	}
	ended := k.s.calls.ended(ids, k.about, k.s.times.grace, now)
	k.s.cfg.Log.Info("Kazoo said which calls run", "source", k.s.Name(), "calls", len(ids), "ended", len(ended), "switches", len(k.about))
	var sweep []string // switches whose calls from before the first question, which two answers did not list, end
	for uri := range k.about {
		if !k.since.IsZero() && k.askedAt.Sub(k.since) > k.s.times.grace && !k.swept[uri] {
			k.swept[uri] = true
			sweep = append(sweep, uri)
		}
	}
	if k.since.IsZero() {
		k.since = k.askedAt
	}
	running, realms, since := k.running, k.realms, k.since
	k.running, k.telling = nil, true
	k.s.work.Go(func() {
		if k.s.tellAgain(ctx, running, ended, now) == nil && len(sweep) > 0 {
			k.s.sweep(ctx, sweep, ids, realms, since)
		}
		select {
		case k.s.heard <- told{}:
		case <-ctx.Done():
		}
	})
}

// tellAgain tells which calls run and which have ended, and waits until Lamplight has all of it.
func (s *Source) tellAgain(ctx context.Context, running map[string]running, ended []callKey, now time.Time) error {
	var all sync.WaitGroup
	tell := func(of presence.Address, callID string, fields map[string]any) error {
		all.Add(1)
		err := s.sink.Send(ctx, source.Document{Event: "dialog_update", Subject: subject.DialogUpdate(of.Realm, callID), Fields: fields}, func(error) { all.Done() })
		if err != nil {
			all.Done()
		}
		return err
	}
	for _, r := range running {
		if r.fields == nil || len(r.event.CallID) > subject.MaxName {
			continue
		}
		s.calls.note(r.of, &r.event, now)
		r.fields["Timestamp"] = s.now()
		if err := tell(r.of, r.event.CallID, r.fields); err != nil {
			return err
		}
	}
	for _, c := range ended {
		address := c.of.String()
		if err := tell(c.of, c.callID, map[string]any{"Presence-ID": address, "From": address, "To": address, "Call-ID": c.callID,
			"Direction": c.direction.String(), "State": "terminated"}); err != nil {
			return err
		}
	}
	told := make(chan struct{})
	go func() { all.Wait(); close(told) }()
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweep ends what Lamplight has of switches from before the bridge was started and that was not told again. The bridge does not remember these
// calls. Slots in which a call waits that runs are told again first.
func (s *Source) sweep(ctx context.Context, switches []string, running, realms map[string]bool, before time.Time) {
	for realm := range realms {
		if realm == "" || len(realm) > subject.MaxName {
			continue
		}
		if err := s.tellSlots(ctx, realm, running); err != nil && !unknownRealm(err) {
			if ctx.Err() == nil {
				s.cfg.Log.Warn("Lamplight did not say which parking slots are lit: calls from before the bridge was started, whose end was lost, stay until they are reset",
					"source", s.Name(), "err", err)
			}
			return
		}
	}
	for _, uri := range switches {
		n, err := s.sink.SwitchGone(ctx, uri, before)
		if err != nil && ctx.Err() == nil {
			s.sink.Refused("older calls of a switch did not end", uri+": "+err.Error())
		}
		if n > 0 {
			s.cfg.Log.Info("calls from before the bridge was started ended: Kazoo did not list them twice", "source", s.Name(), "switch", uri, "ended", n)
		}
	}
}

// tellSlots tells the parking slots of a realm again in which a call waits that runs.
func (s *Source) tellSlots(ctx context.Context, realm string, running map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	return s.client.Lamps(ctx, realm, client.Lit{Source: "register"}, func(a client.Answer) error {
		var part struct {
			Lamps map[string]struct {
				Dialogs []struct {
					CallID    string    `json:"call_id"`
					State     string    `json:"state"`
					Direction string    `json:"direction"`
					Source    string    `json:"source"`
					From      string    `json:"from"`
					To        string    `json:"to"`
					Expires   time.Time `json:"expires"`
				} `json:"dialogs"`
			}
		}
		if err := a.Decode(&part); err != nil {
			return err
		}
		for user, lamp := range part.Lamps {
			for _, d := range lamp.Dialogs {
				if d.Source != "register" || !running[d.CallID] {
					continue
				}
				fields := map[string]any{"App-Name": "park", "Presence-ID": user + "@" + realm, "From": d.From, "To": d.To, "Call-ID": d.CallID, "Direction": d.Direction,
					"State": d.State, "Timestamp": s.now()}
				if left := time.Until(d.Expires); !d.Expires.IsZero() && left > time.Second {
					fields["Expires"] = int(left.Seconds())
				}
				sent := make(chan struct{})
				if err := s.sink.Send(ctx, source.Document{Event: "dialog_update", Subject: subject.DialogUpdate(realm, d.CallID), Fields: fields}, func(error) { close(sent) }); err != nil {
					return err
				}
				select {
				case <-sent:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

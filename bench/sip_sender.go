package bench

import (
	"context"
	"time"

	"lamplight/bench/phones"
	"lamplight/transport/sip"
)

// sipGiveUpAfter is how long after its intended time a SIP request fails. A phone that gets 503 comes again after up to half a minute.
const sipGiveUpAfter = 2 * time.Minute

// sipSender plays the phones, and the switch that publishes calls. Its methods may be called from any goroutine.
type sipSender struct {
	phones    *phones.Fleet
	publisher *phones.Fleet
	failures  errorSamples
}

// newSIPSender opens the sockets. local and publisher are the IP addresses of the phones and of the switch; "": any.
func newSIPSender(ctx context.Context, s *Settings, servers []string, local, publisher string, m *model) (*sipSender, error) {
	t := sip.UDP
	if s.Transport == "tcp" {
		t = sip.TCP
	}
	w := m.world
	p := phones.Config{Servers: servers, Transport: t, Flows: s.Flows, Local: local, Find: w.findWatcher,
		Phone: func(i int32) phones.Phone {
			return phones.Phone{CallID: w.callID(i), Watcher: watcherName(i) + "@" + w.accountOf(w.watched[i]).realm, Target: w.address(w.watched[i]), Password: s.Password}
		},
		Told: func(t *phones.Told) {
			if t.Ended {
				m.addMistake("the subscription %s was ended", w.callID(t.Phone))
			}
			m.hear(&notification{extension: w.watched[t.Phone], state: lampOf(t.State), sequence: int64(t.CSeq), repeated: t.Repeated, heardAt: t.At, watchers: []int32{t.Phone}})
		}}
	if s.Via == "sip" {
		p.Count = len(w.watched)
	}
	all := &sipSender{}
	var err error
	if all.phones, err = phones.Dial(ctx, p); err != nil {
		return nil, err
	}
	if all.publisher, err = phones.Dial(ctx, phones.Config{Servers: servers[:1], Transport: t, Flows: 1, Local: publisher, Find: w.findWatcher}); err != nil {
		all.phones.Close()
		return nil, err
	}
	return all, nil
}

func (s *sipSender) close() {
	s.phones.Close()
	s.publisher.Close()
}

// unanswered is how many requests have no final answer. A nil sipSender has none.
func (s *sipSender) unanswered() int64 {
	if s == nil {
		return 0
	}
	return s.phones.Waiting() + s.publisher.Waiting()
}

// subscribe makes or refreshes the subscription of a watcher.
func (s *sipSender) subscribe(i int32, at time.Time, rec *recorder, then func(err error)) {
	s.phones.Subscribe(i, 3600, at.Add(sipGiveUpAfter), s.end(at, rec, then))
}

// publish replaces the document of a publication by one with a dialog in a state. An empty callID makes the dialog a register. What a
// switch publishes of a call that has ended it lets expire soon.
func (s *sipSender) publish(p *phones.Publication, callID string, to lamp, at time.Time, rec *recorder, then func(err error)) {
	expires := 3600
	if callID != "" && to == terminated {
		expires = 11
	}
	s.publisher.Publish(p, phones.Document(p.Target, callID, to.String()), expires, at.Add(sipGiveUpAfter), s.end(at, rec, then))
}

// end gives the function that takes the answer to a request.
func (s *sipSender) end(at time.Time, rec *recorder, then func(err error)) func(phones.Answer) {
	return func(a phones.Answer) {
		for range a.Repeats + a.RetryAfter {
			rec.repeat()
		}
		if a.Err == nil {
			rec.record(at, a.At)
		} else {
			s.failures.add(a.Err)
			rec.fail()
		}
		if then != nil {
			then(a.Err)
		}
	}
}

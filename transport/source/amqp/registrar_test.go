package amqp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
)

// Registrations of Kazoo's registrar make an extension open and closed for watchers of presence.
func TestRegistrations(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "registrar"})
	s.ready(t)
	told, err := l.n.Conn().SubscribeSync(subject.Notify("edge1"))
	if err != nil {
		t.Fatal(err)
	}
	l.subscribe("1001", "presence", "r-1", "2001")
	until := func(basic string) {
		t.Helper()
		for {
			m, err := told.NextMsg(20 * time.Second)
			if err != nil {
				t.Fatalf("nobody is told that 1001 is %s: %v", basic, err)
			}
			if n, err := kazoo.ReadNotify(m.Data); err == nil && strings.Contains(n.Body, "<basic>"+basic+"</basic>") {
				return
			}
		}
	}
	register := func(user, of string, expires any, status string) {
		k.publish("registrar", "registration.success."+subject.Token(of)+"."+user, doc{"Event-Category": "directory", "Event-Name": "reg_success", "Username": user, "Realm": of,
			"Expires": expires, "Status": status, "Contact": "<sip:" + user + "@10.0.0.9:5060>", "Event-Timestamp": time.Now().Unix() + kazoo.Gregorian, "Proxy-Protocol": "udp"})
	}
	until("open")
	register("1001", realm, 3600, "Registered")
	for range 10 { // the order in which they arrive counts, whatever is sent again
		register("1001", realm, 0, "Unregistered")
		register("1001", realm, "3600", "Registered")
	}
	register("1001", realm, 0, "Unregistered")
	until("closed")
	register("1001", realm, 3600, "Registered")
	until("open")
	register("1001", "nowhere.example.com", 60, "Registered")
	register("1001", realm, -1, "Registered")
	for reason, n := range map[string]float64{"404": 1, reasonWrong: 1} {
		eventually(t, reason+" is counted", 5*time.Second, func() bool { return s.counted("lamplight_source_refused_total", reason) == n })
	}
	eventually(t, "the queue is empty", 10*time.Second, func() bool { return depth(t, b, "registrar") == 0 })
}

// subscriptions returns who watches an extension for dialogs, with the reply to the last NOTIFY.
func (l *lamplight) subscriptions(user string) map[string]int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all := map[string]int{}
	_ = l.ask.Search(ctx, realm, "dialog", func(a client.Answer) error {
		var part struct {
			Subscriptions map[string]map[string]map[string]subscription
		}
		if err := a.Decode(&part); err != nil {
			return err
		}
		for callID, one := range part.Subscriptions[user]["dialog"] {
			all[callID] = one.Notify.Reply
		}
		return nil
	})
	return all
}

// With Kazoo's two switches on, Kamailio tells of its watchers and of what they answer. Lamplight lists them, and no NOTIFY of its own goes to
// phones: Kamailio's name as an edge is nobody's.
func TestWatchersOfKamailio(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "watchers"})
	s.ready(t)
	others, err := l.n.Conn().SubscribeSync(subject.Notify(subject.AnyEdge))
	if err != nil {
		t.Fatal(err)
	}
	watch := func(exchange, key, callID string, expires int) {
		k.publish(exchange, key, doc{"Event-Name": "subscription", "User": "sip:1001@" + realm, "From": "sip:2001@" + realm, "Event-Package": "dialog", "Expires": expires,
			"Call-ID": callID, "Server-ID": "BLF-kam1.example.com", "Queue": "BLF-kam1.example.com", "Contact": "<sip:" + callID + "@10.0.0.9>", "From-Tag": "f", "To-Tag": "t"})
	}
	shows := func(want string) {
		t.Helper()
		eventually(t, "the subscriptions are "+want, 10*time.Second, func() bool { return fmt.Sprint(l.subscriptions("1001")) == want })
	}
	watch("omnipresence", "subscribe."+subject.Token(realm)+".1001", "w-1", 3600)
	watch("omnipresence", "", "w-2", 3600)
	watch("presence", "subscriptions."+subject.Token(realm), "w-3", 3600)
	shows("map[w-1:0 w-2:0 w-3:0]")
	answer := func(key, callID string, reply int) {
		k.publish("omnipresence", key, doc{"Event-Name": "notify", "Event-Package": "dialog", "Timestamp": time.Now().Unix(), "Call-ID": callID, "From": "sip:1001@" + realm, "To": "1001@" + realm,
			"Sent": "2026-11-28 10:00:00", "Body": "Hostname : kam1\r\nNOTIFY sip:2001@10.0.0.9 SIP/2.0\r\nResponse\r\nSIP/2.0 200 OK", "Remote-CSeq": 1, "Local-CSeq": 7, "Sequence": 7,
			"Version": 3, "Reply": reply})
	}
	answer("notify."+subject.Token(realm)+".1001", "w-1", 200)
	answer("", "w-2", 500)
	shows("map[w-1:200 w-2:500 w-3:0]")
	for range 10 { // in the order in which they arrive
		watch("omnipresence", "subscribe.x.y", "w-3", 0)
		watch("omnipresence", "subscribe.x.y", "w-3", 3600)
	}
	watch("omnipresence", "subscribe.x.y", "w-3", 0)
	shows("map[w-1:200 w-2:500]")
	k.dialog("1001", "d-1", "recipient", "early")
	l.shows(map[string]string{"1001": "early"}, 10*time.Second)
	if n, _, _ := others.Pending(); n != 0 {
		t.Errorf("%d NOTIFYs are for any edge", n)
	}
	watch("omnipresence", "subscribe.x.y", "w-4", -1)
	k.publish("omnipresence", "notify.x.y", doc{"Event-Name": "notify", "To": "1001@" + realm})
	eventually(t, "what is wrong is counted", 5*time.Second, func() bool { return s.counted("lamplight_source_refused_total", reasonWrong) == 2 })
}

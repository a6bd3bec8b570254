package freeswitch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/source/freeswitch/freeswitchtest"
)

const (
	dark  = presence.Terminated
	rings = presence.Early
	talks = presence.Confirmed
)

// A call lights the lamps of both phones: that of the caller at once, that of the called one as it rings. Tags, parties and hold come along.
func TestCall(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	caller, called := b.fs.Leg("inbound", "1001@"+acme, "1002"), b.fs.Leg("outbound", "1002@"+acme, "1001")
	b.fs.State(caller, "RINGING")
	b.fs.State(called, "RINGING")
	b.lamp("1001", talks)
	b.lamp("1002", rings)
	b.fs.State(called, "ACTIVE")
	b.fs.State(caller, "ACTIVE")
	b.lamp("1002", talks)
	b.fs.State(called, "HELD")
	rendering := func(want string) {
		t.Helper()
		b.until("1002's Rendering is "+want, patience, func() bool {
			all := b.told("presence.dialog.acme%2Eexample%2Ecom.sip-" + called)
			return all[len(all)-1].Fields["Rendering"] == want
		})
	}
	rendering("no")
	b.fs.State(called, "UNHELD")
	rendering("yes")
	if d := b.view("1002").Dialogs; len(d) != 1 || d[0].CallID != "sip-"+called || d[0].Direction != presence.Recipient {
		t.Errorf("%+v", d)
	}
	for _, d := range b.told("presence.dialog.") {
		want := map[string]any{"Presence-ID": "1001@" + acme, "Direction": "initiator", "To": "<sip:1002@" + acme + ">", "From-Tag": "f-" + caller[:8], "To-Tag": "t-" + caller[:8], "Switch-URI": "sip:10.9.8.7:5060"}
		if d.Fields["Call-ID"] == "sip-"+called {
			want = map[string]any{"Presence-ID": "1002@" + acme, "Direction": "recipient", "To": `"Ada \"x\" Lovelace" <sip:1001@` + acme + `>`, "From-Tag": "t-" + called[:8], "To-Tag": "f-" + called[:8], "Switch-URI": "sip:10.9.8.7:5060"}
		}
		for name, v := range want {
			if d.Fields[name] != v {
				t.Errorf("%s is %v, want %v in %v", name, d.Fields[name], v, d.Fields)
			}
		}
	}
	b.fs.State(called, "HANGUP")
	b.fs.State(caller, "HANGUP")
	b.lamp("1001", dark)
	b.lamp("1002", dark)
	if n := len(b.told("presence.dialog.")); n != 8 { // each event comes twice or more, and what is known is not told again
		t.Errorf("%d documents were sent instead of 8", n)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if ups := b.told("lamplight.source.up."); fmt.Sprint(ups[len(ups)-1].Fields["Expires"]) != "0" {
		t.Errorf("the bridge did not say that it stops: %v", ups)
	}
}

// With --caller-ringing trying, the lamp of a caller lights when the call is answered. A channel without SIP has its UUID as Call-ID, a
// channel of nobody has no lamp, and the presence id may change.
func TestChannels(t *testing.T) {
	t.Parallel()
	b := start(t, func(_ *freeswitchtest.Server, s *Source) { s.cfg.CallerRinging = presence.Trying })
	b.ready()
	trunk := b.fs.Channel(freeswitchtest.Headers{"Call-Direction": "outbound", "Caller-Destination-Number": "2125550100"})
	b.fs.State(trunk, "RINGING")
	caller := b.fs.Leg("inbound", "1001@"+acme, "2125550100")
	b.fs.State(caller, "RINGING")
	b.until("the call of 1001 is known", patience, func() bool { return len(b.view("1001").Dialogs) == 1 })
	if v := b.view("1001"); v.State != dark || v.Dialogs[0].State != presence.Trying {
		t.Errorf("%+v", v)
	}
	b.fs.State(caller, "ACTIVE")
	b.lamp("1001", talks)
	verto := b.fs.Channel(freeswitchtest.Headers{"Call-Direction": "outbound", "Channel-Presence-ID": "any+1003@" + acme})
	b.fs.State(verto, "EARLY")
	b.lamp("1003", rings)
	if d := b.view("1003").Dialogs; d[0].CallID != verto || d[0].To != "anonymous@"+acme {
		t.Errorf("%+v", d)
	}
	b.fs.Fire("CHANNEL_CALLSTATE", freeswitchtest.Headers{"Unique-ID": verto, "Call-Direction": "outbound", "Channel-Call-State": "ACTIVE", "Channel-Presence-ID": "1004@" + acme})
	b.lamp("1004", talks)
	b.lamp("1003", dark)
	b.fs.Fire("CHANNEL_HANGUP_COMPLETE", freeswitchtest.Headers{"Unique-ID": verto, "Channel-Presence-ID": "1004@" + acme})
	b.lamp("1004", dark)
	b.fs.State(b.fs.Leg("outbound", "+4930123@"+acme, "1"), "RINGING")
	b.lamp("+4930123", rings)
	for _, d := range b.told("presence.dialog.") {
		if d.Fields["Call-ID"] == trunk {
			t.Errorf("the trunk was told: %v", d)
		}
	}
}

// What applications publish are registers: slots and rooms under their names, and the features of a user under the feature's name too.
func TestFeatures(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	for _, c := range []struct{ proto, from, lamp string }{
		{"park", "5901@" + acme, "5901"}, {"park", "park+5902@" + acme, "park+5902"}, {"conf", "3000@" + acme, "3000"}, {"queue", "q1@" + acme, "q1"},
		{"callcenter", "sales@" + acme, "callcenter+sales"}, {"flow", "333@" + acme, "flow+333"}, {"flow", "334@" + acme, "334"}, {"dnd", "1001@" + acme, "dnd+1001"},
		{"agent", "7@" + acme, "agent+7"}, {"forward", "1001@" + acme, "forward+1001"}, {"voicemail", "1001@" + acme, "voicemail+1001"},
		{"sip", "*21@" + acme, "*21"}, {"any", "*22@" + acme, "*22"},
	} {
		b.fs.Presence(c.proto, c.from, "confirmed", `Active (2 "callers")`)
		b.lamp(c.lamp, talks)
		b.fs.Presence(c.proto, c.from, "early", "Holding")
		b.lamp(c.lamp, rings)
		b.fs.Presence(c.proto, c.from, "terminated", "Empty")
		b.lamp(c.lamp, dark)
	}
	b.lamp("1001", dark) // dnd, forward and voicemail are lamps of their own
	if v := b.view("1001"); len(v.Dialogs) != 0 {
		t.Errorf("%+v", v)
	}
	b.fs.Fire("PRESENCE_IN", freeswitchtest.Headers{"proto": "sip", "from": "1009@" + acme, "presence-source": "register", "status": "Registered(UDP)", "rpid": "unknown"})
	b.fs.Fire("PRESENCE_IN", freeswitchtest.Headers{"proto": "conf", "from": "3009@" + acme, "answer-state": "odd"})
	b.until("a state that is none is counted", patience, func() bool { return b.counted("lamplight_source_refused_total", "answer-state") == 1 })
	b.lamp("1009", dark)
}

// Counts of messages light the lamps of a mailbox; the last ones win, however fast they come.
func TestMailboxes(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	for i := range 50 {
		b.fs.Messages("1001@"+acme, fmt.Sprintf("%d/1 (1/0)", 50-i))
	}
	b.until("the counts are the last ones", patience, func() bool { m := b.view("1001").Messages; return m.New == 1 && m.Saved == 1 && m.UrgentNew == 1 })
	b.lamp("*981001", talks)
	b.fs.Messages("1001@"+acme, "0/2")
	b.lamp("*981001", dark)
	b.fs.Fire("MESSAGE_WAITING", freeswitchtest.Headers{"MWI-Messages-Waiting": "yes", "MWI-Message-Account": "sip:1002@" + acme})
	b.lamp("*981002", talks)
	b.fs.Fire("MESSAGE_WAITING", freeswitchtest.Headers{"MWI-Messages-Waiting": "yes", "MWI-Message-Account": "1003@" + acme, "Call-ID": "one-phone"})
	b.fs.Messages("1004@"+acme, "many/1")
	b.until("counts that are none are counted", patience, func() bool { return b.counted("lamplight_source_refused_total", "counts") == 1 })
	b.lamp("*981003", dark)
}

// Registrations are told as reg_success. An extension with two phones stays registered until the last one leaves; those that came or went
// while the connection was lost are told after it.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	b := start(t, func(fs *freeswitchtest.Server, _ *Source) { fs.Register("1001", acme, "early-bird", 600) })
	last := func(user string) string {
		all := b.told("registration.success.acme%2Eexample%2Ecom." + user)
		if len(all) == 0 {
			return ""
		}
		f := all[len(all)-1].Fields
		if f["Event-Category"] != "directory" || f["Username"] != user || f["Realm"] != acme || f["Event-Name"] != "reg_success" {
			t.Errorf("%v", f)
		}
		return fmt.Sprint(f["Status"], " ", f["Expires"])
	}
	is := func(user, want string) {
		t.Helper()
		b.until(user+" is "+want, patience, func() bool { return strings.HasPrefix(last(user), want) })
	}
	is("1001", "Registered ")
	b.ready()
	b.fs.Register("1002", acme, "desk", 600)
	is("1002", "Registered 600")
	b.fs.Register("1002", acme, "soft", 300)
	is("1002", "Registered 300")
	b.fs.Register("1002", acme, "desk", 0)
	b.fs.Register("1003", acme, "marker", 60)
	is("1003", "Registered 60")
	is("1002", "Registered 300")
	b.fs.Register("1002", acme, "soft", 0)
	is("1002", "Unregistered 0")
	b.fs.Fire("CUSTOM", freeswitchtest.Headers{"Event-Subclass": "sofia::expire", "user": "1003", "host": acme, "call-id": "marker"})
	is("1003", "Unregistered 0")

	b.fs.Cut()
	b.fs.Register("1001", acme, "early-bird", 0)
	b.fs.Register("1004", acme, "new", 600)
	is("1001", "Unregistered 0")
	is("1004", "Registered")
}

// Calls that begin, change and end while the socket is dead are right after it, whether it ends in silence, with a notice or in the middle of
// a frame.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	for name, cut := range map[string]func(*freeswitchtest.Server){"dead": (*freeswitchtest.Server).Cut, "notice": (*freeswitchtest.Server).Disconnect,
		"truncated": (*freeswitchtest.Server).Truncate, "no frame": func(s *freeswitchtest.Server) { s.Raw("this is no header\n\n") },
		"a frame without end": func(s *freeswitchtest.Server) { s.Raw("Content-Type: text/event-json\nContent-Length: 99999999\n\n") }} {
		t.Run(name, func(t *testing.T) {
			b.until("the bridge listens", patience, func() bool { return b.fs.Clients() == 1 })
			stays, ends, answered := b.fs.Leg("outbound", "1001@"+acme, "1"), b.fs.Leg("outbound", "1002@"+acme, "2"), b.fs.Leg("outbound", "1003@"+acme, "3")
			missed := b.fs.Leg("outbound", "1004@"+acme, "4")
			for _, id := range []string{stays, ends, answered} {
				b.fs.State(id, "RINGING")
			}
			b.fs.State(stays, "ACTIVE")
			b.lamp("1001", talks)
			b.lamp("1003", rings)
			b.fs.Quietly(ends, "HANGUP")
			b.fs.Quietly(answered, "ACTIVE")
			b.fs.Quietly(missed, "RINGING")
			gone := len(b.told("presence.switch_gone"))
			cut(b.fs)
			b.lamp("1002", dark)
			b.lamp("1003", talks)
			b.lamp("1004", rings)
			b.until("the end of older calls", patience, func() bool { return len(b.told("presence.switch_gone")) > gone })
			b.lamp("1001", talks)
			if n := b.counted("lamplight_source_connected", ""); n != 1 {
				t.Errorf("connected is %v", n)
			}
			for _, id := range []string{stays, answered, missed} {
				b.fs.State(id, "HANGUP")
			}
			for _, extension := range []string{"1001", "1003", "1004"} {
				b.lamp(extension, dark)
			}
		})
	}
}

// Slots, lots and conferences that become empty while the connection is lost are put out after it. Those that the switch still lists stay lit, and
// so does what it says nothing of.
func TestEmptiedWhileLost(t *testing.T) {
	t.Parallel()
	const lots = "<lots>\n  <lot name=%q>\n%s  </lot>\n</lots>\n"
	slot := func(name string) string { return fmt.Sprintf("    <extension uuid=\"u\">%s</extension>\n", name) }
	b := start(t, nil)
	b.ready()
	b.fs.Skew(3 * time.Second) // which is not wrong enough to be passed over
	for proto, all := range map[string][]string{"park": {"lot", "5901", "5902", "park+5903"}, "conf": {"3000", "3001"}, "queue": {"q1"}, "flow": {"333"}} {
		for _, name := range all {
			b.fs.Presence(proto, name+"@"+acme, "confirmed", "x")
		}
	}
	is := func(want presence.State, all ...string) {
		t.Helper()
		for _, name := range all {
			b.lamp(name, want)
		}
	}
	again := func() { // connects again, and waits until the switch was asked
		t.Helper()
		gone := len(b.told("presence.switch_gone"))
		b.fs.Cut()
		b.until("another resync", patience, func() bool { return len(b.told("presence.switch_gone")) > gone })
	}
	park, rooms, others := []string{"lot", "5901", "5902", "park+5901", "park+5903"}, []string{"3000", "conf+3000", "3001"}, []string{"q1", "333"}
	is(talks, append(append(park, rooms...), others...)...)
	again() // a switch that knows neither command
	b.fs.Answer("valet_info", fmt.Sprintf(lots, "lot@another.example.com", ""))
	b.fs.Answer("conference json_list", "+OK No active conferences.\n")
	again()
	is(talks, append(append(park, rooms...), others...)...)
	b.fs.Answer("valet_info", fmt.Sprintf(lots, "lot@"+acme, slot("5902")))
	b.fs.Answer("conference json_list", `[{"conference_name":"3001@`+acme+`","member_count":2}]`)
	again()
	is(dark, "5901", "park+5901", "park+5903", "3000", "conf+3000")
	is(talks, append(others, "lot", "5902", "park+5902", "3001", "conf+3001")...)
	b.fs.Presence("park", "5901@"+acme, "confirmed", "x") // filled again
	is(talks, "5901", "park+5901")
	b.fs.Answer("valet_info", fmt.Sprintf(lots, "lot", "")) // a lot of all domains
	b.fs.Answer("conference json_list", "[]")
	again()
	is(dark, "lot", "5901", "5902", "3001")
	is(talks, others...)
}

// A bridge that is started again ends what it had told before and no longer lives, and shows what lives.
func TestBridgeRestart(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	stays, ends := b.fs.Leg("outbound", "1001@"+acme, "1"), b.fs.Leg("outbound", "1002@"+acme, "2")
	b.fs.State(stays, "ACTIVE")
	b.fs.State(ends, "ACTIVE")
	b.lamp("1002", talks)
	b.lamp("1001", talks)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.fs.Quietly(ends, "HANGUP")
	told := len(b.told("presence.dialog."))
	b.bridge(nil)
	b.lamp("1002", dark)
	b.lamp("1001", talks)
	for _, d := range b.told("presence.dialog.")[told:] {
		if d.Fields["Call-ID"] != "sip-"+stays {
			t.Errorf("%v was told", d)
		}
	}
	b.fs.State(stays, "HANGUP")
	b.lamp("1001", dark)
}

// When the switch was started again, its calls and what its applications held end; what scripts keep lives on.
func TestSwitchRestart(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	b.fs.State(b.fs.Leg("inbound", "1001@"+acme, "1"), "ACTIVE")
	b.fs.Presence("park", "5901@"+acme, "confirmed", "Holding")
	b.fs.Presence("flow", "333@"+acme, "confirmed", "Night")
	b.lamp("1001", talks)
	b.lamp("5901", talks)
	b.lamp("flow+333", talks)
	b.fs.Restart()
	b.lamp("1001", dark)
	b.lamp("5901", dark)
	b.lamp("park+5901", dark)
	b.lamp("flow+333", talks)
	ups := b.told("lamplight.source.up.")
	if first, last := ups[0].Fields, ups[len(ups)-1].Fields; first["Incarnation"] == last["Incarnation"] || last["Switch-URI"] != "sip:10.9.8.7:5060" {
		t.Errorf("%v, then %v", first, last)
	}
	b.fs.State(b.fs.Leg("inbound", "1001@"+acme, "1"), "ACTIVE")
	b.lamp("1001", talks)
}

// A switch that stalls, with a socket that stays open, falls silent: its lamps go out after the lease. When it goes on, they light again.
func TestStall(t *testing.T) {
	t.Parallel()
	b := start(t, func(_ *freeswitchtest.Server, s *Source) { s.silence = 500 * time.Millisecond })
	b.ready()
	id := b.fs.Leg("inbound", "1001@"+acme, "1")
	b.fs.State(id, "ACTIVE")
	b.lamp("1001", talks)
	b.fs.Stall(true)
	b.fs.Reject(true) // it does not come back through another connection
	b.until("the bridge notices", patience, func() bool { return b.counted("lamplight_source_connected", "") == 0 })
	b.until("the lamp goes out", 2*time.Minute, func() bool { return b.view("1001").State == dark })
	b.fs.Stall(false)
	b.fs.Reject(false)
	b.lamp("1001", talks)
	b.fs.State(id, "HANGUP")
	b.lamp("1001", dark)
	if !strings.Contains(b.log.String(), "sends no heartbeats") || !strings.Contains(b.log.String(), "apply-inbound-acl") {
		t.Error("the log does not say what was wrong")
	}
}

// A flood that the nodes do not take is dropped, and what lives is asked for afterwards. Messages of mailboxes keep their place.
func TestFlood(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	ended, stays := b.fs.Leg("outbound", "1002@"+acme, "2"), b.fs.Leg("outbound", "1001@"+acme, "1")
	b.fs.State(ended, "ACTIVE")
	b.lamp("1002", talks)
	open := b.gate.close()
	noise := b.fs.Leg("outbound", "1003@"+acme, "3")
	for i := range 3 * maxEvents / 4 { // each is two events
		b.fs.State(noise, []string{"ACTIVE", "HELD"}[i%2])
	}
	b.fs.State(stays, "ACTIVE")
	b.fs.State(ended, "HANGUP")
	b.fs.State(noise, "HANGUP")
	b.fs.Messages("1001@"+acme, "3/0")
	asked := strings.Count(strings.Join(b.fs.Commands(), "\n"), "show channels")
	open()
	b.lamp("1001", talks)
	b.lamp("1002", dark)
	b.lamp("1003", dark)
	b.lamp("*981001", talks)
	if now := strings.Count(strings.Join(b.fs.Commands(), "\n"), "show channels"); now <= asked {
		t.Errorf("the switch was asked %d times which channels live, before and after the flood", now)
	}
}

// A flood of what applications say fills the buffer. What is dropped is counted, and the switch is asked which slots are empty.
func TestFloodOfFeatures(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	b.fs.Presence("park", "5901@"+acme, "confirmed", "Holding")
	b.lamp("5901", talks)
	b.lamp("park+5901", talks)
	b.fs.Answer("valet_info", `<lots><lot name="park@`+acme+`"></lot></lots>`)
	open := b.gate.close()
	b.fs.Presence("flow", "333@"+acme, "confirmed", "Night") // for which the bridge waits
	for range maxEvents + 100 {
		b.fs.Presence("flow", "nobody", "confirmed", "Night")
	}
	b.fs.Presence("park", "5901@"+acme, "terminated", "Empty")
	b.until("events are dropped and counted", patience, func() bool { return b.counted("lamplight_source_refused_total", "fast enough") > 0 })
	open()
	b.lamp("5901", dark)
	b.lamp("park+5901", dark)
	b.fs.State(b.fs.Leg("outbound", "1001@"+acme, "1"), "ACTIVE")
	b.lamp("1001", talks)
}

// A wrong password ends the bridge with an error that says so.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	b := start(t, func(fs *freeswitchtest.Server, _ *Source) { fs.SetPassword("another") })
	select {
	case err := <-b.ended:
		if !errors.Is(err, errPassword) || !strings.Contains(err.Error(), "invalid") {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the bridge goes on")
	}
}

// A switch whose clock is an hour ahead or behind is right all the same, and the log says so once.
func TestClock(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	for i, skew := range []time.Duration{time.Hour, 3 * time.Second, -time.Hour, -3 * time.Second} {
		b.fs.Skew(skew)
		empty, full := fmt.Sprintf("%d1", i), fmt.Sprintf("%d2", i) // of their own for each: a clock that is set back makes news old
		b.until("the bridge listens", patience, func() bool { return b.fs.Clients() == 1 })
		said := strings.Count(b.log.String(), "clock of the switch is wrong")
		id := b.fs.Leg("inbound", "1001@"+acme, "1")
		b.fs.State(id, "ACTIVE")
		b.lamp("1001", talks)
		for _, state := range []string{"confirmed", "terminated", "confirmed", "terminated"} {
			b.fs.Presence("park", empty+"@"+acme, state, "x")
		}
		b.fs.Presence("park", full+"@"+acme, "confirmed", "x")
		b.lamp(full, talks)
		b.lamp(empty, dark)
		gone := len(b.told("presence.switch_gone"))
		b.fs.Cut() // the resync must not end what lives
		b.until("another resync", patience, func() bool { return len(b.told("presence.switch_gone")) > gone })
		b.lamp("1001", talks)
		b.fs.State(id, "HANGUP")
		b.fs.Presence("park", full+"@"+acme, "terminated", "x")
		b.lamp("1001", dark)
		b.lamp(full, dark)
		want := 0
		if skew.Abs() > clockSkew {
			want = 2 // one for each connection
		}
		if got := strings.Count(b.log.String(), "clock of the switch is wrong") - said; got > want || want > 0 && got == 0 {
			t.Errorf("with a clock that is %v ahead, the log says %d times that it is wrong, want %d", skew, got, want)
		}
	}
}

// Presence ids of realms that no account has are counted, and harm nothing. So are those without a realm.
func TestUnknownRealms(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.ready()
	b.fs.State(b.fs.Leg("inbound", "1001@10.0.0.5", "1"), "ACTIVE")
	b.fs.State(b.fs.Channel(freeswitchtest.Headers{"Call-Direction": "inbound", "Channel-Presence-ID": "1001"}), "ACTIVE")
	b.fs.State(b.fs.Leg("inbound", "1001@"+acme, "1"), "ACTIVE")
	b.lamp("1001", talks)
	b.until("both are counted", patience, func() bool {
		return b.counted("lamplight_source_refused_total", "404") > 0 && b.counted("lamplight_source_refused_total", "no user@realm") > 0
	})
}

// A switch that does not answer what it is called says it in its events.
func TestIdentityByEvent(t *testing.T) {
	t.Parallel()
	b := start(t, func(fs *freeswitchtest.Server, s *Source) { fs.HideIdentity(); s.cfg.SwitchURI = "sip:fs1" })
	b.ready()
	b.fs.State(b.fs.Leg("inbound", "1001@"+acme, "1"), "ACTIVE")
	b.lamp("1001", talks)
	if up := b.told("lamplight.source.up.")[0].Fields; up["Switch-URI"] != "sip:fs1" || len(fmt.Sprint(up["Incarnation"])) != 36 {
		t.Errorf("%v", up)
	}
}

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"lamplight/bench/peers/kamailio"
	"lamplight/bench/phones"
	"lamplight/cluster/subject"
	"lamplight/tools/need"
	"lamplight/transport/shadow/shadowtest"
	"lamplight/transport/sip"
)

// presenceServer is a Kamailio that serves presence, and what is published there.
type presenceServer struct {
	t            *testing.T
	address      string
	fleet        *phones.Fleet
	publications map[string]*phones.Publication // by extension
}

// newPresenceServer starts one that ends with the test.
func newPresenceServer(t *testing.T) *presenceServer {
	t.Helper()
	address, _, stop, err := kamailio.Start(t.TempDir())
	need.Met(t, !errors.Is(err, kamailio.ErrMissing), "Kamailio (Debian: kamailio, kamailio-presence-modules)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	k := &presenceServer{t: t, address: address, publications: map[string]*phones.Publication{}}
	if k.fleet, err = phones.Dial(t.Context(), phones.Config{Servers: []string{address}, Transport: sip.UDP, Flows: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.fleet.Close)
	k.publish("1009", "up", "confirmed") // until Kamailio answers
	return k
}

// publish publishes the state of a call of an extension, in the place of what was published of the extension before.
func (k *presenceServer) publish(user, callID, state string) {
	k.t.Helper()
	target := user + "@" + realm
	p := k.publications[user]
	if p == nil {
		p = phones.NewPublication(target)
		k.publications[user] = p
	}
	done := make(chan phones.Answer, 1)
	k.fleet.Publish(p, phones.Document(target, callID, state), 600, time.Now().Add(20*time.Second), func(a phones.Answer) { done <- a })
	if a := <-done; a.Err != nil {
		k.t.Fatalf("PUBLISH of %s: %v", user, a.Err)
	}
}

// dialog tells Lamplight the state of a call of an extension.
func (p *process) dialog(user, callID, state string) {
	p.t.Helper()
	p.send(subject.DialogUpdate(realm, callID), "dialog_update", map[string]any{"Presence-ID": user + "@" + realm, "From": "sip:" + user + "@" + realm, "To": "sip:2125550100@" + realm,
		"Call-ID": callID, "Direction": "recipient", "State": state, "Switch-URI": "sip:10.0.0.7:5060"})
}

// Faults of Debian's Kamailio, as its own watchers see them, are named by the command, and so is one of Lamplight's side. A call of which both
// tell the same is none.
func TestShadowOverSIP(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	k := newPresenceServer(t)
	both := func(user, callID, state string) {
		t.Helper()
		p.dialog(user, callID, state)
		k.publish(user, callID, state)
	}
	p.dialog("1006", "other", "confirmed") // nobody compares it
	both("1007", "before", "confirmed")    // it began before the comparison
	c := shadowtest.Start(t, binary, "--realm", realm, "--nats", p.nats, "--watch", "1001,1002,1003,1004,1005,1007", "--server", k.address)
	c.Await(6, "extensions", "agreed")
	c.Await(1, "listings", "lamplight", "complete")
	changes := func() float64 {
		return c.Sum("later", "lamplight", "changes") + c.Sum("later", "running_system", "changes")
	}
	agree := func(user, callID string, states ...string) { // each state is told to both sides, and the command has seen that they tell it
		t.Helper()
		for _, state := range states {
			before := changes()
			both(user, callID, state)
			eventually(t, user+" is "+state+" at both sides", 20*time.Second, func() bool { return changes() > before })
		}
	}
	agree("1005", "same", "early", "confirmed", "terminated")
	agree("1007", "before", "terminated")
	agree("1001", "lost", "confirmed")
	p.dialog("1001", "lost", "terminated")
	f := c.Names("1001", "lost hang-up", `became terminated at .* told confirmed at .* and nothing since`)
	if f.Lamplight.State != "terminated" || f.Running.State != "confirmed" || len(f.Events.Lamplight) != 2 || len(f.Events.Running) < 2 {
		t.Errorf("%+v", f)
	}
	agree("1002", "late", "early", "confirmed", "terminated")
	delete(k.publications, "1002") // of one publication, Kamailio lets no dialog begin again; this is another one, of the same call
	k.publish("1002", "late", "early")
	c.Names("1002", "early after terminated", `told terminated at .* and then early of the same call late at`)
	agree("1003", "unheard", "confirmed")
	k.publish("1003", "unheard", "terminated")
	c.Names("1003", "event lost on the way to Lamplight", `told of a call of its own, and then terminated at`)
	agree("1004", "dead", "confirmed")
	p.send(subject.SwitchGone, "switch_gone", map[string]any{"Switch-URI": "sip:10.0.0.7:5060"})
	c.Names("1004", "dead switch", `for gone at .* and ended its calls; .* the running system: 1; `)
	k.publish("1001", "lost", "terminated")
	eventually(t, "a difference is over", 20*time.Second, func() bool { return c.All("1001")[0].Over })
	c.Stop()
	if all := c.All(""); len(all) != 4 {
		t.Errorf("%+v", all)
	}
}

// The commands of docs/from-kamailio.md work as they stand. The test only replaces the ports, and the password, for which Kamailio does not ask.
func TestFromKamailio(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	k := newPresenceServer(t)
	k.publish("1002", "forgotten", "confirmed")
	text, err := os.ReadFile("../../docs/from-kamailio.md")
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, checkout(t), "LAMPLIGHT_HTTP=127.0.0.1:0")
	moved := strings.NewReplacer("nats://127.0.0.1:4222", p.nats, "127.0.0.1:5070", k.address)
	var out string
	lines := 0
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			lines++
			out += w.paste(moved.Replace(line))
		}
	}
	for _, want := range []string{"difference 1: 1002@" + realm + " is terminated at Lamplight and confirmed at the running system: unknown\n", "2 extensions compared: 1 agree, 0 wait, 1 differ",
		"\nCAUSE    DIFFERENCES\nunknown  1\n", "\nLATER"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if lines != 3 {
		t.Errorf("the page has %d lines to paste", lines)
	}
}

// What can't work ends the command, and the words say what would be right. What may come back does not.
func TestShadowRefuses(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--sip-udp", "127.0.0.1:0")
	p.sample()
	line := func(more ...string) []string {
		return append([]string{"shadow", "--nats", p.nats, "--http", "127.0.0.1:0", "--realm"}, more...)
	}
	fails(t, "give --amqp for a Kazoo, or --watch for another presence server", line(realm)...)
	fails(t, "--amqp and --watch can't be used together", line(realm, "--amqp", "amqp://a/", "--watch", "1001")...)
	fails(t, `it must be URLs such as amqp://user:password@10.0.0.20/`, line(realm, "--amqp", "http://a")...)
	fails(t, `--watch: it is "sip:"`, line(realm, "--watch", "1001,sip:")...)
	fails(t, "--server is \"here\"", line(realm, "--watch", "1001", "--server", "here")...)
	fails(t, "--expires is 1; it must be 60 to 3600", line(realm, "--watch", "1001", "--expires", "1")...)
	fails(t, "the realm other.example.com: bad_identifier: no account has the realm", line("other.example.com", "--watch", "1001", "--server", "127.0.0.1:1")...)
	// This edge asks for a password.
	_, rest, _ := strings.Cut(p.stdout.String(), "sip udp listening on ")
	edge, _, _ := strings.Cut(rest, "\n")
	fails(t, "the server answered 401: give the user with --as, and its password with --password-file", line(realm, "--watch", "1001", "--server", strings.TrimSpace(edge))...)
	// Nobody answers here. The command goes on until it is interrupted, compares nothing, and ends well.
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	cmd := exec.Command(binary, line(realm, "--watch", "1001", "--server", silent.LocalAddr().String(), "--interval", "100ms")...)
	var out, talk transcript
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that the extension is not watched", 30*time.Second, func() bool {
		return strings.Contains(talk.String(), "an extension is not watched at the running system")
	})
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), fmt.Sprintf("%d extensions compared", 0)) {
		t.Errorf("%v: %s%s", err, out.String(), talk.String())
	}
}

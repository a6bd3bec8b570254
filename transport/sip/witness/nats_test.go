package witness

import (
	"os"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/cmd/lamplight/node"
	"lamplight/tools/need"
)

// natsSource is Kamailio that publishes its calls to the NATS server of a node.
func natsSource(t *testing.T, n *node.Node) *source {
	t.Helper()
	for _, module := range []string{"nats.so", "jansson.so"} {
		_, err := os.Stat("/usr/lib/x86_64-linux-gnu/kamailio/modules/" + module)
		need.Met(t, err == nil, "%s of Kamailio (Debian: kamailio-nats-modules, kamailio-extra-modules)", module)
	}
	s := &source{t: t, cseq: new(int), addr: "127.0.0.1:" + freePort(t), file: "nats.cfg", defines: map[string]string{"NATSURL": "nats://" + n.Addr(node.NATS), "DOMAIN": acme,
		"SOURCE": "kam1", "SELF": "sip:kam1", "EXPIRES": "4", "TIMER": "name=alive;interval=1;mode=1"}}
	s.start()
	return s
}

// dialogs are the dialogs of an extension, as its owner shows them.
func dialogs(t *testing.T, n *node.Node, extension string) []string {
	t.Helper()
	a := n.Router().Request(t.Context(), actors.Request{To: actors.Address{Realm: acme, User: extension}, Message: actors.Show{}, Deadline: time.Now().Add(5 * time.Second)})
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	var all []string
	for _, d := range a.View.Dialogs {
		all = append(all, strings.Join([]string{d.State.String(), d.Direction.String(), d.From, d.To, d.ToName, d.SwitchURI}, " "))
	}
	return all
}

// TestKamailioOverNATS has Kamailio publish its calls over NATS: an answered one, one that is cancelled, one of a caller with a display name
// that no JSON text may hold as it is. When Kamailio dies in a call, the lamps go out with its source's time, and when it is started again
// they stay out.
func TestKamailioOverNATS(t *testing.T) {
	n := startNode(t, trustLoopback)
	p := watcher(t, n)
	s := natsSource(t, n)
	callee, caller := watches(t, p, "1001", "dialog"), watches(t, p, "1002", "dialog")
	s.callee("1001")
	s.calls(ringing, talk, pause(ring), bye)
	callee.shows("", "early", "confirmed", "")
	caller.shows("", "confirmed", "")

	s.cancelled("1001")
	s.calls(ringing, pause(ring), cancel)
	callee.shows("", "early", "confirmed", "", "early", "")
	caller.shows("", "confirmed", "", "confirmed", "")

	const name = `Ada \"the \\ first\"`
	named := func(text step) step {
		return step(strings.ReplaceAll(string(text), "From: <sip:1002", `From: "`+name+`" <sip:1002`))
	}
	s.callee("1001")
	runSIPp(t, scenario(named(invite), ringing, named(talk), pause(30*time.Second)), "-m", "1", s.addr)
	callee.shows("", "early", "confirmed", "", "early", "", "early", "confirmed")
	want := "confirmed recipient 1001@" + acme + " 1002@" + acme + " "
	if got := dialogs(t, n, "1001"); len(got) != 1 || !strings.HasPrefix(got[0], want+"Ada ") || !strings.HasSuffix(got[0], `first" sip:kam1`) && !strings.HasSuffix(got[0], `first\" sip:kam1`) {
		t.Errorf("1001 shows %q", got)
	}
	if refused := metric(t, n, "lamplight_documents_refused_total", ""); refused != 0 {
		t.Errorf("%d documents were refused", refused)
	}
	s.kill()
	callee.shows("", "early", "confirmed", "", "early", "", "early", "confirmed", "")
	caller.shows("", "confirmed", "", "confirmed", "", "confirmed", "")
	s.start()
	s.callee("1001")
	s.calls(ringing, talk, pause(ring), bye)
	callee.shows("", "early", "confirmed", "", "early", "", "early", "confirmed", "", "early", "confirmed", "")
}

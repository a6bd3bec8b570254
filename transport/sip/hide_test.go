package sip_test

import (
	"maps"
	"strings"
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

// hide sets or takes back presence.hide_parties of an entry of acme.
func hide(t *testing.T, n *node.Node, kind string, hides bool, of func(e *directory.Entry) bool) {
	t.Helper()
	account, err := n.Directory().FindRealm(within(t), acme)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range n.Directory().List(kind, account) {
		if !of(e) {
			continue
		}
		fields := maps.Clone(e.Fields)
		fields["presence"] = map[string]any{"hide_parties": hides}
		if _, err := n.Directory().Put(within(t), account, kind, account, e.ID, fields, e); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no such entry")
}

// An account or a device hides who 1001 speaks with from phones, from the next NOTIFY on. Administrators see it still.
func TestHiddenParties(t *testing.T) {
	n := startNode(t, trustLoopback)
	s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
	told := func(callID string, hidden bool) {
		t.Helper()
		call(t, n, callID, presence.Early)
		if _, err := s.Until(within(t), func(n *phone.Notify) bool {
			return contains(n.Body, `call-id="`+callID+`"`) && contains(n.Body, "2125550100") != hidden && contains(n.Body, "<remote>") != hidden
		}); err != nil {
			t.Fatal(err)
		}
		a := n.Router().Request(within(t), actors.Request{To: actors.Address{Realm: acme, User: "1001"}, Message: actors.Show{}})
		if a.Err != nil || len(a.View.Dialogs) != 1 || a.View.Dialogs[0].To != "2125550100@"+acme {
			t.Errorf("administrators see %+v, %v", a.View, a.Err)
		}
		for _, w := range a.Subscriptions {
			if strings.Contains(w.Body, "2125550100") == hidden {
				t.Errorf("the listing has the body %s", w.Body)
			}
		}
		call(t, n, callID, presence.Terminated)
	}
	account := func(*directory.Entry) bool { return true }
	device := func(user string) func(e *directory.Entry) bool {
		return func(e *directory.Entry) bool { return e.Text("sip.username") == user }
	}
	told("k1", false)
	hide(t, n, directory.Accounts, true, account)
	told("k2", true)
	hide(t, n, directory.Accounts, false, account)
	hide(t, n, directory.Devices, true, device("1003"))
	told("k3", false)
	hide(t, n, directory.Devices, true, device("1001"))
	told("k4", true)
	hide(t, n, directory.Devices, false, device("1001"))
	told("k5", false)
}

// --hide-parties hides the parties of all extensions.
func TestAllPartiesHidden(t *testing.T) {
	n := startNode(t, trustLoopback, func(c *node.Config) { c.HideParties = true })
	s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
	call(t, n, "k1", presence.Confirmed)
	if body := shows(t, s, `call-id="k1"`).Body; contains(body, "2125550100") || contains(body, "<remote>") {
		t.Error(body)
	}
}

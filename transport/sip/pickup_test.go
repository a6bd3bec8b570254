package sip_test

import (
	"crypto/md5"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"lamplight/actors/presence"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"
)

// A profile with pickup-cookie has the switch of a call before its Call-ID, behind the edge of the node and behind one that runs alone.
func TestPickupCookie(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profiles.yaml")
	if err := os.WriteFile(file, []byte("- {name: default, pickup-cookie: true}"), 0o600); err != nil {
		t.Fatal(err)
	}
	profiles, err := profile.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	n := startNode(t, func(c *sip.Config) { trustLoopback(c); c.Profiles = profiles })
	plain := startNode(t, trustLoopback)

	alone := startLoneWith(t, n, "alone", "127.0.0.1:0", profiles).dial(t, sip.TCP)

	const uri = "sip:10.0.0.5:11000"
	sum := md5.Sum([]byte(uri))
	cookie := "kfp+02" + hex.EncodeToString(sum[:]) + "@k1"
	ring := presence.CallEvent{CallID: "k1", State: presence.Early, From: "1001@" + acme, To: "1002@" + acme, SwitchURI: uri}
	news(t, n, ring)
	news(t, plain, ring)
	for want, s := range map[string]*phone.Subscription{`id="k1" call-id="` + cookie + `"`: watch(t, dial(t, n, sip.TCP), "1001", "dialog"),
		`id="k1" call-id="` + cookie + `" direction`: watch(t, alone, "1001", "dialog"), `id="k1" call-id="k1"`: watch(t, dial(t, plain, sip.TCP), "1001", "dialog")} {
		shows(t, s, want)
	}
}

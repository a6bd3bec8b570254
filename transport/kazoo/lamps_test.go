package kazoo

import (
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Whatever names and Call-IDs come in, a listing of lamps can be parsed, and has the lamps that there are and no others.
func FuzzLamps(f *testing.F) {
	f.Add("1001", "k-1@10.0.0.5", "2125550100@acme.example.com")
	f.Add(`1001":{},"`, `k"`, `\`)
	f.Add("}", "{", "\n")
	f.Fuzz(func(t *testing.T, user, callID, to string) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
		user, callID, to = valid(user), valid(callID), valid(to)
		since := time.Unix(1_790_000_000, 0)
		var b []byte
		var l Lamps
		users := []string{user, user + "x", user + "y"}
		for _, u := range users {
			b = l.Row(b, &actors.SubscriptionView{User: u, Lamp: &presence.View{State: presence.Early, Dialogs: []presence.DialogView{
				{CallID: callID, State: presence.Early, Source: "call", Since: since, To: to}, {CallID: to, State: presence.Confirmed, Source: "manual", Since: since.Add(time.Hour)}}}})
		}
		var got map[string]struct {
			State   string    `json:"state"`
			Since   time.Time `json:"since"`
			Source  string    `json:"source"`
			Dialogs []struct {
				CallID string `json:"call_id"`
				To     string `json:"to"`
			} `json:"dialogs"`
		}
		parse(t, l.End(b), &got)
		if len(got) != len(users) {
			t.Fatalf("%d lamps are listed, want %d", len(got), len(users))
		}
		for _, u := range users {
			if g := got[u]; g.State != "early" || g.Source != "call" || !g.Since.Equal(since) || len(g.Dialogs) != 2 || g.Dialogs[0].CallID != callID || g.Dialogs[0].To != to || g.Dialogs[1].CallID != to {
				t.Fatalf("%q is listed as %+v", u, g)
			}
		}
	})
}

// No lamp at all is an object too.
func TestNoLamps(t *testing.T) {
	var l Lamps
	if got := string(l.End(nil)); got != "{}" {
		t.Error(got)
	}
}

package kazoo

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Whatever names, Call-IDs and headers come in, what a listing, its summary and the answer about an extension hold can be parsed, and
// has the entries that exist and no others.
func FuzzListing(f *testing.F) {
	f.Add("1001", "call-1@10.0.0.9", "1002@acme.example.com", "x")
	f.Add(`1001","x":{"dialog":{}},"`, `c"`, `\`, "\x00\u2028</script>")
	f.Add(`a`, `c":{"expires":1}},"evil":{"dialog":{"c2`, "}", "{")
	f.Add("\\", "\"", "\n", "\t")
	f.Fuzz(func(t *testing.T, user, callID, from, other string) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
		user, callID, from, other = valid(user), valid(callID), valid(from), valid(other)
		rows := []actors.SubscriptionView{}
		want := map[string]map[string]map[string]bool{}
		for _, u := range []string{user, "1001", user + "x"} {
			for _, c := range []string{callID, callID + `"`, "c1"} {
				for _, p := range []presence.Package{presence.Dialog, presence.Presence} {
					if want[u][p.String()][c] {
						continue
					}
					if want[u] == nil {
						want[u] = map[string]map[string]bool{}
					}
					if want[u][p.String()] == nil {
						want[u][p.String()] = map[string]bool{}
					}
					want[u][p.String()][c] = true
					s := actors.SubscriptionView{User: u, Package: p, Stalker: other}
					s.CallID, s.From, s.UserAgent, s.Contact, s.ProxyRoute, s.Body = c, from, other, from, callID, other+from
					rows = append(rows, s)
				}
			}
		}
		slices.SortFunc(rows, func(a, b actors.SubscriptionView) int {
			return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Package, b.Package), cmp.Compare(a.CallID, b.CallID))
		})
		write := func(l *Listing) []byte {
			var b []byte
			for i := range rows {
				b = l.Row(b, &rows[i])
			}
			return l.End(b)
		}
		var got map[string]map[string]map[string]struct {
			From string `json:"from"`
		}
		parse(t, write(&Listing{}), &got)
		same(t, want, got)
		for u, packages := range got {
			for p, calls := range packages {
				for c, s := range calls {
					if !want[u][p][c] || s.From != from {
						t.Fatalf("%q %q %q from %q is listed", u, p, c, s.From)
					}
				}
			}
		}
		var counts map[string]map[string]int
		parse(t, write(&Listing{Summary: true}), &counts)
		for u, packages := range counts {
			for p, n := range packages {
				if n != len(want[u][p]) {
					t.Fatalf("the summary counts %d of %q %q, want %d", n, u, p, len(want[u][p]))
				}
			}
		}
		a := actors.Answer{Subscriptions: rows, Explanation: &actors.Explanation{Node: other}}
		a.View = &presence.View{}
		a.View.Dialogs = []presence.DialogView{{CallID: callID, Source: other, From: from, To: user}}
		var one struct {
			Extension string `json:"extension"`
			Dialogs   []struct {
				CallID string `json:"call_id"`
				From   string `json:"from"`
				To     string `json:"to"`
			} `json:"dialogs"`
			Subscriptions map[string]map[string]map[string]jsontext.Value `json:"subscriptions"`
			Explain       struct {
				Node string `json:"node"`
			} `json:"explain"`
		}
		parse(t, AppendExtension(nil, user, &a), &one)
		same(t, want, one.Subscriptions)
		if one.Extension != user || len(one.Dialogs) != 1 || one.Dialogs[0].CallID != callID || one.Dialogs[0].From != from || one.Dialogs[0].To != user || one.Explain.Node != other {
			t.Fatalf("%+v", one)
		}
	})
}

func parse(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// same fails unless the listing has as many extensions, event packages and Call-IDs as are wanted.
func same[T any](t *testing.T, want map[string]map[string]map[string]bool, got map[string]map[string]map[string]T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d extensions are listed, want %d", len(got), len(want))
	}
	for u, packages := range want {
		for p, calls := range packages {
			if len(got[u][p]) != len(calls) || len(got[u]) != len(packages) {
				t.Fatalf("%d Call-IDs of %q %q are listed, want %d", len(got[u][p]), u, p, len(calls))
			}
		}
	}
}

// Only a dialog that is held says so.
func TestDialogsThatAreHeld(t *testing.T) {
	text := string(AppendDialogs(nil, []presence.DialogView{{CallID: "k-1", State: presence.Confirmed}, {CallID: "k-2", State: presence.Confirmed, Held: true}}))
	first, second, _ := strings.Cut(text, `"k-2"`)
	if strings.Contains(first, "held") || !strings.HasSuffix(second, `,"held":true}]`) {
		t.Error(text)
	}
}

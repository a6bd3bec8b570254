package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/budget"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/access"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"
)

// Two accounts share a node, and one of them floods it: with requests over HTTP, with news, with changes for its watchers, and with
// subscriptions. What is above its budgets is refused, or held back, and counted. The other account is served all the while, and in the end
// every lamp of the first one is right too.
func TestTenants(t *testing.T) {
	c := nodetest.Config("a", t.TempDir())
	c.Budgets = budget.Limits{budget.Requests: 20, budget.Events: 50, budget.Notifies: 20, budget.Subscriptions: 12}
	c.SIP = &sip.Config{Name: "edge1", NoAuth: true, Profiles: profile.Default(), Listen: []sip.Listen{{Transport: sip.UDP, Address: "127.0.0.1:0"}}}
	n := nodetest.Start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const loud, quiet = "loud.example.com", "quiet.example.com"
	ids := map[string]string{loud: "000000000000000000000000000000a1", quiet: "000000000000000000000000000000b1"}
	if _, err := n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"id": ids[loud], "realm": loud, "name": "A"}, {"id": ids[quiet], "realm": quiet, "name": "B"}}}); err != nil {
		t.Fatal(err)
	}
	key, err := access.LoadOrCreateKey(c.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	get := func(realm string) int {
		token, err := access.Sign(key, ids[realm], time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		q, _ := http.NewRequestWithContext(ctx, "GET", "http://"+n.Addr(node.HTTP)+"/v2/accounts/"+ids[realm]+"/presence/1001", nil)
		q.Header.Set("X-Auth-Token", token)
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode == 429 && a.Header.Get("Retry-After") == "" {
			t.Error("a 429 without Retry-After")
		}
		return a.StatusCode
	}
	codes := map[int]int{}
	for range 80 { // a refusal is held back for 50 ms
		codes[get(loud)]++
	}
	if codes[200] < 20 || codes[429] == 0 || codes[200]+codes[429] != 80 {
		t.Errorf("80 requests above a budget of 20 a second were answered %v", codes)
	}
	if code := get(quiet); code != 200 {
		t.Errorf("the other account's request was answered %d", code)
	}

	// Subscriptions: the bound counts, refreshes pass, and a phone hears 480 with Retry-After.
	subscribe := func(realm string, i int) error {
		return n.Router().Request(ctx, actors.Request{To: actors.Address{Realm: realm, User: strconv.Itoa(1000 + i)},
			Message: presence.Subscribe{CallID: fmt.Sprint("c", i), From: "9@" + realm, ServerID: "edge", Expires: 1800}}).Err
	}
	for i := range 12 {
		if err := subscribe(loud, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := 12; i < 50; i++ {
		if err := subscribe(loud, i); !errors.Is(err, presence.ErrTooManySubscriptions) {
			t.Fatalf("subscription %d above the bound: %v", i, err)
		}
	}
	if err := errors.Join(subscribe(loud, 3), subscribe(quiet, 1)); err != nil {
		t.Errorf("a refresh, and a subscription of the other account: %v", err)
	}
	p, err := phone.Dial(ctx, phone.Config{Server: n.SIP().Addr(sip.UDP), Transport: sip.UDP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	ask := func(realm string) error {
		_, err := p.Subscribe(ctx, phone.Subscribe{Watcher: "7@" + realm, Target: "1001@" + realm, Package: "dialog", Expires: 600})
		return err
	}
	if err := ask(loud); err == nil || !strings.Contains(err.Error(), "480") {
		t.Errorf("a phone of an account with too many subscriptions heard: %v", err)
	}
	if err := ask(quiet); err != nil {
		t.Errorf("a phone of the other account heard: %v", err)
	}

	// News and NOTIFYs: a sender that repeats what was refused has every lamp right in the end, and every watcher is told. What nobody repeats
	// is refused above the budget and its queue.
	edge, err := n.Conn().SubscribeSync(subject.Notify("edge"))
	if err != nil {
		t.Fatal(err)
	}
	sender := client.NewSender(n.Conn(), "")
	if err := sender.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Stop(context.Background()) }()
	news := func(realm string, ext, i int) (string, []byte) {
		call := fmt.Sprintf("k%d-%d", ext, i)
		state := []string{"early", "confirmed", "terminated"}[i%3]
		if i%3 > 0 {
			call = fmt.Sprintf("k%d-%d", ext, i-i%3)
		}
		to := fmt.Sprint(1000+ext) + "@" + realm
		return subject.DialogUpdate(realm, call), []byte(fmt.Sprintf(`{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"dialog_update","Msg-ID":"%s-%d","From":"%s","To":"2@%s","Call-ID":"%s","State":"%s"}`,
			call, i, to, realm, call, state))
	}
	var left atomic.Int32
	left.Store(12 * 29)
	done := make(chan error, 12*29)
	for ext := range 12 {
		for i := range 29 { // the last news of each extension is "confirmed"
			topic, d := news(loud, ext, i)
			sender.Go(topic, d, time.Now().Add(100*time.Second), func(s client.Sent) {
				done <- s.Err
				left.Add(-1)
			})
		}
	}
	asked := time.Now()
	topic, d := news(quiet, 1, 0)
	answer, err := n.Conn().RequestWithContext(ctx, topic, d)
	if err != nil || !strings.Contains(string(answer.Data), `"ok"`) || left.Load() == 0 {
		t.Errorf("the other account's news, while %d of the first one's wait: %v, after %v", left.Load(), err, time.Since(asked))
	}
	answers, err := n.Conn().SubscribeSync(n.Conn().NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	const sets = 300 // more than wait in the queue, however slowly the news comes
	for range sets {
		set := `{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"set","Msg-ID":"s","Realm":"` + loud + `","Username":"1001","State":"confirmed"}`
		if err := n.Conn().PublishRequest(subject.Set(loud, "1001"), answers.Subject, []byte(set)); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for range sets {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Data), kazoo.OverBudget) && strings.Contains(string(m.Data), "--account-events") {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("of %d commands above the budget none was refused", sets)
	}
	for range 12 * 29 {
		if err := <-done; err != nil {
			t.Errorf("news that is repeated: %v", err)
		}
	}
	right := map[string]bool{}
	for len(right) < 12 {
		m, err := edge.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatalf("%d of 12 extensions had their watchers told the last state: %v", len(right), err)
		}
		d, err := kazoo.ReadNotify(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(d.Presentity, loud) {
			if right[d.Presentity] = d.State == "confirmed"; !right[d.Presentity] {
				delete(right, d.Presentity)
			}
		}
	}
	for i := range 12 {
		a := n.Router().Request(ctx, actors.Request{To: actors.Address{Realm: loud, User: strconv.Itoa(1000 + i)}, Message: actors.Show{}})
		if a.Err != nil || a.View.State != presence.Confirmed {
			t.Errorf("the lamp of %d is %v, %v", 1000+i, a.View.State, a.Err)
		}
	}
	if v := metric(t, n, `lamplight_account_refused_total{budget="subscriptions"}`); v < 39 {
		t.Errorf("%v refused subscriptions are counted", v)
	}
	for _, name := range []string{`lamplight_account_refused_total{budget="requests"}`, `lamplight_account_refused_total{budget="events"}`, `lamplight_account_held_total{budget="events"}`} {
		if metric(t, n, name) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
}

// metric is a value of /metrics.
func metric(t *testing.T, n *node.Node, name string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(page(t, "http://"+n.Addr(node.HTTP)+"/metrics"), "\n") {
		if text, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Errorf("there is no metric %s", name)
	return 0
}

func page(t *testing.T, url string) string {
	t.Helper()
	a, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

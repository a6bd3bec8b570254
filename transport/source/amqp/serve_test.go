package amqp

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
)

// subscribe subscribes a phone to an extension.
func (l *lamplight) subscribe(user, eventPackage, callID, from string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := l.ask.Ask(ctx, subject.Subscription(realm, user), "subscription", client.Fields{"User": user + "@" + realm, "From": from + "@" + realm, "Call-ID": callID,
		"Event-Package": eventPackage, "Server-ID": "edge1", "Contact": "<sip:" + from + "@10.0.0.9>", "Expires": 3600, "User-Agent": "phone"}, func(client.Answer) error { return nil }); err != nil {
		l.t.Fatal(err)
	}
}

// search asks as Crossbar does and returns the answers.
func (k *fakeKazoo) search(fields doc) (parts []doc, resp doc) {
	k.t.Helper()
	id := fmt.Sprint("search-", time.Now().UnixNano())
	k.mu.Lock()
	q := doc{"Event-Name": "search_req", "App-Name": "crossbar", "Realm": realm, "Server-ID": k.queue, "Msg-ID": id}
	k.mu.Unlock()
	for name, value := range fields {
		q[name] = value
	}
	k.publish("presence", "presence.search_req."+subject.Token(realm), q)
	eventually(k.t, "the search is answered", 10*time.Second, func() bool {
		for _, d := range k.received("search_resp") {
			if d["Msg-ID"] == id {
				resp = d
			}
		}
		return resp != nil
	})
	for _, d := range k.received("search_partial_resp") { // which came before it
		if d["Msg-ID"] == id {
			parts = append(parts, d)
		}
	}
	return parts, resp
}

// A bridge that serves answers Crossbar's searches, advertises the presence role, and asks Kazoo for the state of what is watched for the first time.
func TestServe(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	l.run(Config{Brokers: []string{b.url()}, Queue: "serve", Serve: true}).ready(t)
	l.subscribe("1001", "dialog", "s-1", "2001")
	l.subscribe("1001", "dialog", "s-2", "2002")
	l.subscribe("1002", "message-summary", "s-3", "2001")

	if _, resp := k.search(doc{"Search-Type": "summary"}); jsonOf(resp["Subscriptions"]) != `{"1001":{"dialog":2},"1002":{"message-summary":1}}` {
		t.Errorf("the summary is %s", jsonOf(resp))
	}
	if _, resp := k.search(doc{"Search-Type": "summary", "Username": "1002"}); jsonOf(resp["Subscriptions"]) != `{"1002":{"message-summary":1}}` {
		t.Errorf("the summary of 1002 is %s", jsonOf(resp))
	}
	if _, resp := k.search(doc{"Realm": "nowhere.example.com"}); jsonOf(resp["Subscriptions"]) != `{}` {
		t.Errorf("the summary of an unknown realm is %s", jsonOf(resp))
	}
	parts, resp := k.search(doc{"Search-Type": "detail", "Username": "1001"})
	if len(parts) != 1 || jsonOf(resp["Subscriptions"]) != `{}` {
		t.Fatalf("the detail has %d parts and ends with %s", len(parts), jsonOf(resp))
	}
	var detail map[string]map[string]map[string]map[string]map[string]struct {
		Time      int64  `json:"time"`
		Result    int    `json:"result"`
		Sent      string `json:"sent"`
		UserAgent string `json:"user_agent"`
	}
	if err := json.Unmarshal([]byte(jsonOf(parts[0]["Subscriptions"])), &detail); err != nil {
		t.Fatal(err)
	}
	one := detail["1001"]["dialog"]["2002"]["lamplight@serve"]["s-2"]
	if age := time.Now().Unix() - one.Time; age < 0 || age > 60 || one.UserAgent != "phone" || one.Sent == "" {
		t.Errorf("the detail is %s", jsonOf(parts[0]))
	}

	eventually(t, "the role is advertised", 5*time.Second, func() bool {
		for _, d := range k.received("advertise") {
			roles, _ := d["Roles"].(map[string]any)
			if roles["Presence"] != nil && d["Node"] == "lamplight@serve" && d["Event-Category"] == "nodes" {
				return true
			}
		}
		return false
	})

	// The node has said of the two extensions that they have their first watchers.
	if err := l.n.Conn().Publish(subject.Watched("dialog", realm, "*981003"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Kazoo is asked", 5*time.Second, func() bool { return len(k.received("probe")) == 1 && len(k.received("mwi_query")) == 2 })
	probe := k.received("probe")[0]
	if probe["key"] != "probes.dialog" || probe["Username"] != "1001" || probe["Realm"] != realm || probe["Event-Package"] != "dialog" {
		t.Errorf("the probe is %s", jsonOf(probe))
	}
	asked := map[any]bool{}
	for _, d := range k.received("mwi_query") {
		asked[d["Username"]] = d["key"] == "mwi_queries."+subject.Token(realm)
	}
	if !asked["1002"] || !asked["1003"] {
		t.Errorf("the queries are %v", asked)
	}
}

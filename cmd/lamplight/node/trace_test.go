package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/cluster/gossip"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/access"
	"lamplight/transport/client"
)

// collected is a span as a collector gets it.
type collected struct {
	Node                          string
	TraceID, SpanID, ParentSpanID string
	Name                          string
	Kind                          int
	StartTimeUnixNano             string
	EndTimeUnixNano               string
	Attributes                    []struct {
		Key   string
		Value struct{ StringValue string }
	}
	Status struct{ Code int }
}

func (s *collected) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue
		}
	}
	return ""
}

// collector is a collector of traces that speaks OTLP in JSON.
type collector struct {
	mu    sync.Mutex
	spans []collected
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ResourceSpans []struct {
			Resource struct {
				Attributes []struct {
					Key   string
					Value struct{ StringValue string }
				}
			}
			ScopeSpans []struct{ Spans []collected }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range q.ResourceSpans {
		of := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.instance.id" {
				of = a.Value.StringValue
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				s.Node = of
				c.spans = append(c.spans, s)
			}
		}
	}
}

// find returns the span of a trace with a name, and waits for it.
func (c *collector) find(t *testing.T, trace, name string) (s collected) {
	t.Helper()
	until(t, "the collector has the span "+name, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s = range c.spans {
			if s.TraceID == trace && s.Name == name {
				return true
			}
		}
		return false
	})
	return s
}

// A request that its caller traces leaves spans at the node that took it, on the way, and at the owner, which is another node. Requests of
// which nobody asked for a trace leave none.
func TestTraces(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	url := nodetest.NATS(t)
	tokenKey := ""
	start := func(name string, join ...string) *node.Node {
		config := nodetest.On(url, name, t.TempDir())
		config.Join, config.Traces, tokenKey = join, server.URL, config.TokenKey
		return nodetest.Start(t, config)
	}
	a := start("a")
	key, err := access.LoadOrCreateKey(tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	start("b", a.Addr(node.Gossip))
	const acme = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"
	if _, err := a.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"id": acme, "name": "Acme", "realm": "acme.test"}}}); err != nil {
		t.Fatal(err)
	}
	token, err := access.Sign(key, acme, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	user := ""
	for i := 1000; user == ""; i++ {
		shard := actors.ShardOf(actors.Address{Realm: "acme.test", User: fmt.Sprint(i)})
		if gossip.Owner(a.Journal().Range(shard), []string{"a", "b"}) == "b" {
			user = fmt.Sprint(i)
			until(t, "b has the shard", func() bool { return a.Journal().Holder(shard) == "b" })
		}
	}

	ask := func(traceparent string) {
		t.Helper()
		q, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+a.Addr(node.HTTP)+"/v2/accounts/"+acme+"/presence/"+user, strings.NewReader(`{"data":{"action":"set","state":"early"}}`))
		q.Header = http.Header{"X-Auth-Token": {token}, "X-Request-Id": {"r-1"}}
		if traceparent != "" {
			q.Header.Set("traceparent", traceparent)
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
	}
	ask("") // nobody wants a trace of it
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ask("00-" + trace + "-" + caller + "-01")
	took := c.find(t, trace, "POST /v2/accounts/{account_id}/presence/{extension}")
	hop := c.find(t, trace, "ask the owner")
	owner := c.find(t, trace, "answer as the owner")
	if took.Node != "a" || took.ParentSpanID != caller || took.Kind != 2 || took.attribute("lamplight.request_id") != "r-1" || took.attribute("http.response.status_code") != "200" {
		t.Errorf("the span of the HTTP request: %+v", took)
	}
	if hop.Node != "a" || hop.ParentSpanID != took.SpanID || hop.Kind != 3 || hop.attribute("lamplight.message") != "presence.SetManual" {
		t.Errorf("the span of the hop: %+v", hop)
	}
	if owner.Node != "b" || owner.ParentSpanID != hop.SpanID || owner.Kind != 2 || owner.StartTimeUnixNano >= owner.EndTimeUnixNano {
		t.Errorf("the owner's span: %+v", owner)
	}

	// A document over NATS, with a traceparent in the header of its message.
	const second = "0af7651916cd43dd8448eb211c80319c"
	doc, _ := client.New(client.Config{Conn: a.Conn(), App: "test", AppVersion: "1"}).Document("dialog_update",
		client.Fields{"From": user + "@acme.test", "To": "9@acme.test", "Call-ID": "k", "State": "confirmed"})
	if err := a.Conn().PublishMsg(&nats.Msg{Subject: subject.DialogUpdate("acme.test", "k"), Data: doc, Header: nats.Header{"traceparent": {"00-" + second + "-" + caller + "-01"}}}); err != nil {
		t.Fatal(err)
	}
	document := c.find(t, second, "NATS dialog_update")
	if document.Kind != 5 || document.ParentSpanID != caller {
		t.Errorf("the span of the document: %+v", document)
	}
	c.find(t, second, "ask the owner")

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.TraceID != trace && s.TraceID != second {
			t.Errorf("nobody asked for a trace of this: %+v", s)
		}
	}
}

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// patience is how long a caller waits for one answer before it counts as none.
const patience = 4 * time.Second

// client makes requests of a cluster's nodes. Its methods may be called from any goroutine.
type client struct {
	cluster *cluster
	http    *http.Client
	doors   []*door // each begins at another NATS server
}

// door is a connection to NATS. What was asked over it when it broke has lost its answer, and its caller knows.
type door struct {
	conn *nats.Conn

	mu     sync.Mutex
	whole  context.Context // until it breaks
	broken context.CancelFunc
}

func newDoor(urls []string) (*door, error) {
	d := &door{}
	d.whole, d.broken = context.WithCancel(context.Background())
	var err error
	d.conn, err = connect(urls, "chaos generator", nats.DisconnectErrHandler(func(*nats.Conn, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.broken()
		d.whole, d.broken = context.WithCancel(context.Background())
	}))
	return d, err
}

func (d *door) request(subject string, document []byte) (*nats.Msg, error) {
	d.mu.Lock()
	whole := d.whole
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(whole, patience)
	defer cancel()
	return d.conn.RequestWithContext(ctx, subject, document)
}

// errDial is a connection that did not come about: surely nothing was asked.
type errDial struct{ error }

func newClient(c *cluster) (*client, error) {
	dial := net.Dialer{Timeout: time.Second}
	cl := &client{cluster: c, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial.DialContext(ctx, network, address)
			if err != nil {
				return nil, errDial{err}
			}
			return conn, nil
		}}}}
	urls := c.urls()
	for i := range urls {
		d, err := newDoor(append(append([]string{}, urls[i:]...), urls[:i]...))
		if err != nil {
			return nil, err
		}
		cl.doors = append(cl.doors, d)
	}
	return cl, nil
}

// connect opens a connection that moves to another server when its own is gone, and keeps nothing back meanwhile.
func connect(urls []string, name string, more ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(strings.Join(urls, ","), append([]nats.Option{nats.Name(name), nats.DontRandomize(), nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 0), nats.ReconnectBufSize(-1), nats.Timeout(time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.IgnoreDiscoveredServers()}, more...)...)
}

func (c *client) close() {
	c.http.CloseIdleConnections()
	for _, d := range c.doors {
		d.conn.Close()
	}
}

// rest asks one node over HTTP. data is the envelope's when the answer is a success.
func (c *client) rest(n *node, method, path string, body any) (out outcome, data json.RawMessage, stale bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var content io.Reader
	if body != nil {
		b, _ := json.Marshal(map[string]any{"data": body})
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+n.http+"/v2/accounts/"+accountID+path, content)
	if err != nil {
		return wrong, nil, false, err
	}
	r.Header.Set("X-Auth-Token", c.cluster.token)
	a, err := c.http.Do(r)
	if err != nil {
		var dial errDial
		if errors.As(err, &dial) {
			return refused, nil, false, err
		}
		return unknown, nil, false, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return unknown, nil, false, err
	}
	var e struct {
		Data    json.RawMessage
		Status  string
		Message string
		Stale   bool
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return wrong, nil, false, fmt.Errorf("%s %s: no envelope: %.200q", method, path, text)
	}
	switch {
	case a.StatusCode == 200 && e.Status == "success":
		return acknowledged, e.Data, e.Stale, nil
	case a.StatusCode == 503:
		return unknown, nil, false, fmt.Errorf("503 %.200s", e.Data)
	case a.StatusCode == 429:
		return refused, nil, false, errors.New("429")
	}
	return wrong, nil, false, fmt.Errorf("%s %s at %s: %d %.300q", method, path, n.name, a.StatusCode, text)
}

// bus sends a document as a request.
func (c *client) bus(door int, subject, event string, fields map[string]any) (out outcome, answer map[string]any, err error) {
	m, err := c.doors[door%len(c.doors)].request(subject, document(event, fields))
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		return refused, nil, err
	case err != nil:
		return unknown, nil, err
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return wrong, nil, fmt.Errorf("%s: %w in %.200q", subject, err, m.Data)
	}
	if answer["Status"] == "ok" || answer["Event-Name"] == "show_resp" {
		return acknowledged, answer, nil
	}
	switch answer["Code"] {
	case "503":
		return unknown, nil, fmt.Errorf("503 %v", answer["Details"])
	case "429":
		return refused, nil, errors.New("429")
	}
	return wrong, nil, fmt.Errorf("%s: %.300q", subject, m.Data)
}

func document(event string, fields map[string]any) []byte {
	d := map[string]any{"App-Name": "chaos", "App-Version": "1", "Event-Category": "presence", "Event-Name": event, "Msg-ID": "m"}
	for k, v := range fields {
		d[k] = v
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}

// token encodes one token of a subject (BUS.md).
func token(s string) string { return strings.ReplaceAll(url.QueryEscape(s), ".", "%2E") }

// shown is one extension as a read gives it.
type shown struct {
	State   string
	Dialogs []struct {
		CallID string `json:"call_id"`
		State  string
		Source string
	}
	Explain struct {
		Node  string
		Shard int
	}
}

// show reads an extension, over one of the two roads.
func (c *client) show(n *node, overBus bool, door int, name, query string) (out outcome, s shown, stale bool, err error) {
	if !overBus {
		out, data, stale, err := c.rest(n, "GET", "/presence/"+name+query, nil)
		if out == acknowledged {
			if err = json.Unmarshal(data, &s); err != nil {
				out = wrong
			}
		}
		return out, s, stale, err
	}
	out, a, err := c.bus(door, "presence.show."+token(realm)+"."+token(name), "show_req", map[string]any{"Realm": realm, "Username": name})
	if out == acknowledged {
		b, _ := json.Marshal(a)
		if err = json.Unmarshal(b, &s); err != nil {
			out = wrong
		}
	}
	marked, _ := a["stale"].(bool)
	return out, s, marked, err
}

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
	lamplight "lamplight/transport/client"
)

// requestTimeout is how long a caller waits for an answer. After that the outcome is unknown.
const requestTimeout = 4 * time.Second

// client makes requests of a cluster's nodes. Its methods may be called from any goroutine.
type client struct {
	cluster  *cluster
	http     *http.Client
	busConns []*busConn // each begins at another NATS server; tests choose one by its index
}

// busConn is a connection to NATS. When it breaks, all requests over it fail at once, because their answers are lost.
type busConn struct {
	conn   *nats.Conn
	client *lamplight.Client

	mu           sync.Mutex
	connected    context.Context // ends when the connection breaks
	disconnected context.CancelFunc
}

func newBusConn(urls []string) (*busConn, error) {
	d := &busConn{}
	d.connected, d.disconnected = context.WithCancel(context.Background())
	conn, err := connect(urls, "chaos generator", nats.DisconnectErrHandler(func(*nats.Conn, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.disconnected()
		d.connected, d.disconnected = context.WithCancel(context.Background())
	}))
	if err != nil {
		return nil, err
	}
	d.conn, d.client = conn, lamplight.New(lamplight.Config{Conn: conn, App: "chaos", AppVersion: "1"})
	return d, nil
}

// ask makes a request. It fails when the connection breaks, or after requestTimeout.
func (d *busConn) ask(topic, event string, fields lamplight.Fields) (answer lamplight.Answer, err error) {
	d.mu.Lock()
	whole := d.connected
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(whole, requestTimeout)
	defer cancel()
	err = d.client.Ask(ctx, topic, event, fields, func(a lamplight.Answer) error { answer = a; return nil })
	return answer, err
}

// errDial is the error of a TCP connection that could not be made, so that surely no request was sent.
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
	urls := c.natsURLs
	for i := range urls {
		d, err := newBusConn(append(append([]string{}, urls[i:]...), urls[:i]...))
		if err != nil {
			return nil, err
		}
		cl.busConns = append(cl.busConns, d)
	}
	return cl, nil
}

// connect opens a connection that moves to another of the servers about 50 ms after its own is gone.
func connect(urls []string, name string, more ...nats.Option) (*nats.Conn, error) {
	return lamplight.Connect(lamplight.Options{URL: strings.Join(urls, ",")}, name, append([]nats.Option{nats.DontRandomize(), nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 0), nats.Timeout(time.Second), nats.PingInterval(time.Second), nats.IgnoreDiscoveredServers()}, more...)...)
}

func (c *client) close() {
	c.http.CloseIdleConnections()
	for _, d := range c.busConns {
		d.conn.Close()
	}
}

// rest makes a request of one node over HTTP. data and stale are the envelope's if the answer is a success.
func (c *client) rest(n *node, method, path string, body any) (out outcome, data jsontext.Value, stale bool, err error) {
	return c.restWithin(requestTimeout, n, method, path, body)
}

// restWithin is rest with another time to wait for the answer.
func (c *client) restWithin(within time.Duration, n *node, method, path string, body any) (out outcome, data jsontext.Value, stale bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	api := lamplight.REST{Base: "http://" + n.http, Token: c.cluster.token, HTTP: c.http}
	e, err := api.Do(ctx, method, "/v2/accounts/"+accountID+path, body)
	var dial errDial
	switch {
	case err == nil:
		return acknowledged, e.Data, e.Stale, nil
	case errors.As(err, &dial):
		return refused, nil, false, err
	case errors.Is(err, lamplight.ErrNoEnvelope):
		return wrong, nil, false, err
	case e == nil, e.Code == http.StatusServiceUnavailable:
		return unknown, nil, false, err
	case e.Code == http.StatusTooManyRequests, e.Code == http.StatusRequestTimeout: // a node that was frozen has not read the request
		return refused, nil, false, err
	}
	return wrong, nil, false, fmt.Errorf("at %s: %w", n.name, err)
}

// bus sends a document as a NATS request, over the connection with this index.
func (c *client) bus(conn int, topic, event string, fields lamplight.Fields) (out outcome, answer lamplight.Answer, err error) {
	answer, err = c.busConns[conn%len(c.busConns)].ask(topic, event, fields)
	var refusal *lamplight.Refusal
	switch {
	case err == nil:
		return acknowledged, answer, nil
	case errors.Is(err, lamplight.ErrNoNode), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting):
		return refused, nil, err
	case !errors.As(err, &refusal):
		return unknown, nil, err
	case refusal.Code == "503":
		return unknown, nil, err
	case refusal.Code == "429":
		return refused, nil, err
	}
	return wrong, nil, fmt.Errorf("%s: %w", topic, err)
}

// shown is the answer to a read of one extension.
type shown struct {
	State   string `json:"state"`
	Dialogs []struct {
		CallID string `json:"call_id"`
		State  string `json:"state"`
		Source string `json:"source"`
	} `json:"dialogs"`
	Explain struct {
		Node  string `json:"node"`
		Shard int    `json:"shard"`
	} `json:"explain"`
}

// show reads an extension, over NATS or HTTP. query is appended to the HTTP path.
func (c *client) show(n *node, overBus bool, conn int, name, query string) (out outcome, s shown, stale bool, err error) {
	if !overBus {
		out, data, stale, err := c.rest(n, "GET", "/presence/"+name+query, nil)
		if out == acknowledged {
			if err = json.Unmarshal(data, &s); err != nil {
				out = wrong
			}
		}
		return out, s, stale, err
	}
	out, a, err := c.bus(conn, subject.Show(realm, name), "show_req", lamplight.Fields{"Realm": realm, "Username": name})
	if out == acknowledged {
		if err = a.Decode(&s); err != nil {
			out = wrong
		}
	}
	return out, s, string(a["stale"]) == "true", err
}

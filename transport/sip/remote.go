package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/edge"
	"lamplight/transport/kazoo"
)

// RemoteConfig is what a Remote needs. All fields but Prefix must be set.
type RemoteConfig struct {
	Conn    *nats.Conn // of client.Connect; it belongs to the caller, who closes it after Stop
	Prefix  subject.Prefix
	Name    string // of the edge
	Version string // App-Version of the documents
	Log     *slog.Logger
}

// Remote is the Cluster of an edge that runs alone: it reaches the nodes over NATS. Start it before the Server is made, because the Server
// needs the secret, and then call Hear.
type Remote struct {
	cfg    RemoteConfig
	log    *slog.Logger
	secret []byte
	sender *client.Sender
	edge   *edge.Edge
	lookup *lookup
}

// askTime is how long the edge waits for the answer of a node to a question. It asks once more before it gives up.
const askTime = time.Second

// NewRemote makes a Remote. It starts nothing.
func NewRemote(c RemoteConfig) *Remote {
	r := &Remote{cfg: c, log: loglimit.Limit(c.Log.With("part", "sip")), sender: client.NewSender(c.Conn, c.Prefix)}
	r.lookup = newLookup(r.ask)
	return r
}

// Start starts to send documents and asks for the secret of all edges. It waits until a node answers.
func (r *Remote) Start(ctx context.Context) error {
	if err := r.sender.Start(ctx); err != nil {
		return err
	}
	for r.secret == nil {
		data, err := r.request(ctx, subject.EdgeSecret)
		if err == nil {
			r.secret, err = kazoo.ReadEdgeSecret(data)
		}
		if err == nil {
			return nil
		}
		r.log.Info("the edge waits for a node that answers on this NATS; start one, or look at --nats and --prefix, and at the permissions of the edge's NATS user", "err", err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("no node has told the edge the secret of all edges: %w", err)
		}
	}
	return nil
}

// Hear begins to take the NOTIFYs for the watchers behind the edge, and hands them to its Server.
func (r *Remote) Hear(ctx context.Context, s *Server) error {
	r.edge = edge.New(edge.Config{Conn: r.cfg.Conn, Prefix: r.cfg.Prefix, Name: r.cfg.Name, StandIn: s.StandsIn(), PickupCookies: s.cfg.Profiles.PickupCookies(),
		Handle: func(m edge.Message) { s.Hear(m.Notify) }})
	return r.edge.Start(ctx)
}

// Stop takes no more NOTIFYs, sends the replies that were gathered, and repeats no more documents. The Server must have been stopped.
func (r *Remote) Stop(ctx context.Context) error {
	var err error
	if r.edge != nil {
		err = r.edge.Stop(ctx)
	}
	return errors.Join(err, r.sender.Stop(ctx))
}

// Secret implements Cluster.
func (r *Remote) Secret() []byte { return r.secret }

// Credentials implements Cluster. While the nodes can't be asked, it goes on with what they said in the last 10 minutes.
func (r *Remote) Credentials(realm, user string) (Credentials, bool) {
	return r.lookup.get(account{realm, user})
}

// Await implements Cluster.
func (r *Remote) Await(realm, user string, then func()) { r.lookup.await(account{realm, user}, then) }

// ask asks the nodes about an account.
func (r *Remote) ask(a account) (Credentials, error) {
	if len(a.user) > subject.MaxName || a.user == kazoo.AnyUser { // no device has such a name
		realm, err := r.ask(account{realm: a.realm})
		return Credentials{Realm: realm.Realm}, err
	}
	user := a.user
	if user == "" {
		user = kazoo.AnyUser
	}
	var known kazoo.Credentials
	data, err := r.request(context.Background(), subject.Credentials(a.realm, user))
	if err == nil {
		known, err = kazoo.ReadCredentials(data)
	}
	if err != nil {
		r.log.Warn("the edge can't ask the nodes about phones' credentials; phones that are not known get 503 until a node answers", "err", err)
		return Credentials{}, err
	}
	return Credentials{Realm: known.Realm, User: known.User, HA1: [2]string{MD5: known.MD5, SHA256: known.SHA256}, Extensions: known.Extensions}, nil
}

// request sends a request without a payload and returns the answer. When none comes it asks once more: the node that got the first one
// may have died.
func (r *Remote) request(ctx context.Context, topic string) ([]byte, error) {
	for again := false; ; again = true {
		one, cancel := context.WithTimeout(ctx, askTime)
		m, err := r.cfg.Conn.RequestWithContext(one, r.cfg.Prefix.Of(topic), nil)
		cancel()
		if err == nil {
			return m.Data, nil
		}
		if again || !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
	}
}

// Subscribe implements Cluster. It repeats the document until it is answered: it is news, and may be applied twice.
func (r *Remote) Subscribe(to presence.Address, ev *presence.Subscribe, until time.Time, done func(Outcome)) {
	data := kazoo.AppendSubscription(make([]byte, 0, 1024), r.cfg.Version, to, ev)
	r.sender.Go(subject.Subscription(to.Realm, to.User), data, until, func(s client.Sent) { done(sent(s)) })
}

// Publish implements Cluster. The node that takes the document reads the body again.
func (r *Remote) Publish(to presence.Address, ev *presence.Publish, d Document, until time.Time, done func(Outcome)) {
	data := kazoo.AppendPublication(make([]byte, 0, 1024+len(d.Body)), r.cfg.Version, to, ev, d.Type, d.Body)
	r.sender.Go(subject.Publication(to.Realm, to.User), data, until, func(s client.Sent) {
		o := sent(s)
		o.Tag = ev.Tag
		done(o)
	})
}

// overtaken is what a node says of a SUBSCRIBE whose CSeq went back.
var overtaken = presence.Reasons()[presence.IgnoredOvertaken]

// sent is the answer to a phone that the answer to its document means.
func sent(s client.Sent) Outcome {
	switch refusal, ok := errors.AsType[*client.Refusal](s.Err); {
	case s.Err == nil && s.Ignored == overtaken:
		return Outcome{Code: 500} // RFC 3261 §12.2.2
	case s.Err == nil:
		return Outcome{Code: 200}
	case ok && refusal.Code == "400":
		return Outcome{Code: 400}
	case ok && refusal.Code == "404":
		return Outcome{Code: 404}
	case ok && refusal.Code == "412":
		return Outcome{Code: 412}
	case ok && refusal.Code == "413":
		return Outcome{Code: 413}
	case ok && refusal.Code == "480":
		return Outcome{Code: 480}
	case ok && refusal.Code == "481":
		return Outcome{Code: 481}
	}
	return Outcome{Code: 503}
}

// Drain implements Cluster.
func (r *Remote) Drain(connected bool) {
	if r.edge != nil {
		r.edge.Drain(connected)
	}
}

// Replied implements Cluster.
func (r *Remote) Replied(node string, to presence.Address, n presence.Notified) {
	r.edge.Reply(node, kazoo.Reply{Presentity: to.String(), Package: n.Package, CallID: n.CallID, Sequence: n.Sequence, Code: n.Reply, RetryAfter: n.RetryAfter, For: n.Edge})
}

package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// credentials answers an edge that asks how a phone logs in (docs/contract/nats.md, "Credentials"). It answers from memory.
func (b *Bus) credentials(m *nats.Msg) {
	f := b.metrics.noDocument("credentials")
	t, err := b.tokens(m.Subject, 2)
	var user string
	if err == nil {
		user, err = subject.ParseToken(subject.Last(m.Subject)) // not from t: the hash is of the name as the phone writes it
	}
	if err != nil {
		b.refuse(m, f, err)
		return
	}
	if user == kazoo.AnyUser {
		user = ""
	}
	c := b.cfg.Credentials(strings.ToLower(t[0]), user)
	b.note(m.Subject, f, nil)
	_ = m.Respond(c.Append(nil))
}

// edgeSecret answers an edge that asks for the secret of all edges.
func (b *Bus) edgeSecret(m *nats.Msg) {
	f := b.metrics.noDocument("edge_secret")
	select {
	case b.slots <- struct{}{}:
	default:
		b.refuse(m, f, actors.ErrBusy)
		return
	}
	b.background.Go(func() {
		defer func() { <-b.slots }()
		ctx, cancel := context.WithTimeout(b.ctx, b.cfg.Timeout)
		defer cancel()
		secret, err := b.cfg.EdgeSecret(ctx)
		if err != nil {
			b.refuse(m, f, err)
			return
		}
		b.note(m.Subject, f, nil)
		_ = m.Respond(kazoo.AppendEdgeSecret(nil, secret))
	})
}

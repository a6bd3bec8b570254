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
	t, err := b.tokens(m.Subject, 2)
	var user string
	if err == nil {
		user, err = subject.ParseToken(subject.Last(m.Subject)) // not from t: the hash is of the name as the phone writes it
	}
	if err != nil {
		b.refuse(m, &kazoo.Document{}, err)
		return
	}
	if user == kazoo.AnyUser {
		user = ""
	}
	c := b.cfg.Credentials(strings.ToLower(t[0]), user)
	_ = m.Respond(c.Append(nil))
}

// edgeSecret answers an edge that asks for the secret of all edges.
func (b *Bus) edgeSecret(m *nats.Msg) {
	select {
	case b.slots <- struct{}{}:
	default:
		b.refuse(m, &kazoo.Document{}, actors.ErrBusy)
		return
	}
	b.background.Go(func() {
		defer func() { <-b.slots }()
		ctx, cancel := context.WithTimeout(b.ctx, b.cfg.Timeout)
		defer cancel()
		secret, err := b.cfg.EdgeSecret(ctx)
		if err != nil {
			b.refuse(m, &kazoo.Document{}, err)
			return
		}
		_ = m.Respond(kazoo.AppendEdgeSecret(nil, secret))
	})
}

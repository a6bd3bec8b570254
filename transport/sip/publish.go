package sip

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/publication"
	"lamplight/transport/sip/message"
)

// publish handles a PUBLISH (RFC 3903 §6).
func (r *reader) publish(f flow) {
	s, m, now := r.server, &r.m, time.Now()
	p, to, ok := r.about(f, now)
	if !ok {
		return
	}
	by, ok := r.authenticate(f, to.Realm, now)
	if !ok {
		return
	}
	publisher, ok := r.publisher(f, by, to)
	if !ok {
		r.answer(f, 403, "A Phone Publishes Only For Its Own Extension")
		return
	}
	if m.Header(message.Require) != nil {
		r.badExtension(f)
		return
	}
	expires, ok := r.published(f, by)
	if !ok {
		return
	}
	ev := &presence.Publish{Package: p, Publisher: publisher, IfMatch: string(m.Header(message.IfMatch)), Tag: rand.Text(), Expires: int(expires)}
	if !r.document(f, ev) {
		return
	}
	if s.stopping.Load() || !s.admit(ev.IfMatch != "") {
		r.busy(f)
		return
	}
	if f.connection == nil && !s.seen.begin(r.key, now) {
		s.waiting.Add(-1)
		return
	}
	w := newWait()
	w.server, w.flow, w.key, w.begun, w.expires, w.extra, w.method, w.came = s, f, r.key, uint32(now.Unix()), expires, w.extra[:0], m.Method, now
	w.tag = s.sealer.tag(w.tag[:0], m, w.begun)
	w.echo = m.AppendEcho(w.echo[:0], f.remote, string(w.tag))
	s.log.Debug("PUBLISH", "extension", to.String(), "package", p.String(), "publisher", publisher, "expires", expires, "from", f.remote)
	s.cluster.Publish(to, ev, Document{string(m.Header(message.ContentType)), string(m.Body)}, now.Add(s.cfg.Timeout), w.finish)
}

// publisher returns who publishes, which names what is published. A trusted proxy or switch publishes for any extension, as itself: it
// writes the extension into From, and keeps its address or certificate when it is started again. A phone publishes as its address of
// record, and only for its own extension; ok is false when it is another one. A phone is also one that a trusted proxy names.
func (r *reader) publisher(f flow, by sender, to presence.Address) (name string, ok bool) {
	s := r.server
	if by.trusted && len(r.m.Field(userHeader)) == 0 {
		if f.connection != nil {
			for _, cert := range f.connection.certs {
				if slices.ContainsFunc(s.cfg.TrustCerts, func(t string) bool { return strings.EqualFold(t, cert) }) {
					return strings.ToLower(cert), true
				}
			}
		}
		return f.remote.Addr().String(), true
	}
	own, err := presence.ParseName(by.user, to.Realm)
	if own != to {
		if c, _ := s.cluster.Credentials(to.Realm, by.user); !slices.Contains(c.Extensions[:], to.User) {
			return "", false
		}
	}
	return own.String(), err == nil
}

// published returns the seconds that a PUBLISH is granted. It answers a request with a wrong or too short Expires. From a trusted proxy
// none is too short: Kamailio says with 11 s that a call has ended.
func (r *reader) published(f flow, by sender) (uint32, bool) {
	if !by.trusted {
		return r.granted(f, longestExpires)
	}
	expires, found, ok := r.m.Seconds(message.Expires)
	switch {
	case !ok:
		r.answer(f, 400, "Malformed Expires")
	case !found:
		expires = longestExpires
	}
	return min(expires, longestExpires), ok
}

// document reads the document of a PUBLISH. It answers a request whose document it refuses.
func (r *reader) document(f flow, ev *presence.Publish) bool {
	m := &r.m
	coding := m.Header(message.ContentEncoding)
	err := publication.Read(ev, string(m.Header(message.ContentType)), m.Body)
	refused, _ := err.(*publication.Error)
	switch {
	case len(m.Body) > 0 && len(coding) > 0 && !strings.EqualFold(string(coding), "identity"):
		r.begin(415, "Unsupported Content-Encoding", f, nil)
		r.out = append(r.out, "Accept-Encoding: identity\r\n"...)
	case refused != nil && refused.Unsupported:
		r.begin(415, "Unsupported Media Type", f, nil)
		r.out = message.AppendField(r.out, message.Accept, publication.Accept(ev.Package))
	case err != nil:
		r.begin(400, "Wrong Document", f, nil)
		r.out = append(append(append(r.out, `Warning: 399 `...), r.server.cfg.Name...), ' ', '"')
		r.out = append(append(r.out, quotable(err.Error())...), "\"\r\n"...)
	case ev.IfMatch == "" && !ev.HasBody:
		r.begin(400, "A New Publication Needs A Document", f, nil)
	default:
		return true
	}
	r.end(f)
	return false
}

// quotable is a text as it may stand in a quoted-string (RFC 3261 §25.1).
func quotable(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ' || c == 0x7f:
			return ' '
		case c == '"' || c == '\\':
			return '\''
		}
		return c
	}, text)
}

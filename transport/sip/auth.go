package sip

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/sip/message"
)

// userHeader is the header field in which a trusted proxy says whom it has authenticated. From anyone else it is ignored.
const userHeader = "X-Lamplight-User"

// trusted says whether a request came from a trusted address, or over a connection with a trusted certificate.
func (s *Server) trusted(f flow) bool {
	from := f.remote.Addr()
	if slices.ContainsFunc(s.cfg.Trust, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return true
	}
	return f.connection != nil && slices.ContainsFunc(f.connection.certs, func(name string) bool {
		return slices.ContainsFunc(s.cfg.TrustCerts, func(t string) bool { return strings.EqualFold(t, name) })
	})
}

// sender is who sent a request, as far as the edge knows.
type sender struct {
	user    string // of the realm
	trusted bool   // a trusted proxy or switch vouches for it
}

// authenticate finds out who sent a request about an extension of a realm (RFC 3261 §22). The uri of an Authorization header need not be
// the Request-URI: proxies on the way change that, and a nonce count is good only once. It answers a request that it refuses, and
// has one handled again that must wait for credentials; ok is false then.
func (r *reader) authenticate(f flow, realm string, now time.Time) (by sender, ok bool) {
	s, m := r.server, &r.m
	by.user = string(m.From().URI.User)
	if s.trusted(f) {
		by.trusted = true
		if named := m.Field(userHeader); len(named) > 0 {
			user, host, _ := bytes.Cut(named, []byte{'@'})
			if len(user) == 0 || len(user) > presence.MaxName || bytes.ContainsAny(user, "<>\",; \t\\") {
				r.answer(f, 400, "Malformed "+userHeader)
				return by, false
			}
			if host != nil && !strings.EqualFold(string(host), realm) {
				r.answer(f, 403, "The User Is Of Another Realm")
				return by, false
			}
			by.user = string(user)
		}
		if c, known := s.cluster.Credentials(realm, ""); !known {
			r.later(f, realm, "")
			return by, false
		} else if c.Unavailable {
			r.unavailable(f, now)
			return by, false
		} else if !c.Realm {
			r.answer(f, 404, "No Account Has This Realm")
			return by, false
		}
		r.prove(f)
		return by, true
	}
	from := f.remote.Addr()
	if s.guesses.exhausted(from, now) {
		s.metrics.refused.WithLabelValues("guesses").Inc()
		return by, false // silently: whoever guesses passwords learns nothing
	}
	c, given := r.credentials(realm)
	fresh := given && s.sealer.fresh(c.nonce, from, now)
	user := "" // the nodes are asked about a user only for whoever has a nonce of ours: strangers must not make the edge ask much
	if fresh && !s.cfg.NoAuth {
		user = string(c.username)
	}
	known, asked := s.cluster.Credentials(realm, user)
	switch {
	case !asked:
		r.later(f, realm, user)
		return by, false
	case known.Unavailable:
		r.unavailable(f, now)
		return by, false
	case !known.Realm:
		r.answerStranger(f, 404, "No Account Has This Realm", now)
		return by, false
	case s.cfg.NoAuth:
		r.prove(f)
		return by, true
	case !given:
		r.challenge(f, realm, false, now)
		return by, false
	case !fresh:
		r.challenge(f, realm, true, now)
		return by, false
	}
	n, numbered := c.count()
	switch {
	case !bytes.EqualFold(c.qop, []byte("auth")) || !numbered || len(c.cnonce) == 0:
		r.challenge(f, realm, false, now)
	case !known.User || !c.verify(s.cfg.Algorithm, known.HA1[s.cfg.Algorithm], m.MethodName()):
		s.guesses.allow(from, now)
		s.metrics.refused.WithLabelValues("password").Inc()
		r.challenge(f, realm, false, now)
	case !s.counts.use(c.nonce, n):
		r.challenge(f, realm, true, now)
	case !bytes.EqualFold(m.From().URI.User, c.username):
		r.answer(f, 403, "From Names Another User Than Authorization")
	default:
		by.user = string(c.username)
		r.prove(f)
		return by, true
	}
	return by, false
}

// unavailable answers a request whose sender can't be authenticated now, because the nodes are out of reach.
func (r *reader) unavailable(f flow, now time.Time) {
	if !r.server.trusted(f) && !r.server.strangers.allow(f.remote.Addr(), now) {
		r.server.metrics.refused.WithLabelValues("source").Inc()
		return
	}
	r.begin(503, "The Nodes Are Out Of Reach", f, nil)
	r.out = message.AppendNumber(r.out, message.RetryAfter, retryAfter())
	r.end(f)
}

// prove notes that somebody was authenticated on a connection.
func (r *reader) prove(f flow) {
	if f.connection != nil {
		f.connection.proven.Store(true)
	}
}

// credentials finds the Authorization header for a realm.
func (r *reader) credentials(realm string) (c credentials, ok bool) {
	for value := range r.m.Headers(message.Authorization) {
		if c, ok = readCredentials(value); ok && bytes.EqualFold(c.realm, []byte(realm)) {
			return c, len(c.algorithm) == 0 && r.server.cfg.Algorithm == MD5 || strings.EqualFold(string(c.algorithm), r.server.cfg.Algorithm.String())
		}
	}
	return credentials{}, false
}

// challenge answers 401. stale says that the nonce was too old and the password may have been right (RFC 8760 §2.4).
func (r *reader) challenge(f flow, realm string, stale bool, now time.Time) {
	if !r.server.strangers.allow(f.remote.Addr(), now) {
		r.server.metrics.refused.WithLabelValues("source").Inc()
		return
	}
	r.begin(401, "Unauthorized", f, nil)
	r.out = append(append(append(r.out, `WWW-Authenticate: Digest realm="`...), realm...), `", nonce="`...)
	r.out = r.server.sealer.nonce(r.out, f.remote.Addr(), now)
	r.out = append(append(r.out, `", algorithm=`...), r.server.cfg.Algorithm.String()...)
	r.out = append(r.out, `, qop="auth"`...)
	if stale {
		r.out = append(r.out, ", stale=true"...)
	}
	r.out = append(r.out, "\r\n"...)
	r.end(f)
}

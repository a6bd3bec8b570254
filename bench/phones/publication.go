package phones

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"lamplight/transport/sip/message"
)

// Publication is one publication of a switch (RFC 3903): a document that it replaces with each change. Its requests go out one after the
// other, because each names the entity-tag of the one before.
type Publication struct {
	Target string // user@realm

	id   string // the Call-ID
	cseq uint32
	tag  string // the entity-tag; the mutex of its flow guards it, and only one request is under way

	mu    sync.Mutex
	busy  bool
	queue []*request
}

// NewPublication makes a publication for an extension. It sends nothing.
func NewPublication(target string) *Publication {
	return &Publication{Target: target, id: rand.Text()[:16]}
}

// Document is a dialog-info document with one dialog. With an empty callID the dialog is a register: it may begin again when it has ended.
func Document(target, callID, state string) string {
	user, _, _ := strings.Cut(target, "@")
	id, call := user, ""
	if callID != "" {
		id, call = callID, fmt.Sprintf(` call-id=%q local-tag="lt" remote-tag="rt"`, callID)
	}
	return fmt.Sprintf(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:%s"><dialog id=%q%s direction="recipient"><state>%s</state></dialog></dialog-info>`,
		target, id, call, state)
}

// Publish sends a document, or removes the publication with no document and expires 0, after those before it were answered. done is as that of Subscribe.
func (f *Fleet) Publish(p *Publication, document string, expires int, until time.Time, done func(Answer)) {
	r := &request{publication: p, body: document, expires: expires, until: until}
	l := f.flows[0]
	r.done = func(a Answer) {
		p.mu.Lock()
		var next *request
		if len(p.queue) > 0 {
			next, p.queue = p.queue[0], p.queue[1:]
		} else {
			p.busy = false
		}
		p.mu.Unlock()
		if next != nil {
			l.begin(next)
		}
		done(a)
	}
	p.mu.Lock()
	if p.busy {
		p.queue = append(p.queue, r)
		p.mu.Unlock()
		return
	}
	p.busy = true
	p.mu.Unlock()
	l.begin(r)
}

// writePublish writes a PUBLISH. The caller holds l.mu.
func (l *flow) writePublish(r *request) []byte {
	p := r.publication
	p.cseq++
	b := make([]byte, 0, 512+len(r.body))
	b = append(append(append(b, "PUBLISH sip:"...), p.Target...), " SIP/2.0\r\n"...)
	b = l.appendVia(b, r.branch)
	b = append(append(append(append(append(b, "From: <sip:"...), p.Target...), ">;tag=p\r\nTo: <sip:"...), p.Target...), ">\r\nCall-ID: "...)
	b = append(append(b, p.id...), "\r\nCSeq: "...)
	b = append(strconv.AppendUint(b, uint64(p.cseq), 10), " PUBLISH\r\nMax-Forwards: 70\r\nEvent: dialog\r\n"...)
	if p.tag != "" {
		b = append(append(append(b, "SIP-If-Match: "...), p.tag...), "\r\n"...)
	}
	b = message.AppendNumber(b, message.Expires, int64(r.expires))
	if r.body != "" {
		b = message.AppendField(b, message.ContentType, "application/dialog-info+xml")
	}
	return append(message.AppendEnd(b, len(r.body)), r.body...)
}

// quoted returns the value of a parameter of a challenge that stands in quotes.
func quoted(challenge, name string) string {
	_, rest, _ := strings.Cut(challenge, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// appendAuthorization appends the answer to a challenge, with MD5 (RFC 8760 §2.4).
func appendAuthorization(b []byte, user, realm, password, nonce, uri string, nc uint32) []byte {
	hash := func(text string) string { sum := md5.Sum([]byte(text)); return hex.EncodeToString(sum[:]) }
	count := fmt.Sprintf("%08x", nc)
	response := hash(hash(user+":"+realm+":"+password) + ":" + nonce + ":" + count + ":c:auth:" + hash("SUBSCRIBE:"+uri))
	return fmt.Appendf(b, "Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, cnonce=\"c\", qop=auth, nc=%s\r\n",
		user, realm, nonce, uri, response, count)
}

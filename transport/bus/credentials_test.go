package bus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// answer sends a request without a payload, and returns the answer.
func (b *bed) answer(topic string) []byte {
	b.t.Helper()
	m, err := b.conn.Request(topic, nil, 10*time.Second)
	if err != nil {
		b.t.Fatalf("%s: %v", topic, err)
	}
	return m.Data
}

// An edge asks for a user in the form in which the phone writes it, because the hash is of that. The user * asks for the realm alone.
func TestCredentials(t *testing.T) {
	b := newBed(t)
	for topic, want := range map[string]kazoo.Credentials{
		subject.Credentials("ACME.test", "Bob 1"):  {Realm: true, User: true, MD5: "md5 of Bob 1", SHA256: "sha of Bob 1"},
		subject.Credentials("acme.test", "nobody"): {Realm: true},
		subject.Credentials("acme.test", "*"):      {Realm: true},
		subject.Credentials("other.test", "*"):     {},
	} {
		if got, err := kazoo.ReadCredentials(b.answer(topic)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", topic, got, err)
		}
	}
	bad := b.answer("lamplight.credentials.acme%2Etest.a=b")
	if _, err := kazoo.ReadCredentials(bad); err == nil || !strings.Contains(string(bad), `"Code":"400"`) {
		t.Errorf("a token of another form is answered %s", bad)
	}
}

func TestEdgeSecret(t *testing.T) {
	b := newBed(t)
	if got, err := kazoo.ReadEdgeSecret(b.answer(subject.EdgeSecret)); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	b.secret = errors.New("NATS is out of reach")
	bad := b.answer(subject.EdgeSecret)
	if _, err := kazoo.ReadEdgeSecret(bad); err == nil || !strings.Contains(string(bad), `"Code":"503"`) {
		t.Errorf("without NATS the answer is %s", bad)
	}
}

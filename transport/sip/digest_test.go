package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"lamplight/transport/sip/message"
)

// RFC 7616 §3.9.1: one request, answered with MD5 and with SHA-256.
func TestRFC7616Example(t *testing.T) {
	for algorithm, response := range map[Algorithm]string{
		MD5:    "8ca523f5e9506fed4657c9700eebdbec",
		SHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		c, ok := readCredentials([]byte(`Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=` + algorithm.String() +
			`, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="` +
			response + `", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`))
		if !ok {
			t.Fatal("the header was not read")
		}
		if n, ok := c.count(); !ok || n != 1 || string(c.realm) != "http-auth@example.org" || string(c.algorithm) != algorithm.String() || string(c.qop) != "auth" {
			t.Errorf("read %+v", c)
		}
		ha1 := algorithm.HA1("Mufasa", "http-auth@example.org", "Circle of Life")
		if !c.verify(algorithm, ha1, []byte("GET")) {
			t.Errorf("%s was refused", algorithm)
		}
		if c.verify(algorithm, ha1, []byte("PUT")) || c.verify(algorithm, algorithm.HA1("Mufasa", "http-auth@example.org", "x"), []byte("GET")) || c.verify(1-algorithm, ha1, []byte("GET")) {
			t.Errorf("%s: a wrong response was taken", algorithm)
		}
		c.response = []byte(strings.ToUpper(response))
		if !c.verify(algorithm, ha1, []byte("GET")) {
			t.Errorf("%s: digits in upper case were refused", algorithm)
		}
	}
}

func TestReadCredentials(t *testing.T) {
	good := `Digest username="a\"b", realm="r", nonce="n,1", uri="sip:x@y;a=b", response="00", algorithm = md5 ,cnonce="c", nc=0000000A, qop=auth`
	c, ok := readCredentials([]byte("  " + strings.Replace(good, "Digest", "DIGEST", 1)))
	if n, counted := c.count(); !ok || string(c.username) != `a\"b` || string(c.nonce) != "n,1" || string(c.uri) != "sip:x@y;a=b" || string(c.algorithm) != "md5" || !counted || n != 10 {
		t.Errorf("%v %+v", ok, c)
	}
	for _, text := range []string{"", "Digest", "Basic x", "Digest x", "Digest username=\"a", `Digest username="a\"`, strings.Replace(good, "username", "user", 1),
		strings.Replace(good, "nonce=\"n,1\"", "nonce=\"\"", 1), strings.Replace(good, `response="00", `, "", 1), strings.Replace(good, "uri=", "url=", 1)} {
		if c, ok := readCredentials([]byte(text)); ok {
			t.Errorf("%s was read: %+v", text, c)
		}
	}
	for _, nc := range []string{"", "1", "000000001", "0000000x"} {
		if _, ok := (&credentials{nc: []byte(nc)}).count(); ok {
			t.Errorf("the nonce count %q was taken", nc)
		}
	}
}

// A nonce is good for the address that it was made for, for nonceLife, at every edge that has the secret.
func TestNonceLife(t *testing.T) {
	s, other, now := newSealer([]byte("secret")), newSealer([]byte("secret")), time.Unix(1_800_000_000, 0)
	from := netip.MustParseAddr("192.0.2.9")
	nonce := s.nonce(nil, from, now)
	if again := s.nonce(nil, from, now); string(again) == string(nonce) {
		t.Error("two nonces are equal")
	}
	if len(nonce) != nonceSize || !other.fresh(nonce, from, now) || !other.fresh(nonce, from, now.Add(nonceLife-time.Second)) ||
		!other.fresh(nonce, from, now.Add(-time.Minute)) { // the clocks of two edges differ
		t.Errorf("the nonce %s is not good everywhere and as long as it should be", nonce)
	}
	if s.fresh(nonce, from, now.Add(nonceLife)) || s.fresh(nonce, from, now.Add(-61*time.Second)) {
		t.Error("the nonce is good for too long")
	}
	if s.fresh(nonce, netip.MustParseAddr("192.0.2.10"), now) || newSealer([]byte("another")).fresh(nonce, from, now) {
		t.Error("the nonce of another address or secret was taken")
	}
	for i := range nonce {
		broken := append([]byte(nil), nonce...)
		broken[i] ^= 1
		if s.fresh(broken, from, now) && string(broken[:nonceSize-1]) != string(nonce[:nonceSize-1]) { // the last character has bits without a meaning
			t.Errorf("the nonce was taken with another character %d", i)
		}
	}
	for _, text := range []string{"", "x", strings.Repeat("A", nonceSize), strings.Repeat("*", nonceSize), string(nonce) + "A"} {
		if s.fresh([]byte(text), from, now) {
			t.Errorf("the nonce %q was taken", text)
		}
	}
}

// A To-tag belongs to its Call-ID and From-tag, and no nonce is a tag.
func TestTagIsSealed(t *testing.T) {
	s, m := newSealer([]byte("secret")), new(message.Message)
	read := func(callID, fromTag string, tag []byte) (uint32, bool) {
		text := strings.Replace(options(callID, "", ""), "tag=1", "tag="+fromTag, 1)
		text = strings.Replace(text, "To: <sip:"+testRealm+">", "To: <sip:"+testRealm+">;tag="+string(tag), 1)
		if err := m.Read([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s.begun(m)
	}
	if err := m.Read([]byte(options("c1", "", ""))); err != nil {
		t.Fatal(err)
	}
	tag := s.tag(nil, m, 1_800_000_000)
	if at, ok := read("c1", "1", tag); !ok || at != 1_800_000_000 {
		t.Errorf("the tag says %d, %v", at, ok)
	}
	for name, c := range map[string][2]string{"Call-ID": {"c2", "1"}, "From-tag": {"c1", "2"}} {
		if _, ok := read(c[0], c[1], tag); ok {
			t.Errorf("the tag was taken with another %s", name)
		}
	}
	if _, ok := read("c1", "1", s.nonce(nil, netip.MustParseAddr("192.0.2.9"), time.Now())[:16]); ok {
		t.Error("a nonce was taken for a tag")
	}
}

// A nonce count is taken once. Requests that overtake one another are taken too, within a window (RFC 7616 §3.4).
func TestReplayWindow(t *testing.T) {
	c := newCounts(4)
	nonce := func(i int) []byte { return fmt.Appendf(nil, "%0*d", nonceSize, i) }
	for _, step := range []struct {
		count uint32
		want  bool
	}{{1, true}, {1, false}, {2, true}, {5, true}, {3, true}, {3, false}, {5, false}, {4, true}, {68, true}, {5, false}, {6, true}, {6, false}, {4, false},
		{1 << 31, true}, {68, false}, {1<<31 - 63, true}, {1<<31 - 64, false}, {1<<32 - 1, true}, {1<<32 - 1, false}} {
		if got := c.use(nonce(0), step.count); got != step.want {
			t.Errorf("the count %d was taken: %v", step.count, got)
		}
	}
	for i := range 100 {
		if !c.use(nonce(i+1), 1) || len(c.new)+len(c.older) > 2*4 {
			t.Fatalf("after %d nonces %d are held", i, len(c.new)+len(c.older))
		}
	}
	if c.use(nonce(100), 1) {
		t.Error("the newest nonce is not known any more")
	}
	c.turn()
	if c.use(nonce(100), 1) {
		t.Error("after one turn the nonce is not known any more")
	}
	c.turn()
	c.turn()
	if len(c.new)+len(c.older) != 0 {
		t.Error("after two turns something is held")
	}
}

// dialogue sends SUBSCRIBEs on UDP, one after another.
type dialogue struct {
	*stream
	count int
}

// subscribe sends a SUBSCRIBE with an Authorization header, or none with "", and returns the answer.
func (d *dialogue) subscribe(authorization string) string {
	d.t.Helper()
	d.count++
	if authorization != "" {
		authorization = "Authorization: " + authorization + "\r\n"
	}
	callID := fmt.Sprintf("s%d", d.count)
	if _, err := fmt.Fprintf(d.conn, "SUBSCRIBE sip:1001@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK%[2]s\r\nFrom: <sip:1002@%[1]s>;tag=1\r\nTo: <sip:1001@%[1]s>\r\n"+
		"Call-ID: %[2]s\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:1002@192.0.2.9>\r\nEvent: dialog\r\n%[3]sContent-Length: 0\r\n\r\n", testRealm, callID, authorization); err != nil {
		d.t.Fatal(err)
	}
	text := d.next()
	if !strings.Contains(text, "\r\nCall-ID: "+callID+"\r\n") {
		d.t.Fatalf("the answer to another request:\n%s", text)
	}
	return text
}

// credentialsFor answers a challenge, as the library icholy/digest does.
func credentialsFor(t *testing.T, challenge, password string, count int) string {
	t.Helper()
	_, rest, _ := strings.Cut(challenge, "WWW-Authenticate: ")
	line, _, _ := strings.Cut(rest, "\r\n")
	c, err := digest.ParseChallenge(line)
	if err != nil {
		t.Fatalf("%v in\n%s", err, challenge)
	}
	made, err := digest.Digest(c, digest.Options{Method: "SUBSCRIBE", URI: "sip:1001@" + testRealm, Username: "1002", Password: password, Count: count})
	if err != nil {
		t.Fatal(err)
	}
	return made.String()
}

// RFC 8760: a client of other authors is challenged, authenticates, and goes on with the same nonce.
func TestDigestWithAnotherClient(t *testing.T) {
	for _, algorithm := range []Algorithm{MD5, SHA256} {
		t.Run(algorithm.String(), func(t *testing.T) {
			s, conn := startEdge(t, UDP, func(c *Config) { c.Algorithm = algorithm })
			d := &dialogue{stream: &stream{t: t, conn: conn}}
			expect := func(text, want string, stale bool) {
				t.Helper()
				if !strings.HasPrefix(text, "SIP/2.0 "+want) || strings.Contains(text, "stale=true") != stale {
					t.Errorf("want %s and stale %v, got\n%s", want, stale, text)
				}
			}
			challenge := d.subscribe("")
			expect(challenge, "401", false)
			if !strings.Contains(challenge, "algorithm="+algorithm.String()+`, qop="auth"`) {
				t.Errorf("the challenge is\n%s", challenge)
			}
			first := credentialsFor(t, challenge, "secret", 1)
			expect(d.subscribe(first), "200", false)
			expect(d.subscribe(credentialsFor(t, challenge, "secret", 2)), "200", false)
			again := d.subscribe(first)
			expect(again, "401", true) // a replay
			expect(d.subscribe(credentialsFor(t, again, "secret", 1)), "200", false)
			expect(d.subscribe(credentialsFor(t, challenge, "guess", 3)), "401", false)
			old := string(s.sealer.nonce(nil, netip.MustParseAddr("127.0.0.1"), time.Now().Add(-nonceLife)))
			late := strings.Replace(challenge, nonceOf(challenge), old, 1)
			expect(d.subscribe(credentialsFor(t, late, "secret", 1)), "401", true)
			expect(d.subscribe(strings.Replace(credentialsFor(t, challenge, "secret", 4), "qop=auth", "qop=auth-int", 1)), "401", false)
			expect(d.subscribe(strings.Replace(credentialsFor(t, challenge, "secret", 5), "algorithm="+algorithm.String(), "algorithm=SHA-512", 1)), "401", false)
			expect(d.subscribe(strings.Replace(credentialsFor(t, challenge, "secret", 6), `uri="sip:1001@`, `uri="sip:1003@`, 1)), "401", false)
			expect(d.subscribe("NoOneKnowsThisScheme opaque-data=here"), "401", false)
		})
	}
}

// nonceOf returns the nonce of a challenge.
func nonceOf(challenge string) string {
	_, rest, _ := strings.Cut(challenge, `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	return nonce
}

// Whoever guesses passwords gets no more answers after some, and the user does from elsewhere: the limit is the source's.
func TestGuessesEnd(t *testing.T) {
	s, conn := startEdge(t, UDP, nil)
	d := &dialogue{stream: &stream{t: t, conn: conn}}
	challenge := d.subscribe("")
	for i := range s.guesses.burst {
		if text := d.subscribe(credentialsFor(t, challenge, "guess", i+1)); !strings.HasPrefix(text, "SIP/2.0 401") {
			t.Fatalf("guess %d: %s", i, text)
		}
	}
	if from := netip.MustParseAddr("127.0.0.1"); !s.guesses.exhausted(from, time.Now()) || s.guesses.exhausted(netip.MustParseAddr("192.0.2.9"), time.Now()) {
		t.Error("the limit of guesses is not that of the source")
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(`Digest username="a\"b", realm="r", nonce="n,1", uri="sip:x@y", response="00", algorithm=MD5, cnonce="c", nc=00000001, qop=auth`))
	f.Add([]byte(`Digest username=a,nonce=b,response=c,uri=d,nc=00000001`))
	f.Add([]byte(`Digest username="\`))
	s := newSealer([]byte("secret"))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, ok := readCredentials(value)
		if !ok {
			return
		}
		for _, part := range [][]byte{c.username, c.realm, c.nonce, c.uri, c.response, c.algorithm, c.cnonce, c.nc, c.qop} {
			if len(part) > len(value) || !strings.Contains(string(value), string(part)) {
				t.Fatalf("%q is no part of %q", part, value)
			}
		}
		if c.verify(MD5, MD5.HA1("a", "b", "c"), []byte("SUBSCRIBE")) || s.fresh(c.nonce, netip.MustParseAddr("192.0.2.9"), time.Now()) {
			t.Fatalf("%q is authentic", value)
		}
		c.count()
	})
}

package sip

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"lamplight/transport/sip/message"
)

// sealer makes what every edge of the installation can check later without remembering it: To-tags and nonces. Both are HMACs under a
// secret that all edges share.
type sealer struct{ macs sync.Pool }

// newSealer makes a sealer.
func newSealer(secret []byte) *sealer {
	return &sealer{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

const (
	stampSize = 4 // bytes of a time, in seconds
	sealSize  = 8 // bytes of an HMAC
)

// seal appends the seal of the parts under a time: base64url of the time and the HMAC, 16 characters. what keeps the seals of one kind
// from being used as another.
func (s *sealer) seal(dst []byte, what byte, at uint32, parts ...[]byte) []byte {
	var raw [stampSize + sealSize]byte
	binary.BigEndian.PutUint32(raw[:], at)
	mac := s.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte{what})
	mac.Write(raw[:stampSize])
	var size [2]byte
	for _, p := range parts {
		binary.BigEndian.PutUint16(size[:], uint16(len(p)))
		mac.Write(size[:])
		mac.Write(p)
	}
	var sum [sha256.Size]byte
	copy(raw[stampSize:], mac.Sum(sum[:0]))
	s.macs.Put(mac)
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// opened returns the time of a seal; ok is false if it was not made by seal of the same parts.
func (s *sealer) opened(text []byte, what byte, parts ...[]byte) (at uint32, ok bool) {
	var raw [stampSize + sealSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(len(raw)) {
		return 0, false
	}
	if _, err := base64.RawURLEncoding.Decode(raw[:], text); err != nil {
		return 0, false
	}
	at = binary.BigEndian.Uint32(raw[:])
	var buffer [32]byte
	return at, subtle.ConstantTimeCompare(s.seal(buffer[:0], what, at, parts...), text) == 1
}

// sealed returns the time of a seal without looking whether it was made by an edge of this installation.
func sealed(text string) (at uint32, ok bool) {
	var raw [stampSize + sealSize]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(len(raw)) {
		return 0, false
	}
	_, err := base64.RawURLEncoding.Decode(raw[:], []byte(text))
	return binary.BigEndian.Uint32(raw[:]), err == nil
}

// The kinds of seals.
const (
	sealTag   = 't'
	sealNonce = 'n'
)

// tag appends the To-tag of a SIP dialog that begins at a time. The same request gets the same tag from every edge within a second.
func (s *sealer) tag(dst []byte, m *message.Message, at uint32) []byte {
	return s.seal(dst, sealTag, at, m.CallID(), m.From().Tag())
}

// begun returns when the SIP dialog of a request began, by its To-tag; ok is false when no edge of this installation began it.
func (s *sealer) begun(m *message.Message) (at uint32, ok bool) {
	return s.opened(m.To().Tag(), sealTag, m.CallID(), m.From().Tag())
}

// nonce appends a nonce for a client address. Two nonces differ, so that two phones behind one address have a count each.
func (s *sealer) nonce(dst []byte, from netip.Addr, now time.Time) []byte {
	var salt [saltSize]byte
	binary.BigEndian.PutUint64(salt[:], rand.Uint64())
	a := from.As16()
	dst = s.seal(dst, sealNonce, uint32(now.Unix()), a[:], salt[:])
	return base64.RawURLEncoding.AppendEncode(dst, salt[:])
}

const (
	saltSize  = 8
	nonceSize = 16 + 11 // characters
)

// fresh says whether a nonce was made for the client address, and not more than nonceLife ago.
func (s *sealer) fresh(nonce []byte, from netip.Addr, now time.Time) bool {
	var salt [saltSize]byte
	if len(nonce) != nonceSize {
		return false
	}
	if _, err := base64.RawURLEncoding.Decode(salt[:], nonce[16:]); err != nil {
		return false
	}
	a := from.As16()
	at, ok := s.opened(nonce[:16], sealNonce, a[:], salt[:])
	age := now.Unix() - int64(at)
	return ok && age >= -60 && age < int64(nonceLife/time.Second)
}

// nonceLife is longer than the longest subscription, so that a refresh needs no new challenge.
const nonceLife = 2 * time.Hour

// Algorithm is a hash algorithm of digest authentication (RFC 8760).
type Algorithm uint8

// The algorithms.
const (
	MD5 Algorithm = iota
	SHA256
)

// String is the algorithm's name in a challenge.
func (a Algorithm) String() string {
	if a == SHA256 {
		return "SHA-256"
	}
	return "MD5"
}

// hash appends the hash of the parts with colons between them, in hexadecimal.
func (a Algorithm) hash(dst []byte, parts ...[]byte) []byte {
	h := digesters[a].Get().(hash.Hash)
	h.Reset()
	for i, p := range parts {
		if i > 0 {
			h.Write(colon)
		}
		h.Write(p)
	}
	var sum [sha256.Size]byte
	out := h.Sum(sum[:0])
	digesters[a].Put(h)
	return hex.AppendEncode(dst, out)
}

var (
	colon     = []byte{':'}
	digesters = [...]sync.Pool{MD5: {New: func() any { return md5.New() }}, SHA256: {New: func() any { return sha256.New() }}}
)

// HA1 is the hash of a username, realm and password, which stands for the password (RFC 8760 §2.4), in lower-case hexadecimal.
func (a Algorithm) HA1(username, realm, password string) string {
	return string(a.hash(nil, []byte(username), []byte(realm), []byte(password)))
}

// credentials are the fields of an Authorization header (RFC 8760 §2.4).
type credentials struct {
	username, realm, nonce, uri, response, algorithm, cnonce, nc, qop []byte
}

// readCredentials reads an Authorization header; ok is false when it is not digest authentication or lacks something.
func readCredentials(value []byte) (c credentials, ok bool) {
	scheme, rest, found := bytes.Cut(bytes.TrimLeft(value, " \t"), []byte{' '})
	if !found || !bytes.EqualFold(scheme, []byte("Digest")) {
		return c, false
	}
	for len(rest) > 0 {
		var name, text []byte
		if name, text, rest, ok = nextField(rest); !ok {
			return c, false
		}
		for _, f := range [...]struct {
			name string
			into *[]byte
		}{{"username", &c.username}, {"realm", &c.realm}, {"nonce", &c.nonce}, {"uri", &c.uri}, {"response", &c.response},
			{"algorithm", &c.algorithm}, {"cnonce", &c.cnonce}, {"nc", &c.nc}, {"qop", &c.qop}} {
			if len(name) == len(f.name) && bytes.EqualFold(name, []byte(f.name)) {
				*f.into = text
			}
		}
	}
	return c, len(c.username) > 0 && len(c.nonce) > 0 && len(c.response) > 0 && len(c.uri) > 0
}

// nextField takes the first field off a list of fields, which have commas between them.
func nextField(list []byte) (name, value, rest []byte, ok bool) {
	name, list, ok = bytes.Cut(list, []byte{'='})
	if !ok {
		return nil, nil, nil, false
	}
	list = bytes.TrimLeft(list, " \t")
	if len(list) > 0 && list[0] == '"' {
		end := 1
		for end < len(list) && list[end] != '"' {
			if list[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(list) {
			return nil, nil, nil, false
		}
		value, list = list[1:end], list[end+1:]
		_, rest, _ = bytes.Cut(list, []byte{','})
	} else {
		value, rest, _ = bytes.Cut(list, []byte{','})
		value = bytes.TrimSpace(value)
	}
	return bytes.TrimSpace(name), value, rest, true
}

// verify says whether a response was made from the password whose HA1 is given, with qop=auth (RFC 8760 §2.4).
func (c *credentials) verify(a Algorithm, ha1 string, method []byte) bool {
	var buffers [2][2 * sha256.Size]byte
	ha2 := a.hash(buffers[0][:0], method, c.uri)
	want := a.hash(buffers[1][:0], []byte(ha1), c.nonce, c.nc, c.cnonce, []byte("auth"), ha2)
	var got [2 * sha256.Size]byte
	if len(c.response) != len(want) {
		return false
	}
	for i, b := range c.response {
		if 'A' <= b && b <= 'F' {
			b += 'a' - 'A'
		}
		got[i] = b
	}
	return subtle.ConstantTimeCompare(got[:len(want)], want) == 1
}

// count returns the nonce count; ok is false when it is no number of eight hexadecimal digits.
func (c *credentials) count() (n uint32, ok bool) {
	var raw [4]byte
	if len(c.nc) != 8 {
		return 0, false
	}
	if _, err := hex.Decode(raw[:], c.nc); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint32(raw[:]), true
}

// counts remembers which nonce counts of which nonces were used, so that a request that was overheard is of no use twice. It holds two
// generations: what was not used during two turns is forgotten. A nonce that is not known, because this edge has just started, is taken
// with any count.
type counts struct {
	mu         sync.Mutex
	new, older map[[nonceSize]byte]window
	most       int // nonces of one generation
}

// window are the counts of one nonce that were used: the highest, and which of the 63 below it.
type window struct {
	highest uint32
	used    uint64
}

// newCounts makes counts of at most twice so many nonces.
func newCounts(most int) *counts {
	return &counts{new: map[[nonceSize]byte]window{}, older: map[[nonceSize]byte]window{}, most: most}
}

// use notes that a count of a fresh nonce is used. It returns false if the count was used before, or is too old to know.
func (c *counts) use(nonce []byte, n uint32) bool {
	key := [nonceSize]byte(nonce)
	c.mu.Lock()
	defer c.mu.Unlock()
	w, known := c.new[key]
	if !known {
		w = c.older[key]
		delete(c.older, key)
	}
	switch below := w.highest - n; {
	case n > w.highest:
		if shift := n - w.highest; shift < 64 {
			w.used = w.used<<shift | 1
		} else {
			w.used = 1
		}
		w.highest = n
	case below >= 64 || w.used>>below&1 == 1:
		return false
	default:
		w.used |= 1 << below
	}
	if !known && len(c.new) >= c.most {
		c.turnLocked()
	}
	c.new[key] = w
	return true
}

// turn begins a new generation.
func (c *counts) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turnLocked()
}

// turnLocked is turn for a caller that holds c.mu.
func (c *counts) turnLocked() { c.older, c.new = c.new, make(map[[nonceSize]byte]window, len(c.new)/2) }

// HashPassword is what Credentials.HA1 is for a password.
func HashPassword(username, realm, password string) [2]string {
	return [2]string{MD5.HA1(username, realm, password), SHA256.HA1(username, realm, password)}
}

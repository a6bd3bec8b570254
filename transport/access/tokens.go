package access

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"
)

// Issuer is the iss claim of every good token.
const Issuer = "lamplight"

// TokenLife is how long a token is good that LogIn makes.
const TokenLife = time.Hour

// claims are the claims of a token.
type claims struct {
	AccountID string `json:"account_id"`
	OwnerID   string `json:"owner_id,omitempty"`
	APIKey    bool   `json:"api_key,omitempty"` // it was made for the account's API key
	KeyID     string `json:"key_id,omitempty"`  // directory.APIKeyID of that key
	jwt.RegisteredClaims
}

// LoadOrCreateKey reads an Ed25519 private key from a file (PEM, PKCS #8). When there is no such file it makes a key and writes
// it there, readable by its owner only.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return nil, err
	}
	return ParseKey(data)
}

// ParseKey reads an Ed25519 private key (PEM, PKCS #8).
func ParseKey(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the token key is not in PEM format; it must be an Ed25519 private key (PEM, PKCS #8)")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the token key is no PKCS #8 private key: %w", err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the token key is a %T; it must be an Ed25519 key", k)
	}
	return key, nil
}

// KeyID returns the name of a public key: the kid header of the tokens that its private half signs, and its name in the
// directory.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:12])
}

// Sign makes a token for an account that is good for ttl. It does not check that there is such an account.
func Sign(key ed25519.PrivateKey, account string, ttl time.Duration) (string, error) {
	return sign(key, claims{AccountID: account}, ttl)
}

// sign makes a token that is good for ttl. Without OwnerID it is for no user of the account.
func sign(key ed25519.PrivateKey, c claims, ttl time.Duration) (string, error) {
	now := time.Now()
	c.RegisteredClaims = jwt.RegisteredClaims{Issuer: Issuer, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl))}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = KeyID(key.Public().(ed25519.PublicKey))
	return t.SignedString(key)
}

// Keys finds the public halves of the nodes' token keys. The directory is one.
type Keys interface {
	// PublicKey returns the key with a KeyID, or an error if there is none or it could not be asked for. A key that
	// PublicKey returned once may be taken for good for ever: no key changes its KeyID. It may be called from any goroutine
	// and waits until ctx ends at the longest.
	PublicKey(ctx context.Context, id string) ([]byte, error)
}

// Verifier checks tokens. It remembers the good ones until they expire, so that it checks a signature only once. It may be used
// from any goroutine.
type Verifier struct {
	keys     Keys
	foreign  keyfunc.Keyfunc  // of another issuer's JWKS; nil: none
	public   crypto.PublicKey // of another issuer, when it was given as PEM; nil: none
	audience string           // that the aud of another issuer's tokens must name; "": any
	parser   *jwt.Parser
	good     *otter.Cache[[32]byte, verdict] // by the SHA-256 of the token
}

// verdict says what a good token is for.
type verdict struct {
	account string
	owner   string // the user that a node of ours made it for; "": none
	key     string // directory.APIKeyID of the API key that a node of ours made it for; "": none, or a node of an earlier release made it
	who     string // who has it, in words
	expires time.Time
}

// NewVerifier makes a Verifier. jwks is the JWKS, or the public key as PEM, of another issuer whose tokens are good too; nil
// means that there is none. audience is what their aud must name; "" means that it is not checked.
func NewVerifier(keys Keys, jwks []byte, audience string) (*Verifier, error) {
	v := &Verifier{keys: keys, audience: audience, parser: jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA", "RS256", "ES256"}),
		jwt.WithIssuer(Issuer), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())}
	var err error
	if block, _ := pem.Decode(jwks); block != nil {
		if v.public, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("--jwks: %w", err)
		}
		if why := unusable(v.public); why != "" {
			return nil, fmt.Errorf("--jwks: the key is %s; it must be %s", why, usableKeys)
		}
	} else if jwks != nil {
		if v.foreign, err = keyfunc.NewJWKSetJSON(jwks); err == nil {
			err = checkJWKS(v.foreign)
		}
		if err != nil {
			return nil, fmt.Errorf("--jwks: %w", err)
		}
	}
	v.good, err = otter.New(&otter.Options[[32]byte, verdict]{MaximumSize: 100_000})
	return v, err
}

// usableKeys are the keys that verify tokens.
const usableKeys = "a public key: RSA of at least 2048 bits, P-256 or Ed25519"

// unusable returns what a key is that verifies no token; "": it verifies some.
func unusable(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 {
			return fmt.Sprintf("RSA of %d bits, which is too weak", bits)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "of the curve " + k.Curve.Params().Name
		}
	case ed25519.PublicKey:
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return "private, and its issuer must keep it secret"
	case []byte:
		return "symmetric, and who verifies with it could sign too"
	default:
		return "of another kind"
	}
	return ""
}

// checkJWKS refuses a set without a key that verifies tokens, and one with a key that must not be used. A set may have other keys too.
func checkJWKS(f keyfunc.Keyfunc) error {
	keys, err := f.Storage().KeyReadAll(context.Background())
	if err != nil {
		return err
	}
	usable, reasons := false, []string(nil)
	for _, k := range keys {
		why := unusable(k.Key())
		switch k.Key().(type) {
		case *rsa.PublicKey, *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			if why != "" {
				return fmt.Errorf("the key %q is %s; it must be %s", k.Marshal().KID, why, usableKeys)
			}
		}
		if usable = usable || why == ""; why != "" {
			reasons = append(reasons, fmt.Sprintf("%q is %s", k.Marshal().KID, why))
		}
	}
	if !usable {
		return fmt.Errorf("the set has no key that verifies tokens (%s); there must be %s", cmp.Or(strings.Join(reasons, ", "), "it is empty"), usableKeys)
	}
	return nil
}

// Account returns the id of the account that a token is for, or ErrCredentials when the token is not good or its key cannot be
// asked for. It does not check that the account exists.
func (v *Verifier) Account(ctx context.Context, token []byte) (string, error) {
	known, err := v.verify(ctx, token)
	return known.account, err
}

// verify is Account that returns all that a good token says.
func (v *Verifier) verify(ctx context.Context, token []byte) (verdict, error) {
	if len(token) == 0 || len(token) > 8192 || bytes.ContainsAny(token, "\r\n") { // base64 passes over line ends
		return verdict{}, ErrCredentials
	}
	sum := sha256.Sum256(token)
	if known, ok := v.good.GetIfPresent(sum); ok {
		if time.Now().Before(known.expires) {
			return known, nil
		}
		return verdict{}, ErrCredentials
	}
	c := jwt.MapClaims{} // a struct would take ACCOUNT_ID for account_id
	ours := false
	_, err := v.parser.ParseWithClaims(string(token), c, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical { // extensions that must be understood (RFC 7515 §4.1.11); none is
			return nil, ErrCredentials
		}
		if !v.unambiguous(t) {
			return nil, ErrCredentials
		}
		kid, _ := t.Header["kid"].(string)
		if t.Method == jwt.SigningMethodEdDSA {
			if k, err := v.keys.PublicKey(ctx, kid); err == nil && len(k) == ed25519.PublicKeySize {
				ours = true
				return ed25519.PublicKey(k), nil
			}
		}
		switch {
		case v.foreign != nil:
			return v.foreign.Keyfunc(t)
		case v.public != nil:
			return v.public, nil
		}
		return nil, ErrCredentials
	})
	account, _ := c["account_id"].(string)
	owner, isText := c["owner_id"].(string)
	if _, named := c["owner_id"]; named && !isText { // it is for somebody, and not for the whole account
		return verdict{}, ErrCredentials
	}
	expires, timed := c.GetExpirationTime()
	if err != nil || account == "" || timed != nil || expires == nil {
		return verdict{}, ErrCredentials
	}
	if audiences, err := c.GetAudience(); !ours && v.audience != "" && (err != nil || !slices.Contains(audiences, v.audience)) {
		return verdict{}, ErrCredentials
	}
	known := verdict{account: account, expires: expires.Time}
	if ours { // users of another issuer's tokens need not be in the directory
		known.owner = owner
		known.key, _ = c["key_id"].(string)
	}
	switch key, _ := c["api_key"].(bool); {
	case owner != "":
		known.who = "user " + owner + " of account " + account
	case ours && key:
		known.who = "the API key of account " + account
	default:
		known.who = "a token of account " + account
	}
	v.good.Set(sum, known)
	return known, nil
}

// unambiguous says whether every reader of a token's header and claims finds the same in them: no object has a name twice.
func (v *Verifier) unambiguous(t *jwt.Token) bool {
	parts := strings.Split(t.Raw, ".")
	for _, part := range parts[:2] {
		text, err := v.parser.DecodeSegment(part)
		if err != nil || !jsontext.Value(text).IsValid() {
			return false
		}
	}
	return true
}

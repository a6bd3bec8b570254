package rest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lamplight/transport/access"
)

// A token is looked for in the order of docs/contract/http.md, "Tokens". Every envelope repeats the token that came.
func TestTokenPlaces(t *testing.T) {
	e := newBed(t, 0)
	path, mine := "/v2/accounts/"+root+"/presence/1001", e.tokens[root]
	body := func(token string) string { return `{"auth_token":"` + token + `","data":{"action":"reset"}}` }
	for name, c := range map[string]struct {
		query, header, bearer, body string
		code                        int
	}{
		"header before query": {"bad", mine, "", "", 200}, "header before all": {mine, "bad", "Bearer " + mine, body(mine), 401}, "query before bearer": {"bad", "", "Bearer " + mine, "", 401},
		"body before bearer": {"", "", "Bearer " + mine, body("bad"), 401}, "body": {"", "", "", body(mine), 200}, "bearer": {"", "", "Bearer " + mine, "", 200},
		"bearer in any case": {"", "", "bEARER  " + mine, "", 200}, "basic": {"", "", "Basic " + mine, "", 401}, "no token": {"", "", "", "", 401},
	} {
		url := path
		if c.query != "" {
			url += "?auth_token=" + c.query
		}
		if r := e.do("POST", url, c.header, c.body, "Authorization", c.bearer); r.Code != c.code {
			t.Errorf("%s: %d, want %d: %s", name, r.Code, c.code, r.Raw)
		}
	}
	if r := e.do("GET", "/v2/nothing", "some", ""); r.Code != 404 || r.Token != "some" {
		t.Errorf("a token that came is in every envelope: %s", r.Raw)
	}
	if r := e.do("GET", "/v2/nothing", "", ""); r.Token != "undefined" {
		t.Errorf("no token: %s", r.Raw)
	}
}

// A token is refused that is signed by a wrong key or with a wrong algorithm, has another issuer, or does not expire.
func TestForgedTokens(t *testing.T) {
	e := newBed(t, 0)
	public := e.key.Public().(ed25519.PublicKey)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	v, err := access.NewVerifier(e.api.cfg.Directory, pemKey, "")
	if err != nil {
		t.Fatal(err)
	}
	_, strange, _ := ed25519.GenerateKey(rand.Reader)
	for name, c := range map[string]struct {
		method  jwt.SigningMethod
		key     any
		kid     string
		change  func(jwt.MapClaims)
		account string
	}{
		"ours":                       {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), nil, root},
		"the configured key":         {jwt.SigningMethodRS256, rsaKey, "", nil, root},
		"HS256 with our public key":  {jwt.SigningMethodHS256, []byte(public), access.KeyID(public), nil, ""},
		"HS256 with the public PEM":  {jwt.SigningMethodHS256, pemKey, "", nil, ""},
		"RS512 by the configured":    {jwt.SigningMethodRS512, rsaKey, "", nil, ""},
		"PS256 by the configured":    {jwt.SigningMethodPS256, rsaKey, "", nil, ""},
		"ES256 where RSA is set":     {jwt.SigningMethodES256, ecKey, "", nil, ""},
		"EdDSA by a stranger":        {jwt.SigningMethodEdDSA, strange, access.KeyID(public), nil, ""},
		"EdDSA without kid":          {jwt.SigningMethodEdDSA, e.key, "", nil, ""},
		"none":                       {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, access.KeyID(public), nil, ""},
		"wrong issuer":               {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { c["iss"] = "kazoo" }, ""},
		"no issuer":                  {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { delete(c, "iss") }, ""},
		"no end":                     {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { delete(c, "exp") }, ""},
		"ended":                      {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { c["exp"] = time.Now().Unix() - 1 }, ""},
		"end is a word":              {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { c["exp"] = "never" }, ""},
		"no account":                 {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { delete(c, "account_id") }, ""},
		"account is a list":          {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { c["account_id"] = []string{root} }, ""},
		"names in capitals":          {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { delete(c, "account_id"); c["ACCOUNT_ID"] = root }, ""},
		"EXP in capitals":            {jwt.SigningMethodEdDSA, e.key, access.KeyID(public), func(c jwt.MapClaims) { delete(c, "exp"); c["EXP"] = time.Now().Unix() + 60 }, ""},
		"a key id that is a subject": {jwt.SigningMethodEdDSA, strange, "a.>", nil, ""},
	} {
		claims := jwt.MapClaims{"account_id": root, "iss": access.Issuer, "exp": time.Now().Unix() + 60, "iat": time.Now().Unix()}
		if c.change != nil {
			c.change(claims)
		}
		token := jwt.NewWithClaims(c.method, claims)
		if c.kid != "" {
			token.Header["kid"] = c.kid
		}
		signed, err := token.SignedString(c.key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 { // the second verdict may be a remembered one
			if account, err := v.Account(t.Context(), []byte(signed)); account != c.account || (err == nil) != (c.account != "") {
				t.Errorf("%s: %q %v", name, account, err)
			}
		}
	}
}

// A token is good in one form only. Whoever changes a bit that base64 does not use, or adds a line end, has no good token, and claims
// that two readers could understand differently are refused although their signature is right.
func TestOneFormOfAToken(t *testing.T) {
	e := newBed(t, 0)
	v, err := access.NewVerifier(e.api.cfg.Directory, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	kid, encode := access.KeyID(e.key.Public().(ed25519.PublicKey)), base64.RawURLEncoding.EncodeToString
	sign := func(header, claims string, spare ...int) string { // spare are parts of which an unused bit is set
		parts := []string{encode([]byte(header)), encode([]byte(claims)), ""}
		set := func(i int) {
			if slices.Contains(spare, i) {
				const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
				last := len(parts[i]) - 1
				if len(parts[i])%4 == 0 {
					t.Fatalf("part %d has no unused bits", i)
				}
				parts[i] = parts[i][:last] + string(digits[strings.IndexByte(digits, parts[i][last])+1])
			}
		}
		set(0)
		set(1)
		parts[2] = encode(ed25519.Sign(e.key, []byte(parts[0]+"."+parts[1])))
		set(2)
		return strings.Join(parts, ".")
	}
	pad := func(text string) string { return text + strings.Repeat(" ", (4-len(text)%3)%3) } // so that its base64 has unused bits
	header := pad(`{"alg":"EdDSA","kid":"` + kid + `"}`)
	claims := func(more string) string {
		return pad(fmt.Sprintf(`{"account_id":%q,"iss":"lamplight","exp":%d%s}`, root, time.Now().Unix()+60, more))
	}
	for name, c := range map[string]struct {
		token string
		good  bool
	}{
		"as it was made": {sign(header, claims("")), true}, "for a user": {sign(header, claims(`,"owner_id":"`+user+`"`)), true},
		"another header": {sign(header, claims(""), 0), false}, "other claims": {sign(header, claims(""), 1), false}, "another signature": {sign(header, claims(""), 2), false},
		"a line end": {sign(header, claims("")) + "\n", false}, "a line end within": {strings.Replace(sign(header, claims("")), ".", ".\r", 2), false},
		"two accounts": {sign(header, claims(`,"account_id":"`+root+`"`)), false}, "two names within": {sign(header, claims(`,"x":{"y":1,"y":1}`)), false},
		"two algorithms":            {sign(pad(`{"alg":"none","alg":"EdDSA","kid":"`+kid+`"}`), claims("")), false},
		"an owner that is a number": {sign(header, claims(`,"owner_id":5`)), false}, "an owner that is null": {sign(header, claims(`,"owner_id":null`)), false},
		"an owner that is a list": {sign(header, claims(`,"owner_id":["`+user+`"]`)), false},
	} {
		for range 2 {
			if account, err := v.Account(t.Context(), []byte(c.token)); (err == nil) != c.good || c.good != (account == root) {
				t.Errorf("%s: %q %v", name, account, err)
			}
		}
	}
	mine := e.tokens[root]
	if r := e.do("GET", "/v2/accounts/"+root+"/presence/1001?auth_token="+mine+"%0A", "", ""); r.Code != 401 {
		t.Errorf("a line end in the query: %d %s", r.Code, r.Raw)
	}
}

// A token with extensions that must be understood is refused: none is known (RFC 7515 §4.1.11). Where an audience is configured, another
// issuer's token must name it; a node's own token names none.
func TestCriticalAndAudience(t *testing.T) {
	e := newBed(t, 0)
	public := e.key.Public().(ed25519.PublicKey)
	theirs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&theirs.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := access.NewVerifier(e.api.cfg.Directory, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "presence")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ours     bool
		audience any
		critical bool
		good     bool
	}{
		"ours":                    {true, nil, false, true},
		"ours, critical":          {true, nil, true, false},
		"theirs for us":           {false, "presence", false, true},
		"theirs for several":      {false, []string{"billing", "presence"}, false, true},
		"theirs for another":      {false, "billing", false, false},
		"theirs for nobody":       {false, nil, false, false},
		"theirs for us, critical": {false, "presence", true, false},
	} {
		claims := jwt.MapClaims{"account_id": root, "iss": access.Issuer, "exp": time.Now().Unix() + 60}
		if c.audience != nil {
			claims["aud"] = c.audience
		}
		method, key := jwt.SigningMethod(jwt.SigningMethodRS256), any(theirs)
		if c.ours {
			method, key = jwt.SigningMethodEdDSA, e.key
		}
		token := jwt.NewWithClaims(method, claims)
		if c.ours {
			token.Header["kid"] = access.KeyID(public)
		}
		if c.critical {
			token.Header["crit"] = []string{"exp"}
		}
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Account(t.Context(), []byte(signed)); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// After ten wrong API keys within a minute from one address, no further login is tried from there.
func TestWrongAPIKeysAreLimited(t *testing.T) {
	e := newBed(t, 0)
	for i := range 12 {
		want := 401
		if i >= 10 {
			want = 429
		}
		if r := e.do("PUT", "/v2/api_auth", "", `{"data":{"api_key":"wrong"}}`); r.Code != want {
			t.Errorf("try %d: %d %s", i+1, r.Code, r.Raw)
		}
	}
}

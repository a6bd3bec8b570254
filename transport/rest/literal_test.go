package rest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/access"
	"lamplight/transport/httpd"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // it looks every 10 s whether to end
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// Bodies that are JSON but not what is asked for are refused with what was wrong; none is taken for an empty one, which
// would be a reset.
func TestBodies(t *testing.T) {
	e := newEdge(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	for body, want := range map[string]string{
		`[]`: "at byte 0", `"x"`: "at byte 0", `5`: "at byte 0", `null`: "at byte 0", `{"data":[]}`: "data must be an object",
		`{"action":"set","state":"early"}`: "must be wrapped", `{"data":{}} x`: "at byte 12", "{\"data\":{\"action\":\"\xff\"}}": "UTF-8",
		`{"data":{},"data":{}}`: "duplicate", `{"data":{"a":{"b":1,"b":2}}}`: "duplicate", `{`: "at byte 1", strings.Repeat(`{"data":`, 20000): "json",
	} {
		r := e.do("POST", path, e.tokens[root], body)
		if r.Code != 400 || r.Message != "validation error" || !strings.Contains(r.Raw, `{"json":{"invalid":{"message":`) || !strings.Contains(r.Raw, want) || strings.Contains(r.Raw, "Go ") {
			t.Errorf("%.60s: %d %.400s", body, r.Code, r.Raw)
		}
	}
	for _, body := range []string{``, `{}`, `{"data":null}`, `{"data":{}}`, `{"data":{"action":null}}`} {
		if r := e.do("POST", path, e.tokens[root], body); r.Data != "reset command sent for extension 1001" {
			t.Errorf("%q: %d %s", body, r.Code, r.Raw)
		}
	}
	for _, form := range []string{"", "application/x-www-form-urlencoded", "application/json", "text/plain"} {
		if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"set","state":"early"}}`, "Content-Type", form); r.Data != "command sent" {
			t.Errorf("Content-Type %q: %s", form, r.Raw)
		}
	}
}

// What stored entries must not be; each refusal names the field. All else is kept as it came.
func TestEntries(t *testing.T) {
	e := newEdge(t, 0)
	base := "/v2/accounts/" + root
	long := strings.Repeat("*", 1400)
	for _, c := range []struct{ path, data, field string }{
		{base + "/devices", `{"name":5}`, "name"}, {base + "/devices", `{"presence_id":"*"}`, "presence_id"}, {base + "/devices", `{"presence_id":"@root.test"}`, "presence_id"},
		{base + "/devices", `{"presence_id":"a\u0001"}`, "presence_id"}, {base + "/devices", `{"presence_id":"` + long + `"}`, "presence_id"}, {base + "/devices", `{"sip":5}`, "sip"},
		{base + "/devices", `{"sip":{"username":"` + long + `"}}`, "username"}, {base + "/users", `{"presence_id":"*@root.test"}`, "presence_id"}, {base + "/users", `{"last_name":[]}`, "last_name"},
		{"/v2/accounts", `{}`, "realm"}, {"/v2/accounts", `{"realm":"a b"}`, "realm"}, {"/v2/accounts", `{"realm":"a.>"}`, "realm"}, {"/v2/accounts", `{"realm":"x.test","api_key":"` + long + `"}`, "api_key"},
		{base + "/devices", `{"x":"` + strings.Repeat("x", 70_000) + `"}`, "data"},
	} {
		if r := e.do("PUT", c.path, e.tokens[root], `{"data":`+c.data+`}`); r.Code != 400 || r.Message != "validation error" || !strings.Contains(r.Raw, `"data":{"`+c.field+`":{"invalid":{"message":`) {
			t.Errorf("PUT %s %.60s: %d %.300s", c.path, c.data, r.Code, r.Raw)
		}
	}
	const odd = `"deep":{"list":[1,2.50,12345678901234567890123,null,true]},"e":-0`
	r := e.do("PUT", base+"/devices", e.tokens[root], `{"data":{`+odd+`,"sip":{"password":"secret","username":"9"}}}`)
	m, _ := r.Data.(map[string]any)
	at := fmt.Sprint(base, "/devices/", m["id"])
	for _, r := range []reply{r, e.do("GET", at, e.tokens[root], ""), e.do("PATCH", at, e.tokens[root], `{"data":{"sip":{"realm":"x"}}}`), e.do("DELETE", at, e.tokens[root], "")} {
		if r.Code/100 != 2 || !strings.Contains(r.Raw, odd) || strings.Contains(r.Raw, "secret") {
			t.Errorf("%d %s", r.Code, r.Raw)
		}
	}
}

// What is read, changed and put back does not lose the password that reading never shows; null takes it away.
func TestPasswordSurvivesReplacement(t *testing.T) {
	e := newEdge(t, 0)
	at := "/v2/accounts/" + root + "/devices/" + phone
	password := func() string {
		d, err := e.api.cfg.Directory.Get(t.Context(), directory.Devices, root, phone)
		if err != nil {
			t.Fatal(err)
		}
		return d.Text("sip.password")
	}
	for _, c := range []struct{ verb, data, want string }{
		{"POST", `{"name":"x","sip":{"username":"1001"}}`, "secret"}, {"PATCH", `{"sip":{"username":"1002"}}`, "secret"}, {"POST", `{"sip":{"username":"1001","password":"new"}}`, "new"},
		{"PATCH", `{"sip":{"password":null}}`, ""}, {"PATCH", `{"sip":{"password":"again"}}`, "again"}, {"POST", `{"name":"x"}`, ""},
	} {
		if r := e.do(c.verb, at, e.tokens[root], `{"data":`+c.data+`}`); r.Code != 200 || strings.Contains(r.Raw, "password") || password() != c.want {
			t.Errorf("%s %s: %d %s; the password is %q", c.verb, c.data, r.Code, r.Raw, password())
		}
	}
}

// A presence id may name any realm of the token's tree: a parent may store what the child itself may not act on.
func TestPresenceIDsOfOtherRealms(t *testing.T) {
	e := newEdge(t, 0)
	devices := "/v2/accounts/" + child + "/devices"
	r := e.do("PUT", devices, e.tokens[root], `{"data":{"presence_id":"1@ROOT.test"}}`)
	m, _ := r.Data.(map[string]any)
	if r.Code != 201 {
		t.Fatalf("the parent stores its own realm below: %d %s", r.Code, r.Raw)
	}
	if r := e.do("PUT", devices, e.tokens[child], `{"data":{"presence_id":"1@root.test"}}`); r.Code != 403 {
		t.Errorf("the child stores its parent's realm: %d %s", r.Code, r.Raw)
	}
	at := fmt.Sprint(devices, "/", m["id"], "/presence")
	for token, code := range map[string]int{root: 200, child: 403} {
		for verb, body := range map[string]string{"GET": "", "POST": `{"data":{"action":"set","state":"early"}}`} {
			if r := e.do(verb, at, e.tokens[token], body); r.Code != code {
				t.Errorf("%s as %s: %d %s", verb, token, r.Code, r.Raw)
			}
		}
	}
	if asked := e.router.asked; len(asked) != 2 || asked[0].To != asked[1].To || asked[0].To.String() != "1@root.test" {
		t.Errorf("the router was asked %v", asked)
	}
}

func TestNames(t *testing.T) {
	e := newEdge(t, 0)
	base := "/v2/accounts/" + root + "/presence/"
	for _, bad := range []string{"%ff", "%C2%85", "%00", "%7f", "*", "%2A", "%2a", "*@root.test", "@root.test", strings.Repeat("%2A", 257), strings.Repeat("%2A", 1400), "%", "%4", "%zz"} {
		if r := e.do("GET", base, e.tokens[root], ""); r.Code != 200 {
			t.Fatal(r.Raw)
		}
		c, err := net.Dial("tcp", e.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", base, bad, e.tokens[root])
		raw, _ := io.ReadAll(c)
		c.Close()
		if !strings.HasPrefix(string(raw), "HTTP/1.1 400") || !strings.Contains(string(raw), "validation error") {
			t.Errorf("%.40s: %.300s", bad, raw)
		}
	}
	for name, want := range map[string]string{"%2A3101": "*3101", "*3101": "*3101", "a%2Fb": "a/b", "%3E": ">", "ABC": "abc", "abc/": "abc", "a%20b": "a b", "%C3%89": "é",
		"1001@ROOT.test": "1001", "1001@child.test": "1001@child.test", strings.Repeat("%2A", 256): strings.Repeat("*", 256)} {
		if r := e.do("GET", base+name, e.tokens[root], ""); r.Code != 200 || !strings.Contains(r.Raw, `"extension":"`+want+`"`) {
			t.Errorf("%s: %d %s", name, r.Code, r.Raw)
		}
	}
	if r := e.do("GET", base+"1001", e.tokens[root], "", "X-Long", strings.Repeat("x", httpd.MaxHead)); r.Code != 400 || r.Status != "error" || strings.Contains(r.Raw, "xxx") {
		t.Errorf("a long header: %d %.300s", r.Code, r.Raw)
	}
}

// HEAD is GET without the body, on every path that can be got; every path names its verbs.
func TestVerbs(t *testing.T) {
	e := newEdge(t, 0)
	base := "/v2/accounts/" + root
	for path, want := range map[string]string{
		"/healthz": "GET", "/readyz": "GET", "/metrics": "GET", "/openapi.yaml": "GET", "/v2/api_auth": "PUT", "/v2/accounts": "GET, PUT", base: "GET, POST, PATCH, DELETE",
		base + "/devices": "GET, PUT", base + "/users": "GET, PUT", base + "/devices/" + phone: "GET, POST, PATCH, DELETE", base + "/users/" + user: "GET, POST, PATCH, DELETE",
		base + "/presence": "GET, POST", base + "/presence/1001": "GET, POST", base + "/devices/" + phone + "/presence": "GET, POST", base + "/users/" + user + "/presence": "GET, POST",
	} {
		r := e.do("BREW", path, e.tokens[root], "")
		if r.Code != 405 || r.Error != "405" || r.Message != "invalid_method" || !strings.HasPrefix(r.Header.Get("Allow"), want+", ") {
			t.Errorf("BREW %s: %d Allow %q", path, r.Code, r.Header.Get("Allow"))
		}
		if !strings.HasPrefix(want, "GET") {
			continue
		}
		got, head := e.do("GET", path, e.tokens[root], ""), e.do("HEAD", path, e.tokens[root], "")
		if head.Code != 200 || head.Raw != "" || head.Header.Get("ETag") != got.Header.Get("ETag") {
			t.Errorf("HEAD %s: %d %q %q, GET has %q", path, head.Code, head.Raw, head.Header.Get("ETag"), got.Header.Get("ETag"))
		}
	}
}

func TestConditional(t *testing.T) {
	e := newEdge(t, 0)
	path := "/v2/accounts/" + root + "/presence"
	tag := e.do("GET", path, e.tokens[root], "").Header.Get("ETag")
	for header, code := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
		for _, verb := range []string{"GET", "HEAD"} {
			if r := e.do(verb, path, e.tokens[root], "", "If-None-Match", header); r.Code != code || r.Header.Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %s: %d", verb, header, r.Code)
			}
		}
	}
	if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`, "If-None-Match", "*"); r.Code != 200 {
		t.Errorf("POST: %d", r.Code)
	}
}

func TestTokenPlaces(t *testing.T) {
	e := newEdge(t, 0)
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

// What a token must not be: signed by the wrong kind of key, for the wrong issuer, or without an end.
func TestForgedTokens(t *testing.T) {
	e := newEdge(t, 0)
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
	v, err := access.NewVerifier(e.api.cfg.Directory, pemKey)
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

// A large body is refused whether its length is declared or not, and the answer arrives.
func TestLargeBodies(t *testing.T) {
	e := newEdge(t, 0)
	for name, length := range map[string]int64{"declared": httpd.MaxBody + 1, "chunked": -1} {
		q, err := http.NewRequest("POST", e.url+"/v2/accounts/"+root+"/presence/1001", io.LimitReader(zeros{}, httpd.MaxBody+1))
		if err != nil {
			t.Fatal(err)
		}
		q.ContentLength = length
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, _ := io.ReadAll(a.Body)
		a.Body.Close()
		if a.StatusCode != 413 || !strings.Contains(string(raw), `"max_bytes":8388608`) {
			t.Errorf("%s: %d %s", name, a.StatusCode, raw)
		}
	}
}

// Large bodies are read a bounded number at a time; past that they are refused, and small ones go on.
func TestManyLargeBodies(t *testing.T) {
	e := newEdge(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	for range httpd.MaxLarge {
		c, err := net.Dial("tcp", e.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, 2*httpd.SmallBody, strings.Repeat(" ", httpd.SmallBody))
	}
	large := func() reply { return e.do("POST", path, e.tokens[root], strings.Repeat(" ", httpd.SmallBody+1)) }
	r := large()
	for end := time.Now().Add(10 * time.Second); r.Code != 429; r = large() { // until all of those are being read
		if time.Now().After(end) {
			t.Fatalf("one large body too many: %d %s", r.Code, r.Raw)
		}
	}
	if r.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", r.Header)
	}
	if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`+strings.Repeat(" ", httpd.SmallBody/2)); r.Code != 200 {
		t.Errorf("a small one: %d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", "/metrics", "", ""); !strings.Contains(r.Raw, `lamplight_http_errors_total{code="429"} 1`) {
		t.Error("the refusal is not counted")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A listing that breaks off after it began to be streamed says that it did; one whose client goes leaves nothing behind.
func TestStreamBreaksOff(t *testing.T) {
	e := newEdge(t, 0)
	for i := range 30_000 {
		e.router.rows = append(e.router.rows, actors.SubscriptionView{User: fmt.Sprint(100000 + i), CallID: "c", From: "w@root.test", Granted: 1820, Renewed: time.Unix(1, 0), Version: 1})
	}
	e.router.lost = actors.ErrUnavailable
	r := e.do("GET", "/v2/accounts/"+root+"/presence?pretty_print=true", e.tokens[root], "")
	m, _ := r.Data.(map[string]any)
	if holes, _ := m["missing_shards"].([]any); r.Code != 200 || m["timeout"] != true || len(holes) != actors.Shards || r.Status != "success" {
		t.Errorf("%d, timeout %v, %d shards missing", r.Code, m["timeout"], len(holes))
	}
	c, err := net.Dial("tcp", e.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /v2/accounts/%s/presence HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\n\r\n", root, e.tokens[root])
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	c.Close()
}

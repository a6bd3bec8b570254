package rest

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/reports"
	"lamplight/cluster/status"
	"lamplight/transport/access"
	"lamplight/transport/audit"
	"lamplight/transport/client"
	"lamplight/transport/httpd"
	"lamplight/transport/live"
	"lamplight/transport/report"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // it looks every 10 s whether to end
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// router plays the router of a node whose extensions hold nothing. It keeps the requests.
type router struct {
	mu         sync.Mutex // the race detector does not see that an answer comes after its request
	requests   []actors.Request
	err        error                     // of Request and ResetRealm
	rows       []actors.SubscriptionView // of every listing
	cover      actors.Coverage           // of every listing and reset of a realm
	listErr    error                     // of List
	query      actors.Query              // of the last listing
	beforeList func()                    // called by List first; nil: nothing is
	gone       presence.SwitchGone       // of the last EndSwitch
	reports    map[string]string         // by account and id
	unkept     bool                      // reports can't be kept
	audited    []audit.Entry
	changes    chan client.Change // of the state feed
	statuses   []status.Status    // of all nodes
	asked      status.Ask         // of the last question for them
}

func (r *router) Request(_ context.Context, q actors.Request) actors.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
	if r.err != nil {
		return actors.Answer{Err: r.err}
	}
	return actors.Answer{View: &presence.View{State: presence.Terminated}, Notified: 2, Acked: 1, Failed: 1, Explanation: &actors.Explanation{}}
}

func (*router) Look(actors.Address, func(*actors.Answer)) bool { return false }

func (r *router) audit(e audit.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audited = append(r.audited, e)
}

func (r *router) List(_ context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	if r.beforeList != nil {
		r.beforeList()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.query = q
	for _, row := range r.rows {
		if err := yield(row); err != nil {
			return r.cover, err
		}
	}
	return r.cover, r.listErr
}

func (r *router) ResetRealm(context.Context, string, presence.Origin) (actors.Coverage, error) {
	return r.cover, r.err
}

func (r *router) EndSwitch(_ context.Context, gone presence.SwitchGone) (actors.Coverage, error) {
	r.gone = gone
	return r.cover, r.err
}

func (r *router) Keep(_ context.Context, account string, data []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unkept {
		return ""
	}
	if r.reports == nil {
		r.reports = map[string]string{}
	}
	id := directory.NewID()
	r.reports[account+id] = string(data)
	return id
}

func (r *router) Get(_ context.Context, account, id string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.reports[account+id]
	if !ok {
		return nil, reports.ErrUnknown
	}
	return []byte(data), nil
}

const (
	root  = "00000000000000000000000000000001"
	child = "00000000000000000000000000000002"
	other = "00000000000000000000000000000003"
	user  = "00000000000000000000000000000011"
	phone = "00000000000000000000000000000021"

	apiKey = "00112233445566778899aabbccddeeff" // of root
)

// bed is an API on a listener, with a router that the test plays and a directory of three accounts: child is below root, other
// is not.
type bed struct {
	t      testing.TB
	router *router
	server *httpd.Server
	api    *API
	url    string
	key    ed25519.PrivateKey
	tokens map[string]string // by account
}

func newBed(t testing.TB, rateLimit int) *bed {
	t.Helper()
	s := natstest.Start(t, t.TempDir())
	conn := natstest.Connect(t, s)
	log := slog.New(slog.DiscardHandler)
	d := directory.New(directory.Config{Conn: conn, Log: log})
	ctx := context.Background()
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop(context.Background()) })
	object := func(s string) (m map[string]any) { _ = json.Unmarshal([]byte(s), &m); return m }
	if _, err := d.Import(ctx, directory.Import{Accounts: []map[string]any{
		object(`{"id":"` + root + `","name":"Root","realm":"root.test","api_key":"` + apiKey + `","users":[{"id":"` + user + `","username":"ada","password":"s3cret"}],"devices":[{"id":"` + phone + `","owner_id":"` + user + `","sip":{"username":"1001","password":"secret"}}]}`),
		object(`{"id":"` + child + `","name":"Child","realm":"child.test","parent_id":"` + root + `"}`),
		object(`{"id":"` + other + `","name":"Other","realm":"other.test"}`)}}); err != nil {
		t.Fatal(err)
	}
	e := &bed{t: t, router: &router{changes: make(chan client.Change), reports: map[string]string{root + root: `{}`}}, tokens: map[string]string{}}
	var err error
	if e.key, err = access.LoadOrCreateKey(filepath.Join(t.TempDir(), "key")); err != nil {
		t.Fatal(err)
	}
	control, err := access.New(access.Config{Directory: d, Key: e.key, RateLimit: rateLimit})
	if err != nil {
		t.Fatal(err)
	}
	if err := control.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{root, child, other} {
		if e.tokens[a], err = access.Sign(e.key, a, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	e.server = httpd.New(httpd.Config{Listen: "127.0.0.1:0", MaxConnections: 1000, MaxPerAddress: 1000, Node: "lamplight@test", Version: "0", Timeout: 5 * time.Second,
		Ready: func() error { return nil }, Log: log, Registry: prometheus.NewRegistry()})
	watch := func(ctx context.Context, realm, _ string, w client.Watcher) error {
		w.Ready()
		for {
			select {
			case c := <-e.router.changes:
				c.Realm = realm
				_ = w.Change(c)
			case <-ctx.Done():
				return nil
			}
		}
	}
	lamps := live.New(live.Config{Presence: e.router, Directory: d, Watch: watch, Connected: conn.IsConnected, Log: log})
	e.api = New(Config{Timeout: 5 * time.Second, Reports: e.router, Report: report.New(report.Config{Presence: e.router, Keep: e.router.Keep, Timeout: 5 * time.Second}), Presence: e.router, Directory: d, Access: control, Audit: e.router.audit, Live: lamps,
		Status: func(_ context.Context, ask status.Ask) ([]status.Status, error) {
			e.router.asked = ask
			return e.router.statuses, e.router.err
		}})
	e.api.Mount(e.server)
	if err := e.server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.server.Stop(context.Background()) })
	t.Cleanup(func() { _ = lamps.Stop(context.Background()) }) // before the server, which waits for its connections
	e.url = "http://" + e.server.Addr()
	return e
}

// reply is an answer: its envelope, and what it consists of.
type reply struct {
	Code    int
	Header  http.Header
	Raw     string
	Data    any    `json:"data"`
	Status  string `json:"status"`
	Error   string `json:"error"`
	Message string `json:"message"`
	Token   string `json:"auth_token"`
	Next    string `json:"next_start_key"`
	Report  string `json:"report_id"`
}

// do makes a request. header are pairs of a name and a value.
func (e *bed) do(method, path, token, body string, header ...string) (r reply) {
	e.t.Helper()
	q := httptest.NewRequest(method, e.url+path, strings.NewReader(body))
	q.RequestURI = ""
	if token != "" {
		q.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer a.Body.Close()
	raw, _ := io.ReadAll(a.Body)
	_ = json.Unmarshal(raw, &r)
	r.Code, r.Header, r.Raw = a.StatusCode, a.Header, string(raw)
	return r
}

// A request that waits for watchers stops waiting before its deadline, so that the answer comes in time.
func TestWaitEndsBeforeTheDeadline(t *testing.T) {
	e := newBed(t, 0)
	for _, wait := range []string{"true", "5s"} {
		e.do("POST", "/v2/accounts/"+root+"/presence/1001?wait="+wait, e.tokens[root], "")
		request := e.router.requests[len(e.router.requests)-1]
		if request.Wait <= 0 || request.Wait > 5*time.Second-answerTime {
			t.Errorf("wait=%s waits %v, the deadline is 5s", wait, request.Wait)
		}
	}
}

// Each kind of mistake has the answer of docs/contract/http.md, "Errors".
func TestErrorTable(t *testing.T) {
	e := newBed(t, 0)
	mine, base := e.tokens[root], "/v2/accounts/"+root
	expired, _ := access.Sign(e.key, root, -time.Minute)
	none, _ := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"account_id": root, "iss": access.Issuer, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	noExpiry := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"account_id": root, "iss": access.Issuer})
	noExpiry.Header["kid"] = access.KeyID(e.key.Public().(ed25519.PublicKey))
	eternal, _ := noExpiry.SignedString(e.key)
	for _, c := range []struct {
		name, method, path, token, body, code, message, data string
	}{
		{"not JSON", "POST", base + "/presence/1001", mine, `{"data": {"action": "reset"}`, "400", "validation error", `"json"`},
		{"duplicate key", "POST", base + "/presence/1001", mine, `{"data":{"action":"set","action":"reset"}}`, "400", "validation error", `"json"`},
		{"bad action", "POST", base + "/presence/1001", mine, `{"data":{"action":"dance"}}`, "400", "validation error", `Field must be set to a valid action`},
		{"missing action", "POST", base + "/devices/" + phone + "/presence", mine, `{}`, "400", "validation error", `Field must be set to a valid action`},
		{"bad state", "POST", base + "/devices/" + phone + "/presence", mine, `{"data":{"action":"set","state":"online"}}`, "400", "validation error", `Field must be set to a valid state`},
		{"missing state", "POST", base + "/presence/1001", mine, `{"data":{"action":"set"}}`, "400", "validation error", `Field must be set to a valid state`},
		{"no token", "GET", base + "/presence", "", "", "401", "invalid_credentials", `invalid credentials`},
		{"tampered token", "GET", base + "/presence", mine + "x", "", "401", "invalid_credentials", `invalid credentials`},
		{"expired token", "GET", base + "/presence", expired, "", "401", "invalid_credentials", `invalid credentials`},
		{"alg none", "GET", base + "/presence", none, "", "401", "invalid_credentials", `invalid credentials`},
		{"no exp", "GET", base + "/presence", eternal, "", "401", "invalid_credentials", `invalid credentials`},
		{"another tenant", "GET", base + "/presence", e.tokens[other], "", "403", "forbidden", `forbidden`},
		{"the parent from below", "GET", base + "/presence", e.tokens[child], "", "403", "forbidden", `forbidden`},
		{"another tenant's realm", "GET", base + "/presence/1001@other.test", mine, "", "403", "forbidden", `forbidden`},
		{"stored with another tenant's realm", "PUT", base + "/devices", mine, `{"data":{"presence_id":"1@other.test"}}`, "403", "forbidden", `forbidden`},
		{"stored as a SIP username", "PUT", base + "/devices", mine, `{"data":{"sip":{"username":"1@other.test"}}}`, "403", "forbidden", `forbidden`},
		{"written as a SIP username", "PATCH", base + "/devices/" + phone, mine, `{"data":{"sip":{"username":"1@other.test"}}}`, "403", "forbidden", `forbidden`},
		{"unknown account", "GET", "/v2/accounts/0000000000000000000000000000000f/presence", mine, "", "404", "bad_identifier", `"cause":"0000000000000000000000000000000f"`},
		{"unknown device", "GET", base + "/devices/" + user + "/presence", mine, "", "404", "bad_identifier", `"cause":"` + user + `"`},
		{"long extension", "GET", base + "/presence/" + strings.Repeat("*", 1400), mine, "", "400", "validation error", `"extension"`},
		{"control character", "GET", base + "/presence/%01", mine, "", "400", "validation error", `"extension"`},
		{"bare asterisk", "POST", base + "/presence/*", mine, "", "400", "validation error", `"extension"`},
		{"wrong verb", "DELETE", base + "/presence", mine, "", "405", "invalid_method", `method not allowed`},
		{"bad api key", "PUT", "/v2/api_auth", "", `{"data":{"api_key":"wrong"}}`, "401", "invalid_credentials", `invalid credentials`},
		{"realm taken", "PUT", "/v2/accounts", mine, `{"data":{"realm":"OTHER.test"}}`, "409", "datastore_conflict", `other.test`},
	} {
		r := e.do(c.method, c.path, c.token, c.body)
		if r.Error != c.code || strconv.Itoa(r.Code) != c.code || r.Message != c.message || r.Status != "error" || !strings.Contains(r.Raw, c.data) {
			t.Errorf("%s: %d %s", c.name, r.Code, r.Raw)
		}
		if c.code == "405" && r.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", c.name)
		}
	}
	e.router.mu.Lock()
	e.router.err = actors.ErrUnknown
	e.router.mu.Unlock()
	if r := e.do("POST", base+"/presence/1001", mine, ""); r.Code != 503 || r.Message != "datastore_unreachable" || r.Header.Get("Retry-After") == "" {
		t.Errorf("out of reach: %d %s", r.Code, r.Raw)
	}
	e.router.mu.Lock()
	e.router.err = presence.ErrTooNew
	e.router.mu.Unlock()
	if r := e.do("POST", base+"/presence/1001", mine, ""); r.Code != 503 || !strings.Contains(r.Raw, presence.ErrTooNew.Error()) || r.Header.Get("Retry-After") == "" {
		t.Errorf("an event package that not all nodes read: %d %s", r.Code, r.Raw)
	}
	if r := e.do("POST", base+"/presence/1001", mine, strings.Repeat("x", httpd.MaxBody+1)); r.Code != 413 || r.Message != "request_too_large" {
		t.Errorf("large body: %d %.200s", r.Code, r.Raw)
	}
}

// The envelope, the headers and the places of the token are those of docs/contract/http.md.
func TestEnvelope(t *testing.T) {
	e := newBed(t, 0)
	mine, path := e.tokens[root], "/v2/accounts/"+root+"/presence/1001"
	r := e.do("GET", path, mine, "", "X-Request-ID", "abc")
	for _, f := range []string{"auth_token", "data", "node", "request_id", "revision", "status", "timestamp", "version"} {
		if !strings.Contains(r.Raw, `"`+f+`":`) {
			t.Errorf("%s is missing in %s", f, r.Raw)
		}
	}
	if r.Header.Get("X-Request-ID") != "abc" || !strings.Contains(r.Raw, `"request_id":"abc"`) || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("headers %v", r.Header)
	}
	if again := e.do("GET", path, mine, "", "If-None-Match", r.Header.Get("ETag")); again.Code != 304 || again.Raw != "" {
		t.Errorf("If-None-Match: %d %s", again.Code, again.Raw)
	}
	if r := e.do("OPTIONS", path, "", ""); r.Code/100 != 2 || r.Header.Get("Access-Control-Max-Age") != "86400" {
		t.Errorf("OPTIONS: %d %v", r.Code, r.Header)
	}
	if r := e.do("GET", path+"/?pretty_print=true", mine, ""); !strings.Contains(r.Raw, "\n") || r.Code != 200 {
		t.Errorf("pretty: %d %s", r.Code, r.Raw)
	}
	for name, ask := range map[string]func() reply{
		"query":  func() reply { return e.do("GET", path+"?auth_token="+mine, "", "") },
		"bearer": func() reply { return e.do("GET", path, "", "", "Authorization", "Bearer "+mine) },
		"body":   func() reply { return e.do("POST", path, "", `{"auth_token":"`+mine+`","data":{"action":"reset"}}`) },
		"v1":     func() reply { return e.do("GET", strings.Replace(path, "v2", "v1", 1), mine, "") },
	} {
		if r := ask(); r.Code != 200 {
			t.Errorf("%s: %d %s", name, r.Code, r.Raw)
		}
	}
	if r := e.do("PUT", "/v2/api_auth", "", `{"data":{"api_key":"`+apiKey+`"}}`); r.Code != 201 || e.do("GET", path, r.Token, "").Code != 200 {
		t.Errorf("api_auth: %d %s", r.Code, r.Raw)
	}
	if r := e.do("POST", path+"?wait=true", mine, `{"data":{"action":"set","state":"early"}}`); !strings.Contains(r.Raw, `{"notified":2,"acked":1,"failed":1}`) || e.router.requests[len(e.router.requests)-1].Wait <= 0 {
		t.Errorf("wait: %s", r.Raw)
	}
	if r := e.do("GET", "/v2/accounts/"+root+"/devices/"+phone, mine, ""); strings.Contains(r.Raw, "secret") {
		t.Errorf("a password is shown: %s", r.Raw)
	}
}

func TestRateLimit(t *testing.T) {
	e := newBed(t, 3)
	path := "/v2/accounts/" + root + "/presence"
	for range 3 {
		e.do("GET", path, e.tokens[root], "")
	}
	if r := e.do("GET", path, e.tokens[root], ""); r.Code != 429 || r.Message != "too_many_requests" || r.Header.Get("Retry-After") == "" {
		t.Errorf("the fourth in a second: %d %s", r.Code, r.Raw)
	}
}

// Whatever the body, it reads as a good action, or the answer says what is wrong.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"data":{"action":"set","state":"early"}}`, `{"data": {"action": "reset"}`, `{"data":{"reset":true},"auth_token":"x"}`,
		`{"data":null}`, `{"data":[]}`, `{"data":{"action":"set"},"data":{}}`, `{"data":{"action":"\ud800"}}`, "{\"data\":{\"action\":\"\xff\"}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q := &request{Request: &httpd.Request{RequestCtx: &fasthttp.RequestCtx{}}}
		q.RequestCtx.Request.SetBodyString(body)
		for _, resetIsDefault := range []bool{false, true} {
			action, state, err := q.action(resetIsDefault)
			switch {
			case err != nil:
				if answer, _ := failureOf(err).(httpd.Failure); answer.Code != 400 || !jsontext.Value(answer.Data).IsValid() {
					t.Errorf("%q is answered %d %s", body, answer.Code, answer.Data)
				}
			case action == "reset" && state == presence.None:
			case action != "set" && action != "reset", state != presence.Early && state != presence.Confirmed && state != presence.Terminated:
				t.Errorf("%q became %s %v", body, action, state)
			}
		}
	})
}

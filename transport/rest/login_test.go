package rest

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lamplight/transport/access"
)

// credentials makes the digest with which Kazoo's clients log a user in.
func credentials(user, password string) string {
	sum := md5.Sum([]byte(user + ":" + password))
	return hex.EncodeToString(sum[:])
}

// from makes a request from an address of the loopback network, and returns the status.
func (e *bed) from(address, method, path, body string) int {
	e.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	tr := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
	q, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	a, err := tr.RoundTrip(q)
	if err != nil {
		e.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, a.Body)
	a.Body.Close()
	return a.StatusCode
}

// A user logs in with MD5 or SHA-1, by the realm, the name or a phone number of the account, and the token is good for the account.
func TestUserAuth(t *testing.T) {
	e := newBed(t, 0)
	if r := e.do("PATCH", "/v2/accounts/"+root, e.tokens[root], `{"data":{"phone_numbers":["+12125550100"],"language":"fr-fr"}}`); r.Code != 200 {
		t.Fatal(r.Raw)
	}
	sum := sha1.Sum([]byte("ada:s3cret"))
	good, sha := credentials("ada", "s3cret"), hex.EncodeToString(sum[:])
	for _, c := range []struct {
		data string
		code int
	}{
		{`"credentials":"` + good + `","realm":"root.test"`, 201}, {`"credentials":"` + good + `","account_realm":"ROOT.test","method":"md5"`, 201},
		{`"credentials":"` + good + `","account_name":"root"`, 201}, {`"credentials":"` + good + `","phone_number":"+12125550100"`, 201},
		{`"credentials":"` + sha + `","realm":"root.test","method":"sha"`, 201}, {`"credentials":"` + sha + `","realm":"root.test"`, 401},
		{`"credentials":"` + good + `","realm":"other.test"`, 401}, {`"credentials":"` + credentials("ada", "wrong") + `","realm":"root.test"`, 401},
		{`"credentials":"` + good + `","realm":"nobody.test"`, 401}, {`"credentials":"` + good + `"`, 400}, {`"realm":"root.test"`, 400},
		{`"credentials":5,"realm":"root.test"`, 400}, {`"credentials":"x","realm":"root.test","method":"plain"`, 400},
	} {
		r := e.do("PUT", "/v2/user_auth", "", `{"data":{`+c.data+`}}`)
		if r.Code != c.code || strings.Contains(r.Raw, "s3cret") {
			t.Errorf("%s: %d %s", c.data, r.Code, r.Raw)
		}
		if c.code != 201 {
			continue
		}
		const want = `"data":{"account_id":"` + root + `","account_name":"Root","apps":[],"is_reseller":false,"language":"fr-fr","owner_id":"` + user + `","reseller_id":"` + root + `"}`
		if !strings.Contains(r.Raw, want) || e.do("GET", "/v2/accounts/"+child+"/devices", r.Token, "").Code != 200 || e.do("GET", "/v2/accounts/"+other, r.Token, "").Code != 403 {
			t.Errorf("%s: %s", c.data, r.Raw)
		}
	}
	if r := e.do("PUT", "/v2/user_auth", "", `{"data":`+strings.Repeat(`{"a":`, 5000)+`1`+strings.Repeat(`}`, 5000)+`}`); r.Code != 413 {
		t.Errorf("a large body without a token: %d %.200s", r.Code, r.Raw)
	}
	for _, at := range []string{"/users/" + user, "/users?full_docs=true", "/users"} {
		if r := e.do("GET", "/v2/accounts/"+root+at, e.tokens[root], ""); r.Code != 200 || strings.Contains(r.Raw, "hash") || strings.Contains(r.Raw, "password") {
			t.Errorf("%s: %s", at, r.Raw)
		}
	}
	r := e.do("PUT", "/v2/user_auth", "", `{"data":{"credentials":"`+good+`","realm":"root.test"}}`)
	if u := e.do("DELETE", "/v2/accounts/"+root+"/users/"+user, e.tokens[root], ""); u.Code != 200 {
		t.Fatal(u.Raw)
	}
	if x := e.do("GET", "/v2/accounts/"+root, r.Token, ""); x.Code != 401 {
		t.Errorf("the token of a user who is gone: %d %s", x.Code, x.Raw)
	}
}

// Ten failures from one address, or of the same credentials from anywhere, are as many as a minute may have. Other addresses and users
// go on. Many at the same time are no more than one by one.
func TestFailedLoginsAreCounted(t *testing.T) {
	e := newBed(t, 0)
	body := func(digest string) string {
		return `{"data":{"credentials":"` + digest + `","realm":"root.test"}}`
	}
	good := body(credentials("ada", "s3cret"))
	codes := make(chan int, 40)
	for i := range 40 {
		go func() { codes <- e.from("127.0.0.2", "PUT", "/v2/user_auth", body(credentials("ada", fmt.Sprint(i)))) }()
	}
	wrong := 0
	for range 40 {
		if c := <-codes; c == 401 {
			wrong++
		} else if c != 429 {
			t.Errorf("status %d", c)
		}
	}
	if wrong != 10 {
		t.Errorf("%d attempts from one address were looked at, want 10", wrong)
	}
	if c := e.from("127.0.0.2", "PUT", "/v2/user_auth", good); c != 429 {
		t.Errorf("good credentials from that address: %d", c)
	}
	for range 20 { // a success is no failure
		if c := e.from("127.0.0.3", "PUT", "/v2/user_auth", good); c != 201 {
			t.Fatalf("from another address: %d", c)
		}
	}
	for i := range 11 {
		if c, want := e.from(fmt.Sprintf("127.0.1.%d", i+1), "PUT", "/v2/user_auth", body("0")), map[bool]int{true: 401, false: 429}[i < 10]; c != want {
			t.Errorf("the same credentials, from address %d: %d", i, c)
		}
	}
}

// A login that fails takes as long as one that succeeds, whatever is wrong.
func TestLoginsTakeTheSameTime(t *testing.T) {
	e := newBed(t, 0)
	good := `{"data":{"credentials":"` + credentials("ada", "s3cret") + `","realm":"root.test"}}`
	took := map[string][]time.Duration{}
	for i := range 40 {
		for name, body := range map[string]string{"good": good, "wrong": strings.Replace(good, `"credentials":"`, fmt.Sprintf(`"credentials":"%d`, i), 1), "unknown account": strings.Replace(good, "root.test", fmt.Sprintf("none%d.test", i), 1)} {
			begun := time.Now()
			if c := e.from(fmt.Sprintf("127.0.%d.%d", 1+len(name), 1+i), "PUT", "/v2/user_auth", body); (c == 201) != (name == "good") || c == 429 {
				t.Fatalf("%s: %d", name, c)
			}
			took[name] = append(took[name], time.Since(begun))
		}
	}
	low, high := time.Hour, time.Duration(0)
	for _, all := range took {
		slices.Sort(all)
		median := all[len(all)/2]
		low, high = min(low, median), max(high, median)
	}
	if high > 2*low {
		t.Errorf("the medians of the three kinds are between %v and %v", low, high)
	}
}

// The token of an account that is gone is refused on every path, also where its signature was checked before.
func TestTokenOfARemovedAccount(t *testing.T) {
	e := newBed(t, 0)
	mine := e.tokens[child]
	if r := e.do("GET", "/v2/accounts", mine, ""); r.Code != 200 {
		t.Fatal(r.Raw)
	}
	if r := e.do("DELETE", "/v2/accounts/"+child, mine, ""); r.Code != 200 {
		t.Fatal(r.Raw)
	}
	never, _ := access.Sign(e.key, strings.Repeat("f", 32), time.Hour)
	odd, _ := access.Sign(e.key, "../x", time.Hour)
	for path, methods := range operations(t) {
		if !strings.HasPrefix(path, "/v2/accounts") && path != "/v2/about" {
			continue
		}
		for method := range methods {
			for _, account := range []string{root, child} {
				for _, token := range []string{mine, never, odd} {
					at := strings.Replace(example.Replace(path), root, account, 1)
					if r := e.do(method, at, token, `{"data":{"action":"reset"}}`); r.Code != 401 {
						t.Errorf("%s %s: %d %s", method, at, r.Code, r.Raw)
					}
				}
			}
		}
	}
}

// An API key is shown when it is made, and never again. The one before is no good any more.
func TestAPIKeyIsShownOnce(t *testing.T) {
	e := newBed(t, 0)
	at, mine := "/v2/accounts/"+root+"/api_key", e.tokens[root]
	logIn := func(key string) int {
		return e.do("PUT", "/v2/api_auth", "", `{"data":{"api_key":"`+key+`"}}`).Code
	}
	r := e.do("PUT", at, mine, `{"data":{"ui_metadata":{"ui":"monster-ui"}}}`)
	m, _ := r.Data.(map[string]any)
	key, _ := m["api_key"].(string)
	if r.Code != 201 || len(key) != 32 || logIn(key) != 201 || logIn(apiKey) != 401 {
		t.Fatalf("%d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", at, mine, ""); r.Code != 200 || strings.Contains(r.Raw, key) || !strings.Contains(r.Raw, `"data":{"api_key_set":true}`) {
		t.Errorf("%d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", "/v2/accounts/"+child+"/api_key", mine, ""); r.Code != 403 {
		t.Errorf("the key of an account below: %d %s", r.Code, r.Raw)
	}
	if r := e.do("PUT", "/v2/accounts/"+child+"/api_key", mine, `{"data":{"api_key":"`+key+`"}}`); r.Code != 409 {
		t.Errorf("one key for two accounts: %d %s", r.Code, r.Raw)
	}
	for _, bad := range []string{`"short"`, `5`, `""`} {
		if r := e.do("PUT", at, mine, `{"data":{"api_key":`+bad+`}}`); r.Code != 400 || !strings.Contains(r.Raw, `"data":{"api_key":`) {
			t.Errorf("%s: %d %s", bad, r.Code, r.Raw)
		}
	}
	for _, revoke := range []func() reply{
		func() reply { return e.do("DELETE", at, mine, `{"data":{}}`) },
		func() reply { return e.do("PATCH", "/v2/accounts/"+root, mine, `{"data":{"api_key":null}}`) },
	} {
		if e.do("PUT", at, mine, `{"data":{"api_key":"`+apiKey+`"}}`); logIn(apiKey) != 201 {
			t.Error("a key that was brought")
		}
		if r := revoke(); r.Code != 200 || logIn(apiKey) != 401 {
			t.Errorf("revoked: %d %s", r.Code, r.Raw)
		}
	}
}

// The key before stays good for the grace that was asked for, and no longer. A token ends with the key that it was made with. The audit tells
// of each change.
func TestAPIKeysRotate(t *testing.T) {
	e := newBed(t, 0)
	at, mine := "/v2/accounts/"+root+"/api_key", e.tokens[root]
	logIn := func(key string) (token string) {
		r := e.do("PUT", "/v2/api_auth", "", `{"data":{"api_key":"`+key+`"}}`)
		if r.Code == 201 {
			token = r.Token
		}
		return token
	}
	good := func(token string) bool { return e.do("GET", "/v2/accounts/"+root, token, "").Code == 200 }
	rotate := func(body string) (key string, r reply) {
		r = e.do("PUT", at, mine, `{"data":`+body+`}`)
		m, _ := r.Data.(map[string]any)
		key, _ = m["api_key"].(string)
		return key, r
	}
	first := logIn(apiKey)
	second, r := rotate(`{"grace_s":3600}`)
	if r.Code != 201 || !strings.Contains(r.Raw, `"old_key_until":"`) || !good(first) || logIn(apiKey) == "" || !good(logIn(second)) {
		t.Errorf("a rotation with a grace: %d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", at, mine, ""); !strings.Contains(r.Raw, `"old_key_until":"`) || strings.Contains(r.Raw, "hash") {
		t.Errorf("while both keys are good: %s", r.Raw)
	}
	if r := e.do("GET", "/v2/accounts/"+root, mine, ""); strings.Contains(r.Raw, "api_key") {
		t.Errorf("the account shows its keys: %s", r.Raw)
	}
	if r := e.do("PATCH", "/v2/accounts/"+root, mine, `{"data":{"name":"Root 2","api_key_old_until":"2999-01-01T00:00:00Z"}}`); r.Code != 200 || !good(first) {
		t.Errorf("another change of the account: %d %s", r.Code, r.Raw)
	}
	withSecond := logIn(second)
	third, r := rotate(`{}`)
	if good(first) || good(withSecond) || logIn(apiKey) != "" || logIn(second) != "" || !good(logIn(third)) || strings.Contains(r.Raw, "old_key_until") {
		t.Errorf("a rotation without a grace: %d %s", r.Code, r.Raw)
	}
	withThird := logIn(third)
	if _, r := rotate(`{"grace_s":1}`); r.Code != 201 {
		t.Errorf("%d %s", r.Code, r.Raw)
	}
	for end := time.Now().Add(10 * time.Second); good(withThird) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if good(withThird) || logIn(third) != "" || !good(mine) {
		t.Error("the key before is good after its grace, or a token without a key has ended")
	}
	for _, bad := range []string{`-1`, `604801`, `1.5`, `"60"`} {
		if _, r := rotate(`{"grace_s":` + bad + `}`); r.Code != 400 || !strings.Contains(r.Raw, `"grace_s":`) {
			t.Errorf("grace_s %s: %d %s", bad, r.Code, r.Raw)
		}
	}
	fifth, _ := rotate(`{"grace_s":60}`)
	withFifth := logIn(fifth)
	if r := e.do("DELETE", at, mine, ""); r.Code != 200 || good(withFifth) || logIn(fifth) != "" {
		t.Errorf("revoked: %d %s", r.Code, r.Raw)
	}
	actions := []string{}
	for _, a := range e.router.audited {
		if a.Account != root || a.By == "" || a.Err != nil {
			t.Errorf("%+v", a)
		}
		actions = append(actions, a.Action)
	}
	if got := strings.Join(actions, " "); got != "api_key_set api_key_set api_key_set api_key_set api_key_revoked" {
		t.Errorf("the audit has %s", got)
	}
}

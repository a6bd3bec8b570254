package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// play sends a request as it is written, and returns the answer. Lines end with \n.
func (e *bed) play(text, body string) (r reply) {
	e.t.Helper()
	c, err := net.Dial("tcp", e.server.Addr())
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n") + "\r\nConnection: close\r\nHost: " + e.server.Addr()
	if body != "" {
		text += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	if _, err := io.WriteString(c, text+"\r\n\r\n"+body); err != nil {
		e.t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		e.t.Fatalf("%s: %v", text, err)
	}
	defer a.Body.Close()
	raw, _ := io.ReadAll(a.Body)
	_ = json.Unmarshal(raw, &r)
	r.Code, r.Header, r.Raw = a.StatusCode, a.Header, string(raw)
	return r
}

// What the client library of monster-ui sends on the way to presence: the login, the lists of its pages, and a device that is read, changed
// and written back. Its bodies have ui_metadata in their data, DELETE has a body, and each GET has a _ against caches.
func TestMonsterUI(t *testing.T) {
	e := newBed(t, 0)
	e.devices()
	const ui = `"ui_metadata":{"version":"4.3-14","ui":"monster-ui","origin":"voip"}`
	in := e.play("PUT /v2/user_auth HTTP/1.1\nAccept: application/json, text/javascript, */*; q=0.01\nContent-Type: application/json\nOrigin: http://monster.test",
		`{"data":{"credentials":"`+credentials("ada", "s3cret")+`","account_name":"Root",`+ui+`}}`)
	m, _ := in.Data.(map[string]any)
	if in.Code != 201 || in.Status != "success" || in.Token == "" || m["account_id"] != root || m["owner_id"] != user || in.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("the login: %d %s", in.Code, in.Raw)
	}
	head := "\nAccept: application/json, text/javascript, */*; q=0.01\nContent-Type: application/json\nX-Auth-Token: " + in.Token
	get := func(path string) reply {
		t.Helper()
		r := e.play("GET /v2/"+path+" HTTP/1.1"+head, "")
		if r.Code != 200 || r.Status != "success" {
			t.Errorf("GET %s: %d %s", path, r.Code, r.Raw)
		}
		return r
	}
	account := "accounts/" + root
	for path, want := range map[string]string{
		account + "/users?paginate=false&_=1700000000001": "11 12 13", account + "/devices?paginate=false&_=1700000000002": "21 22 23 24 25", account + "/devices?filter_owner_id=" + user + "&paginate=false&_=1": "21 23",
		account + "/children?ascending=true&paginate=false&_=1": "2", account + "/children?ascending=true&_=1": "2", account + "/descendants?paginate=false&_=1": "2",
		"accounts/" + child + "/tree?_=1": "1", account + "/devices/status?paginate=false&_=1": "", account + "/devices?filter_device_type=sip_device&_=1": "22", account + "/users?has_key=presence_id&_=1": "",
	} {
		if r := get(path); r.ids() != want {
			t.Errorf("%s: %q, want %q", path, r.ids(), want)
		}
	}
	get("about?_=1")
	get(account + "?_=1")
	get(account + "/api_key?_=1")
	device := get(account + "/devices/" + phone + "?_=1")
	d, _ := device.Data.(map[string]any)
	d["name"] = "Desk"
	d["ui_metadata"] = map[string]any{"ui": "monster-ui"}
	text, _ := json.Marshal(map[string]any{"data": d})
	if r := e.play("POST /v2/"+account+"/devices/"+phone+" HTTP/1.1"+head, string(text)); r.Code != 200 || !strings.Contains(r.Raw, `"name":"Desk"`) {
		t.Errorf("written back: %d %s", r.Code, r.Raw)
	}
	if r := e.play("POST /v2/"+account+"/devices/"+phone+"/presence HTTP/1.1"+head, `{"data":{"action":"reset",`+ui+`}}`); r.Code != 200 || r.Data != "command sent" {
		t.Errorf("a reset: %d %s", r.Code, r.Raw)
	}
	if r := e.play("PUT /v2/accounts/"+root+" HTTP/1.1"+head, `{"data":{"name":"Sub","realm":"sub.test",`+ui+`}}`); r.Code != 201 || !strings.Contains(r.Raw, `"parent_id":"`+root+`"`) {
		t.Errorf("an account: %d %s", r.Code, r.Raw)
	}
	if r := e.play("DELETE /v2/"+account+"/devices/"+phone+" HTTP/1.1"+head, `{"data":{`+ui+`}}`); r.Code != 200 {
		t.Errorf("a removal: %d %s", r.Code, r.Raw)
	}
	if r := e.play("PUT /v2/user_auth HTTP/1.1\nContent-Type: application/json", `{"data":{"credentials":"`+credentials("ada", "wrong")+`","account_name":"Root",`+ui+`}}`); r.Code != 401 || r.Message != "invalid_credentials" {
		t.Errorf("a wrong password: %d %s", r.Code, r.Raw)
	}
}

// What 2600hz's PHP SDK sends: it logs in without a Content-Type of JSON, with the realm, and passes filters as a query. It uses /v1, too.
func TestPHPSDK(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		e := newBed(t, 0)
		e.devices()
		const agent = "\nUser-Agent: kazoo-php-sdk (http://github.com/2600hz/kazoo-php-sdk)"
		in := e.play("PUT /"+version+"/user_auth HTTP/1.1"+agent, `{"data":{"credentials":"`+credentials("ada", "s3cret")+`","realm":"root.test"}}`)
		if in.Code != 201 || in.Status != "success" || in.Token == "" {
			t.Fatalf("the login: %d %s", in.Code, in.Raw)
		}
		head := agent + "\nX-Auth-Token: " + in.Token
		for path, want := range map[string]string{"/devices": "21 22 23 24 25", "/devices?filter_owner_id=" + second: "22", "/users?filter_username=bob": "12", "/children": "2"} {
			if r := e.play("GET /"+version+"/accounts/"+root+path+" HTTP/1.1"+head, ""); r.Code != 200 || r.ids() != want {
				t.Errorf("%s: %d %q, want %q", path, r.Code, r.ids(), want)
			}
		}
		if r := e.play("PUT /"+version+"/accounts/"+root+"/devices HTTP/1.1"+head, `{"data":{"name":"`+version+`","sip":{"username":"`+version+`","password":"p"}}}`); r.Code != 201 {
			t.Errorf("a device: %d %s", r.Code, r.Raw)
		}
		if r := e.play("POST /"+version+"/accounts/"+root+"/users/"+second+"/presence HTTP/1.1"+head, `{"data":{"action":"reset"}}`); r.Code != 200 || r.Data != "command sent" {
			t.Errorf("a reset: %d %s", r.Code, r.Raw)
		}
		if r := e.play("DELETE /"+version+"/accounts/"+root+"/devices/00000000000000000000000000000025 HTTP/1.1"+head, ""); r.Code != 200 {
			t.Errorf("a removal: %d %s", r.Code, r.Raw)
		}
	}
}

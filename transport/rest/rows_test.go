package rest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/directory"
)

// ids returns the ids of the rows of an answer, without their zeros.
func (r reply) ids() string {
	var out []string
	rows, _ := r.Data.([]any)
	for _, row := range rows {
		m, _ := row.(map[string]any)
		id, _ := m["id"].(string)
		out = append(out, strings.TrimLeft(id, "0"))
	}
	return strings.Join(out, " ")
}

// load imports entries of the account root.
func (e *bed) load(text string) {
	e.t.Helper()
	file, err := directory.Read(strings.NewReader(`{"accounts":[{"id":"` + root + `","realm":"root.test",` + text + `}]}`))
	if err == nil {
		_, err = e.api.cfg.Directory.Import(e.t.Context(), file)
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

const (
	second = "00000000000000000000000000000012" // a user
	guest  = "00000000000000000000000000000013" // a user who is logged in at a device of user
)

// devices are phone, with 21, and four more: 22 of second, 23 of user with guest, 24 and 25 of nobody.
func (e *bed) devices() {
	id := func(n int) string { return fmt.Sprintf(`"id":"%032d"`, n) }
	e.load(`"users":[{"id":"` + second + `","username":"bob","first_name":"Bob","last_name":"B","email":"b@x.test"},{"id":"` + guest + `","username":"guest"}],
		"devices":[{` + id(22) + `,"name":"Two","owner_id":"` + second + `","sip":{"username":"1002","password":"hush"},"mac_address":"aa:bb","enabled":false,"n":5,"device_type":"sip_device"},
		{` + id(23) + `,"name":"Three","owner_id":"` + user + `","presence_id":"1003","hotdesk":{"users":{"` + guest + `":{}}}},
		{` + id(24) + `,"name":"Slot","presence_id":"*3101","deep":{"a":{"b":"c"}}},{` + id(25) + `,"name":"Slot","presence_id":"*3102","gone":null}]`)
}

// Filters are as Kazoo's. A parameter that is not understood is refused and never ignored.
func TestFilters(t *testing.T) {
	e := newBed(t, 0)
	e.devices()
	mine, base := e.tokens[root], "/v2/accounts/"+root
	for query, want := range map[string]string{
		"": "21 22 23 24 25", "?paginate=false": "21 22 23 24 25", "?paginate=true&page_size=2": "21 22", "?page_size=2&start_key=" + strings.Repeat("0", 30) + "23": "23 24",
		"?paginate=false&page_size=2": "21 22 23 24 25", "?ascending=true&_=1700000000": "21 22 23 24 25", "?pretty_print=true": "21 22 23 24 25",
		"?filter_owner_id=" + user: "21 23", "?filter_owner_id=" + guest: "23", "?filter_not_owner_id=" + guest: "21 22 24 25", "?filter_not_owner_id=" + user: "22 24 25",
		"?filter_sip.username=1001": "21", "?filter_deep.a.b=c": "24", "?filter_n=5": "22", "?filter_enabled=false": "22", "?filter_name=Slot&filter_presence_id=*3102": "25",
		"?has_key=owner_id": "21 22 23", "?key_missing=owner_id": "24 25", "?has_key=hotdesk.users." + guest: "23", "?has_key=deep.a": "24", "?key_missing=deep.a.b": "21 22 23 25",
		"?has_key=gone": "", "?filter_owner_id=": "", "?filter_name=Slot&page_size=1": "24", "?filter_sip.password=hush": "", "?has_key=sip.password": "", "?filter_id=" + phone: "21",
		"?filter_name=Slot&filter_name=Two": "", "?full_docs=true&filter_name=Two": "22",
	} {
		if r := e.do("GET", base+"/devices"+query, mine, ""); r.Code != 200 || r.ids() != want {
			t.Errorf("%q: %d %q, want %q", query, r.Code, r.ids(), want)
		}
	}
	e.load(`"users":[{"id":"` + second + `","enabled":false}]`)
	for at, want := range map[string]string{ // a field counts as a row shows it, also when the entry does not have it
		base + "/devices?filter_enabled=true": "21 23 24 25", base + "/devices?filter_not_enabled=true": "22", base + "/devices?filter_not_enabled=false": "21 23 24 25",
		base + "/devices?has_key=enabled": "21 22 23 24 25", base + "/devices?key_missing=enabled": "", base + "/devices?filter_enabled=true&full_docs=true": "21 23 24 25",
		base + "/devices?filter_username=1002": "22", base + "/devices?has_key=username": "21 22", base + "/devices?key_missing=username": "23 24 25",
		base + "/users?filter_enabled=true": "11 13", base + "/users?filter_enabled=false": "12", base + "/users?filter_not_enabled=false": "11 13", base + "/users?key_missing=enabled": "",
		base + "/users?filter_name=Bob%20B": "12", base + "/users?has_key=name": "12", base + "/users?key_missing=name": "11 13",
		"/v2/accounts?filter_enabled=true": "1 2", "/v2/accounts?filter_enabled=false": "", base + "/children?has_key=enabled": "2",
	} {
		if r := e.do("GET", at, mine, ""); r.Code != 200 || r.ids() != want {
			t.Errorf("%s: %d %q, want %q", at, r.Code, r.ids(), want)
		}
	}
	for _, c := range []struct{ query, field string }{
		{"filter=x", "filter"}, {"filters_owner_id=" + user, "filters_owner_id"}, {"filter_=x", "filter_"}, {"filter_not_=x", "filter_not_"}, {"has_key=", "has_key"},
		{"key_missing=a..b", "key_missing"}, {"has_value=owner_id", "has_value"}, {"missing_value=x", "missing_value"}, {"created_from=1", "created_from"}, {"modified_to=1", "modified_to"},
		{"filter_any_name=[]", "filter_any_name"}, {"filter_none_name=[]", "filter_none_name"}, {"filter_array_intersect_all_x=[]", "filter_array_intersect_all_x"}, {"owner_id=" + user, "owner_id"},
		{"page_size=0", "page_size"}, {"page_size=x", "page_size"}, {"page_size=100001", "page_size"}, {"paginate=maybe", "paginate"}, {"full_docs=1", "full_docs"}, {"descending=true", "descending"}, {"fields=[]", "fields"},
	} {
		for _, at := range []string{base + "/devices", base + "/users", "/v2/accounts", base + "/children", base + "/descendants", base + "/users/" + user + "/devices"} {
			if r := e.do("GET", at+"?"+c.query, mine, ""); r.Code != 400 || !strings.Contains(r.Raw, `"data":{"`+c.field+`":{"invalid":`) {
				t.Errorf("%s?%s: %d %.200s", at, c.query, r.Code, r.Raw)
			}
		}
	}
}

// The envelope of a list leads from page to page, and the pages together are the list.
func TestPagesOfEntries(t *testing.T) {
	e := newBed(t, 0)
	e.devices()
	at, mine := "/v2/accounts/"+root+"/devices", e.tokens[root]
	var all []string
	start := ""
	for range 10 {
		r := e.do("GET", at+"?page_size=2&filter_not_name=Three"+start, mine, "")
		var envelope struct {
			Size  *int   `json:"page_size"`
			Start string `json:"start_key"`
			Next  string `json:"next_start_key"`
		}
		_ = json.Unmarshal([]byte(r.Raw), &envelope)
		rows, _ := r.Data.([]any)
		if envelope.Size == nil || *envelope.Size != len(rows) || !strings.HasPrefix(envelope.Start, "0000") {
			t.Errorf("the envelope: %s", r.Raw)
		}
		all = append(all, r.ids())
		if envelope.Next == "" {
			break
		}
		start = "&start_key=" + envelope.Next
	}
	if got := strings.Join(all, "|"); got != "21 22|24 25" {
		t.Errorf("pages %s", got)
	}
}

// Rows are what Kazoo's views make of an entry, or the whole document.
func TestRows(t *testing.T) {
	e := newBed(t, 0)
	e.devices()
	mine, base := e.tokens[root], "/v2/accounts/"+root
	for at, want := range map[string]string{
		base + "/devices?filter_name=Two":                `[{"device_type":"sip_device","enabled":false,"id":"00000000000000000000000000000022","mac_address":"aa:bb","name":"Two","owner_id":"` + second + `","username":"1002"}]`,
		base + "/devices?filter_name=Two&full_docs=true": `[{"device_type":"sip_device","enabled":false,"id":"00000000000000000000000000000022","mac_address":"aa:bb","n":5,"name":"Two","owner_id":"` + second + `","sip":{"username":"1002"}}]`,
		base + "/users?filter_username=bob":              `[{"email":"b@x.test","first_name":"Bob","id":"` + second + `","last_name":"B","name":"Bob B","username":"bob"}]`,
		base + "/users/" + guest + "/devices":            `[{"enabled":true,"id":"00000000000000000000000000000023","name":"Three","owner_id":"` + user + `","presence_id":"1003"}]`,
		base + "/users/" + user + "/devices?page_size=1": `[{"enabled":true,"id":"` + phone + `","owner_id":"` + user + `","username":"1001"}]`,
		base + "/devices/status":                         `[]`,
		base + "/children":                               `[{"id":"` + child + `","name":"Child","realm":"child.test"}]`,
		base + "/descendants?full_docs=true":             `[{"id":"` + child + `","name":"Child","parent_id":"` + root + `","realm":"child.test"}]`,
		base + "/parents":                                `[]`,
		"/v2/accounts/" + child + "/parents":             `[{"id":"` + root + `","name":"Root"}]`,
		"/v2/accounts/" + child + "/tree":                `[{"id":"` + root + `","name":"Root"}]`,
		"/v2/about":                                      `{"product":"lamplight","version":"0"}`,
	} {
		if r := e.do("GET", at, mine, ""); r.Code != 200 || !strings.Contains(r.Raw, `"data":`+want+`,`) {
			t.Errorf("%s: %d %s", at, r.Code, r.Raw)
		}
	}
	if r := e.do("GET", "/v2/accounts/"+child+"/tree", e.tokens[child], ""); r.Code != 200 || r.ids() != "" {
		t.Errorf("what is above its own account: %d %s", r.Code, r.Raw)
	}
	if r := e.do("PUT", "/v2/accounts/"+child, mine, `{"data":{"name":"Grandchild","realm":"grand.test"}}`); r.Code != 201 || !strings.Contains(r.Raw, `"parent_id":"`+child+`"`) {
		t.Errorf("an account below another: %d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", "/v2/accounts/"+child+"/children", e.tokens[child], ""); !strings.Contains(r.Raw, `"name":"Grandchild"`) {
		t.Errorf("%s", r.Raw)
	}
	for _, at := range []string{base + "/users/" + second + "0/devices", base + "/nothing", base + "/children/x", "/v2/about/x", base + "/devices/status/x"} {
		if r := e.do("GET", at, mine, ""); r.Code != 404 {
			t.Errorf("%s: %d", at, r.Code)
		}
	}
}

// Whoever is logged in at a device by hot desking acts on it.
func TestHotDesking(t *testing.T) {
	e := newBed(t, 0)
	e.devices()
	at := "/v2/accounts/" + root + "/users/" + guest + "/presence"
	if r := e.do("POST", at, e.tokens[root], `{"data":{"action":"set","state":"early"}}`); r.Code != 200 || len(e.router.requests) != 1 || e.router.requests[0].To.String() != "1003@root.test" {
		t.Errorf("%d %s %v", r.Code, r.Raw, e.router.requests)
	}
	if r := e.do("GET", at, e.tokens[root], ""); !strings.Contains(r.Raw, `"presence_ids":{"1003@root.test":`) {
		t.Errorf("%s", r.Raw)
	}
}

// A large list is streamed: many clients that read nothing cost little memory.
func TestLargeListsAreBounded(t *testing.T) {
	e := newBed(t, 0)
	const devices, clients = 300, 20
	list := make([]string, devices)
	for i := range list {
		list[i] = fmt.Sprintf(`{"id":"%032x","name":"%d","note":"%s"}`, 1000+i, i, strings.Repeat("x", 60_000))
	}
	e.load(`"devices":[` + strings.Join(list, ",") + `]`)
	path := "/v2/accounts/" + root + "/devices?full_docs=true"
	r := e.do("GET", path, e.tokens[root], "")
	rows, _ := r.Data.([]any)
	if r.Code != 200 || len(rows) != devices+1 || !strings.Contains(r.Raw[len(r.Raw)-300:], `"page_size":301`) {
		t.Fatalf("%d, %d rows: %s", r.Code, len(rows), r.Raw[len(r.Raw)-300:])
	}
	r = e.do("GET", path+"&page_size=200", e.tokens[root], "")
	if rows, _ := r.Data.([]any); len(rows) != 200 || r.Next == "" {
		t.Fatalf("%d rows, then %q", len(rows), r.Next)
	}
	r.Raw, r.Data = "", nil
	before := heap()
	var open sync.WaitGroup
	conns := make([]net.Conn, clients)
	for i := range clients {
		open.Go(func() {
			c, err := net.Dial("tcp", e.server.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = c
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\n\r\n", path, e.tokens[root])
			var head [1 << 10]byte
			if _, err := io.ReadFull(c, head[:]); err != nil || !bytes.Contains(head[:], []byte("200 OK")) {
				t.Errorf("%s %v", head, err)
			}
		})
	}
	open.Wait()
	if grown := int64(heap()-before) >> 20; int64(heap()) > int64(before) && grown > 8*clients {
		t.Errorf("%d clients that read nothing cost %d MiB", clients, grown)
	}
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

// heap returns the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

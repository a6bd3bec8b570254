package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"lamplight/actors/presence"
)

// operation is one verb of one path of openapi.yaml.
type operation struct {
	ID         string           `yaml:"operationId"`
	Security   *[]any           `yaml:"security"`
	Parameters []map[string]any `yaml:"parameters"`
	Body       map[string]any   `yaml:"requestBody"`
	Responses  map[string]any   `yaml:"responses"`
}

// takes says whether the operation has a query parameter or header.
func (o operation) takes(parameter string) bool {
	return slices.ContainsFunc(o.Parameters, func(p map[string]any) bool { return p["$ref"] == "#/components/parameters/"+parameter })
}

// operations returns all operations of openapi.yaml, by path and verb.
func operations(t *testing.T) map[string]map[string]operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]operation{}
	for path, methods := range doc.Paths {
		all[path] = map[string]operation{}
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			var o operation
			if err := node.Decode(&o); err != nil {
				t.Fatal(err)
			}
			all[path][strings.ToUpper(method)] = o
		}
	}
	return all
}

// example replaces the parameters of a path with names that the bed knows.
var example = strings.NewReplacer("{account_id}", root, "{device_id}", phone, "{user_id}", user, "{extension}", "1001")

// The running server answers every operation of openapi.yaml, with a status that the document names.
func TestOpenAPI(t *testing.T) {
	e := newBed(t, 0)
	all := operations(t)
	master := e.master()
	for _, last := range []bool{false, true} { // DELETE comes last
		for path, methods := range all {
			for method, o := range methods {
				if (method == "DELETE") != last {
					continue
				}
				body := ""
				switch {
				case method == "GET" || method == "DELETE":
				case path == "/v2/switches":
					body = `{"data":{"action":"gone","switch_uri":"sip:10.0.0.5:11000"}}`
				case path == "/v2/user_auth":
					body = `{"data":{"credentials":"` + credentials("ada", "s3cret") + `","realm":"root.test"}}`
				case path == "/v2/accounts/{account_id}" && method == "PUT":
					body = `{"data":{"name":"Newer","realm":"newer.test"}}`
				case path == "/v2/api_auth" || strings.HasSuffix(path, "/api_key"): // the same key, so that their order does not matter
					body = `{"data":{"api_key":"` + apiKey + `"}}`
				case strings.HasSuffix(path, "presence") || strings.HasSuffix(path, "{extension}"):
					body = `{"data":{"action":"reset"}}`
				case path == "/v2/accounts":
					body = `{"data":{"name":"New","realm":"new.test"}}`
				case path == "/v2/accounts/{account_id}":
					body = `{"data":{"name":"Root","realm":"root.test"}}`
				default:
					body = `{"data":{"name":"x"}}`
				}
				if (body != "") != (o.Body != nil) {
					t.Errorf("%s %s: a body that is not documented, or the other way round", method, path)
				}
				token := e.tokens[root]
				if path == "/v2/switches" || path == "/v2/cluster" {
					token = master
				}
				if strings.HasSuffix(path, "/events") { // it has no end
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					q, err := http.NewRequestWithContext(ctx, method, e.url+example.Replace(path), nil)
					if err != nil {
						t.Fatal(err)
					}
					q.Header.Set("X-Auth-Token", token)
					r, err := http.DefaultClient.Do(q)
					if err != nil || r.StatusCode != 200 {
						t.Errorf("%s %s: %v, %v", method, path, r, err)
					}
					cancel()
					if err == nil {
						_ = r.Body.Close()
					}
					continue
				}
				r := e.do(method, example.Replace(path), token, body)
				if _, ok := o.Responses[strconv.Itoa(r.Code)]; !ok {
					t.Errorf("%s %s: %d is not documented: %s", method, path, r.Code, r.Raw)
				}
				if r.Code >= 400 && path != "/v2/accounts/{account_id}" && path != "/v2/user_auth" && !last { // other operations may have changed the user before
					t.Errorf("%s %s: %d %s", method, path, r.Code, r.Raw)
				}
			}
		}
	}
	if r := e.do("GET", "/openapi.yaml", "", ""); r.Raw != string(openapi) {
		t.Error("/openapi.yaml is not the document")
	}
}

// The document has every path, with exactly the verbs that the server allows, and what each of them takes and answers.
func TestOpenAPIIsComplete(t *testing.T) {
	e := newBed(t, 0)
	all := operations(t)
	if len(all) != 27 {
		t.Errorf("%d paths are documented", len(all))
	}
	for path, methods := range all {
		allow := e.do("BREW", example.Replace(path), e.tokens[root], "").Header.Get("Allow")
		for verb := range strings.SplitSeq(allow, ", ") {
			if _, ok := methods[verb]; !ok && verb != "HEAD" && verb != "OPTIONS" {
				t.Errorf("%s %s is not documented", verb, path)
			}
		}
		for verb, o := range methods {
			if !strings.Contains(allow, verb) {
				t.Errorf("%s %s is documented, allowed is %s", verb, path, allow)
			}
			codes := []string{"405"}
			if strings.HasPrefix(path, "/v2/") {
				codes = append(codes, "400", "401", "413", "429", "503")
			}
			if strings.Contains(path, "{account_id}") {
				codes = append(codes, "403", "404")
			}
			if verb == "GET" && strings.HasPrefix(path, "/v2/") && !strings.HasSuffix(path, "/events") { // a stream has no ETag
				codes = append(codes, "304")
			}
			for _, c := range codes {
				if o.Responses[c] == nil {
					t.Errorf("%s %s: %s is not documented", verb, path, c)
				}
			}
			if free := o.Security != nil; free != (!strings.HasPrefix(path, "/v2/accounts") && path != "/v2/about" && path != "/v2/switches" && path != "/v2/cluster") {
				t.Errorf("%s %s: needs a token: %v", verb, path, !free)
			}
		}
	}
	for _, c := range []struct{ verb, path, parameters string }{
		{"GET", "/v2/accounts/{account_id}/presence", "event summary page_size start_key pretty_print if_none_match request_id"},
		{"GET", "/v2/accounts/{account_id}/presence/{extension}", "explain"}, {"POST", "/v2/accounts/{account_id}/presence/{extension}", "wait"},
		{"POST", "/v2/accounts/{account_id}/devices/{device_id}/presence", "wait"}, {"POST", "/v2/accounts/{account_id}/users/{user_id}/presence", "wait"},
	} {
		for _, p := range strings.Fields(c.parameters) {
			if !all[c.path][c.verb].takes(p) {
				t.Errorf("%s %s: %s is not documented", c.verb, c.path, p)
			}
		}
	}
}

// Every operation has an id of its own, and a schema and an example for each body and answer.
func TestOpenAPIIsUseful(t *testing.T) {
	var doc struct {
		Servers    []any `yaml:"servers"`
		Components struct {
			Responses map[string]map[string]any `yaml:"responses"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Servers) == 0 {
		t.Error("there are no servers")
	}
	check := func(what string, body map[string]any) {
		t.Helper()
		content, _ := body["content"].(map[string]any)
		if len(content) != 1 {
			t.Errorf("%s: %d kinds of content", what, len(content))
		}
		for _, c := range content {
			if m, _ := c.(map[string]any); m["schema"] == nil || m["example"] == nil {
				t.Errorf("%s has no schema or no example", what)
			}
		}
	}
	ids := map[string]bool{}
	for path, methods := range operations(t) {
		for verb, o := range methods {
			what := verb + " " + path
			if o.ID == "" || ids[o.ID] {
				t.Errorf("%s: the operationId is %q", what, o.ID)
			}
			ids[o.ID] = true
			if o.Body != nil {
				check(what+": the body", o.Body)
			}
			errors := 0
			for code, r := range o.Responses {
				answer, _ := r.(map[string]any)
				if ref, _ := answer["$ref"].(string); ref != "" {
					answer = doc.Components.Responses[strings.TrimPrefix(ref, "#/components/responses/")]
				}
				if code >= "400" {
					errors++
				}
				if code != "304" {
					check(what+": "+code, answer)
				}
			}
			if errors == 0 {
				t.Errorf("%s has no errors", what)
			}
		}
	}
}

// Every $ref of the document leads somewhere.
func TestOpenAPIReferences(t *testing.T) {
	var doc map[string]any
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for key, x := range v {
				if ref, ok := x.(string); ok && key == "$ref" {
					seen++
					at := any(doc)
					for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
						m, _ := at.(map[string]any)
						at = m[name]
					}
					if at == nil {
						t.Errorf("%s leads nowhere", ref)
					}
				}
				walk(x)
			}
		}
	}
	walk(doc)
	if seen < 200 {
		t.Errorf("only %d references", seen)
	}
}

// The document lists the event packages of the domain's table.
func TestOpenAPIListsTheEventPackages(t *testing.T) {
	want := "enum: [" + strings.ReplaceAll(presence.PackageNames(), " or ", ", ") + "]"
	if !strings.Contains(string(openapi), want) {
		t.Errorf("openapi.yaml has no %s", want)
	}
}

// Metrics name the path of a request as openapi.yaml does, and everything else "".
func TestPatternsAreThePathsOfOpenAPI(t *testing.T) {
	known := map[string]bool{}
	for _, p := range patterns {
		known[p] = true
	}
	found := 0
	for path := range operations(t) {
		behind, ours := strings.CutPrefix(path, "/v2/")
		if !ours {
			continue
		}
		found++
		if got := patternOf(strings.Split(example.Replace(behind), "/")); got != path || !known[path] {
			t.Errorf("%s: the pattern is %q", path, got)
		}
	}
	if found != len(patterns) {
		t.Errorf("openapi.yaml has %d paths below /v2, patterns has %d", found, len(patterns))
	}
	for _, path := range []string{"accounts/x/nothing", "nothing", "about/x", "accounts/x/presence/1/2", "accounts/x/devices/1/nothing", ""} {
		if got := patternOf(strings.Split(path, "/")); got != "" {
			t.Errorf("%s has the pattern %q", path, got)
		}
	}
}

package openapi

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/tools/openapi/client"
)

// load reads the document.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../transport/rest/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The document is valid, and every example fits its schema.
func TestDocument(t *testing.T) {
	if err := load(t).Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Error(err)
	}
}

// checked is a transport that compares each answer with the document.
type checked struct {
	t      *testing.T
	router routers.Router
	seen   map[string]bool // operations
}

func (c *checked) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		return a, err
	}
	body, err := io.ReadAll(a.Body)
	a.Body.Close()
	if err != nil {
		return a, err
	}
	a.Body = io.NopCloser(bytes.NewReader(body))
	route, parameters, err := c.router.FindRoute(q)
	if err != nil {
		c.t.Errorf("%s %s: %v", q.Method, q.URL, err)
		return a, nil
	}
	c.seen[route.Operation.OperationID] = true
	in := &openapi3filter.RequestValidationInput{Request: q, PathParams: parameters, Route: route}
	err = openapi3filter.ValidateResponse(q.Context(), &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.StatusCode, Header: a.Header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}})
	if err != nil {
		c.t.Errorf("%s: the answer is not what the document says: %v\n%s", route.Operation.OperationID, err, body)
	}
	return a, nil
}

const (
	acme  = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"
	ada   = "a1000000000000000000000000001001"
	phone = "d1000000000000000000000000001001"
	key   = "00112233445566778899aabbccddeeff"
)

// begin starts a node with an account, and a client whose answers are compared with the document.
func begin(t *testing.T) (*client.ClientWithResponses, *checked) {
	t.Helper()
	n := nodetest.Start(t, nodetest.Config("a", t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"id": acme, "name": "Acme", "realm": "acme.example.com", "api_key": key,
		"users": []any{map[string]any{"id": ada, "username": "ada", "password": "s3cret", "first_name": "Ada"}},
		"devices": []any{map[string]any{"id": phone, "owner_id": ada, "presence_id": "1001", "sip": map[string]any{"username": "1001", "password": "p"}},
			map[string]any{"presence_id": "*3101", "name": "Slot"}}}}}); err != nil {
		t.Fatal(err)
	}
	url := "http://" + n.Addr(node.HTTP)
	doc := load(t)
	doc.Servers = openapi3.Servers{{URL: url}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	check := &checked{t: t, router: router, seen: map[string]bool{}}
	token := ""
	c, err := client.NewClientWithResponses(url, client.WithHTTPClient(&http.Client{Transport: check}),
		client.WithRequestEditorFn(func(_ context.Context, q *http.Request) error { q.Header.Set("X-Auth-Token", token); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte("ada:s3cret"))
	realm := "acme.example.com"
	in, err := c.LogInUserWithResponse(ctx, nil, client.LogInUserJSONRequestBody{Data: &client.UserCredentials{Credentials: hex.EncodeToString(sum[:]), Realm: &realm}})
	if err != nil || in.JSON201 == nil || in.JSON201.Data.OwnerId != ada {
		t.Fatalf("the login: %v %s", err, in.Body)
	}
	token = in.JSON201.AuthToken
	return c, check
}

// answer is any answer of the client.
type answer interface{ StatusCode() int }

// to returns a pointer.
func to[T any](v T) *T { return &v }

// A generated client does with typed values what people come for: it logs in, creates, finds, changes and removes devices and users, sets
// and reads lamps, and gets typed errors. Every operation is used, and every answer is what the document says.
func TestGeneratedClient(t *testing.T) {
	c, check := begin(t)
	ctx := t.Context()

	devices, err := c.ListDevicesWithResponse(ctx, acme, &client.ListDevicesParams{Filters: &client.Filters{"filter_owner_id": ada}, FullDocs: to(false)})
	if err != nil || devices.JSON200 == nil || len(devices.JSON200.Data) != 1 || devices.JSON200.Data[0].Id != phone || *devices.JSON200.Data[0].Username != "1001" || *devices.JSON200.PageSize != 1 {
		t.Fatalf("this user's devices: %v %s", err, devices.Body)
	}
	page, err := c.ListDevicesWithResponse(ctx, acme, &client.ListDevicesParams{PageSize: to(1)})
	if err != nil || page.JSON200 == nil || len(page.JSON200.Data) != 1 || page.JSON200.NextStartKey == nil {
		t.Fatalf("a page: %v %s", err, page.Body)
	}
	made, err := c.CreateDeviceWithResponse(ctx, acme, nil, client.CreateDeviceJSONRequestBody{Data: &client.Device{Name: to("Front desk"), PresenceId: to("1003"), OwnerId: to(ada)}})
	if err != nil || made.JSON201 == nil || made.JSON201.Data.Id == nil {
		t.Fatalf("a device: %v %s", err, made.Body)
	}
	id := *made.JSON201.Data.Id
	bad, err := c.CreateDeviceWithResponse(ctx, acme, nil, client.CreateDeviceJSONRequestBody{Data: &client.Device{PresenceId: to("*")}})
	if err != nil || bad.JSON400 == nil || bad.JSON400.Data["presence_id"] == nil || string(bad.JSON400.Error) != "400" {
		t.Errorf("a typed error: %v %s", err, bad.Body)
	}
	if r, err := c.ReplaceDeviceWithResponse(ctx, acme, id, nil, client.ReplaceDeviceJSONRequestBody{Data: &client.Device{PresenceId: to("1003"), OwnerId: to(ada)}}); err != nil || r.JSON200 == nil || r.JSON200.Data.Name != nil {
		t.Errorf("replaced: %v %s", err, r.Body)
	}
	if r, err := c.ChangeDeviceWithResponse(ctx, acme, id, nil, client.ChangeDeviceJSONRequestBody{Data: &client.Device{Name: to("Desk")}}); err != nil || r.JSON200 == nil || *r.JSON200.Data.Name != "Desk" {
		t.Errorf("changed: %v %s", err, r.Body)
	}

	set, err := c.CommandDeviceWithResponse(ctx, acme, id, nil, client.CommandDeviceJSONRequestBody{Data: &client.Command{Action: to(client.CommandActionSet), State: to(client.Early)}})
	if err != nil || set.JSON200 == nil {
		t.Fatalf("a set: %v %s", err, set.Body)
	}
	if text, err := set.JSON200.Data.AsCommandResult0(); err != nil || text != "command sent" {
		t.Errorf("the word of a set: %q %v", text, err)
	}
	counts, err := c.CommandExtensionWithResponse(ctx, acme, "1003", &client.CommandExtensionParams{Wait: to("10ms")}, client.CommandExtensionJSONRequestBody{Data: &client.Command{Action: to(client.CommandActionSet), State: to(client.Confirmed)}})
	if err != nil || counts.JSON200 == nil {
		t.Fatalf("a set that waits: %v %s", err, counts.Body)
	}
	if n, err := counts.JSON200.Data.AsReplyCounts(); err != nil || n.Notified != 0 {
		t.Errorf("the counts: %+v %v", n, err)
	}
	lamp, err := c.GetExtensionWithResponse(ctx, acme, "1003", &client.GetExtensionParams{Explain: to(true)})
	if err != nil || lamp.JSON200 == nil || lamp.JSON200.Data.State != client.Confirmed || len(lamp.JSON200.Data.Dialogs) != 1 || lamp.JSON200.Data.Explain == nil {
		t.Errorf("a lamp: %v %s", err, lamp.Body)
	}
	if r, err := c.GetUserPresenceWithResponse(ctx, acme, ada, nil); err != nil || r.JSON200 == nil || r.JSON200.Data.PresenceIds["1003@acme.example.com"].State != client.Confirmed {
		t.Errorf("a user's lamps: %v %s", err, r.Body)
	}

	lit, err := c.ListSubscriptionsWithResponse(ctx, acme, &client.ListSubscriptionsParams{Lit: to(true), State: to("confirmed"), Source: to(client.Manual), OlderThan: to("1ns")})
	if err != nil || lit.JSON200 == nil || lit.JSON200.Data.Lamps == nil || (*lit.JSON200.Data.Lamps)["1003"].State != client.Confirmed || len((*lit.JSON200.Data.Lamps)["1003"].Dialogs) != 1 {
		t.Errorf("lit lamps: %v %s", err, lit.Body)
	}

	reset, err := c.CommandExtensionWithResponse(ctx, acme, "1003", nil, client.CommandExtensionJSONRequestBody{Data: &client.Command{Action: to(client.CommandActionReset)}})
	if err != nil || reset.JSON200 == nil || reset.JSON200.ReportId == nil {
		t.Fatalf("a reset: %v %s", err, reset.Body)
	}
	if r, err := c.GetReportWithResponse(ctx, acme, *reset.JSON200.ReportId, nil); err != nil || r.JSON200 == nil || r.JSON200.By == "" || len(*r.JSON200.Extensions) != 1 {
		t.Errorf("the report of a reset: %v %s", err, r.Body)
	}

	below, err := c.CreateAccountBelowWithResponse(ctx, acme, nil, client.CreateAccountBelowJSONRequestBody{Data: &client.Account{Name: to("West"), Realm: "west.example.com"}})
	if err != nil || below.JSON201 == nil {
		t.Fatalf("an account: %v %s", err, below.Body)
	}
	west := *below.JSON201.Data.Id
	if r, err := c.GetTreeWithResponse(ctx, west, nil); err != nil || r.JSON200 == nil || len(r.JSON200.Data) != 1 || r.JSON200.Data[0].Id != acme {
		t.Errorf("what is above: %v %s", err, r.Body)
	}
	user, err := c.CreateUserWithResponse(ctx, west, nil, client.CreateUserJSONRequestBody{Data: &client.User{Username: to("grace"), Password: to("p")}})
	if err != nil || user.JSON201 == nil || user.JSON201.Data.Password != nil {
		t.Fatalf("a user: %v %s", err, user.Body)
	}
	grace := *user.JSON201.Data.Id

	// The other operations: that their answers are what the document says.
	for name, f := range map[string]func() (answer, error){
		"health":       func() (answer, error) { return c.GetHealthWithResponse(ctx) },
		"readiness":    func() (answer, error) { return c.GetReadinessWithResponse(ctx) },
		"about":        func() (answer, error) { return c.GetAboutWithResponse(ctx, nil) },
		"api key":      func() (answer, error) { return c.GetApiKeyWithResponse(ctx, acme, nil) },
		"accounts":     func() (answer, error) { return c.ListAccountsWithResponse(ctx, nil) },
		"account":      func() (answer, error) { return c.GetAccountWithResponse(ctx, acme, nil) },
		"children":     func() (answer, error) { return c.ListChildrenWithResponse(ctx, acme, nil) },
		"descendants":  func() (answer, error) { return c.ListDescendantsWithResponse(ctx, acme, nil) },
		"parents":      func() (answer, error) { return c.ListParentsWithResponse(ctx, west, nil) },
		"device":       func() (answer, error) { return c.GetDeviceWithResponse(ctx, acme, phone, nil) },
		"states":       func() (answer, error) { return c.ListDeviceStatesWithResponse(ctx, acme, nil) },
		"device lamps": func() (answer, error) { return c.GetDevicePresenceWithResponse(ctx, acme, phone, nil) },
		"users":        func() (answer, error) { return c.ListUsersWithResponse(ctx, acme, nil) },
		"user":         func() (answer, error) { return c.GetUserWithResponse(ctx, acme, ada, nil) },
		"user devices": func() (answer, error) { return c.ListUserDevicesWithResponse(ctx, acme, ada, nil) },
		"subscriptions": func() (answer, error) {
			return c.ListSubscriptionsWithResponse(ctx, acme, &client.ListSubscriptionsParams{Event: to(client.ListSubscriptionsParamsEventDialog)})
		},
		"reset": func() (answer, error) {
			return c.ResetAccountWithResponse(ctx, acme, nil, client.ResetAccountJSONRequestBody{Data: &client.ResetAll{Action: client.ResetAllActionReset}})
		},
		"user command": func() (answer, error) {
			return c.CommandUserWithResponse(ctx, acme, ada, nil, client.CommandUserJSONRequestBody{Data: &client.Command{Action: to(client.CommandActionReset)}})
		},
		"replace account": func() (answer, error) {
			return c.ReplaceAccountWithResponse(ctx, west, nil, client.ReplaceAccountJSONRequestBody{Data: &client.Account{Realm: "west.example.com"}})
		},
		"change account": func() (answer, error) {
			return c.ChangeAccountWithResponse(ctx, west, nil, client.ChangeAccountJSONRequestBody{Data: &client.AccountChange{Name: to("Western")}})
		},
		"replace user": func() (answer, error) {
			return c.ReplaceUserWithResponse(ctx, acme, ada, nil, client.ReplaceUserJSONRequestBody{Data: &client.User{Username: to("ada")}})
		},
		"change user": func() (answer, error) {
			return c.ChangeUserWithResponse(ctx, west, grace, nil, client.ChangeUserJSONRequestBody{Data: &client.User{FirstName: to("Grace")}})
		},
	} {
		if r, err := f(); err != nil || r.StatusCode() != 200 {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
	for name, f := range map[string]func() (answer, error){
		"new key": func() (answer, error) {
			return c.MakeApiKeyWithResponse(ctx, west, nil, client.MakeApiKeyJSONRequestBody{Data: &client.NewKey{}})
		},
		"key login": func() (answer, error) {
			return c.LogInWithApiKeyWithResponse(ctx, nil, client.LogInWithApiKeyJSONRequestBody{Data: &client.ApiKey{ApiKey: key}})
		},
		"account": func() (answer, error) {
			return c.CreateAccountWithResponse(ctx, nil, client.CreateAccountJSONRequestBody{Data: &client.Account{Realm: "east.example.com"}})
		},
	} {
		if r, err := f(); err != nil || r.StatusCode() != 201 {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
	for _, f := range []func() (answer, error){
		func() (answer, error) { return c.RevokeApiKeyWithResponse(ctx, west, nil) },
		func() (answer, error) { return c.RemoveUserWithResponse(ctx, west, grace, nil) },
		func() (answer, error) { return c.RemoveDeviceWithResponse(ctx, acme, id, nil) },
		func() (answer, error) { return c.RemoveAccountWithResponse(ctx, west, nil) },
	} {
		if r, err := f(); err != nil || r.StatusCode() != 200 {
			t.Errorf("%v %v", r, err)
		}
	}
	if r, err := c.EndSwitchWithResponse(ctx, nil, client.EndSwitchJSONRequestBody{Data: &client.SwitchCommand{Action: "gone", SwitchUri: "sip:10.0.0.5:11000"}}); err != nil || r.StatusCode() != 403 {
		t.Errorf("a switch, with a token that is not the master account's: %v %s", err, r.Body)
	}
	if r, err := c.ShowClusterWithResponse(ctx, nil); err != nil || r.StatusCode() != 403 {
		t.Errorf("the cluster, with a token that is not the master account's: %v %s", err, r.Body)
	}
	if r, err := c.WatchLampsWithResponse(ctx, west, nil); err != nil || r.JSON404 == nil { // a stream that begins has no end
		t.Errorf("the lamps of an account that is gone: %v %s", err, r.Body)
	}
	if r, err := c.GetAccountWithResponse(ctx, west, nil); err != nil || r.JSON404 == nil {
		t.Errorf("an account that is gone: %v %s", err, r.Body)
	}
	for path, item := range load(t).Paths.Map() {
		for _, o := range item.Operations() {
			if path != "/metrics" && path != "/openapi.yaml" && !check.seen[o.OperationID] {
				t.Errorf("%s was not used", o.OperationID)
			}
		}
	}
}

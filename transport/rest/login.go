package rest

import (
	"strconv"

	"lamplight/cluster/directory"
	"lamplight/transport/httpd"
)

// maxLogin is the number of bytes that the body of a login may have. Whoever sends it has shown no token yet.
const maxLogin = 16 << 10

// logIn serves PUT /api_auth and PUT /user_auth: it answers an API key, or a user's credentials, with a token.
func (q *request) logIn(how string) error {
	if err := q.server.cfg.Access.Allow(how, q.RemoteIP()); err != nil {
		return err
	}
	if err := q.LoadBody(""); err != nil {
		return err
	}
	if len(q.PostBody()) > maxLogin {
		return httpd.Failure{Code: 413, Message: "request_too_large", Data: `{"message":"the body of a login is too large","max_bytes":` + strconv.Itoa(maxLogin) + `}`}
	}
	d, err := q.readData()
	if err != nil {
		return err
	}
	if how == "user_auth" {
		return q.logInUser(d)
	}
	key, _ := d["api_key"].(string)
	e, token, err := q.server.cfg.Access.LogIn(&q.Within, q.RemoteIP(), key)
	if err != nil {
		return err
	}
	q.Token = []byte(token)
	return q.respond(201, map[string]any{"account_id": e.ID, "account_name": e.Text("name"), "is_reseller": false})
}

// logInUser answers the credentials of a user.
func (q *request) logInUser(d map[string]any) error {
	text := map[string]string{}
	for _, name := range []string{"credentials", "method", "realm", "account_realm", "account_name", "phone_number"} {
		s, ok := d[name].(string)
		if d[name] != nil && !ok {
			return httpd.Invalid(name, "Field must be a string")
		}
		text[name] = s
	}
	whose := directory.Whose{Phone: text["phone_number"], Realm: text["realm"], Name: text["account_name"]}
	if whose.Realm == "" {
		whose.Realm = text["account_realm"]
	}
	method := text["method"]
	switch {
	case text["credentials"] == "":
		return httpd.Invalid("credentials", "Field must be the MD5 or SHA-1 of user:password, in hexadecimal")
	case method == "":
		method = "md5"
	case method != "md5" && method != "sha":
		return httpd.Invalid("method", "Field must be md5 or sha")
	}
	if whose == (directory.Whose{}) {
		return httpd.Invalid("realm", "Field must be set, or account_name or phone_number")
	}
	account, user, token, err := q.server.cfg.Access.LogInUser(&q.Within, q.RemoteIP(), whose, method, text["credentials"])
	if err != nil {
		return err
	}
	language := "en-us"
	for _, e := range []*directory.Entry{account, user} {
		if l := e.Text("language"); l != "" {
			language = l
		}
	}
	q.Token = []byte(token)
	return q.respond(201, map[string]any{"account_id": account.ID, "owner_id": user.ID, "account_name": account.Text("name"), "is_reseller": false,
		"reseller_id": q.server.cfg.Directory.Top(account.ID), "language": language, "apps": []string{}})
}

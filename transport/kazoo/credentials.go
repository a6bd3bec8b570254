package kazoo

import (
	"encoding/hex"

	"github.com/go-json-experiment/json"

	"lamplight/transport/appendjson"
)

// AnyUser in the place of a user asks whether an account has the realm.
const AnyUser = "*"

// Credentials say with what a phone logs in (docs/contract/nats.md, "Credentials"). They never hold the password.
type Credentials struct {
	Realm  bool   // an account has the realm
	User   bool   // the realm has the user
	MD5    string // HA1 of RFC 2617 §3.2.2.2 in hexadecimal; "" without User
	SHA256 string // the same with SHA-256 (RFC 8760)
	// Extensions are the users, beside the own one, of the extensions that the phone may publish for; "": there is none.
	Extensions [2]string
}

// Append appends the document to dst.
func (c *Credentials) Append(dst []byte) []byte {
	dst = appendjson.Field(append(dst, '{'), "Event-Name", "credentials_resp")
	dst = appendBool(dst, "Realm-Known", c.Realm)
	dst = appendBool(dst, "User-Known", c.User)
	if c.User {
		dst = appendjson.Field(dst, "HA1-MD5", c.MD5)
		dst = appendjson.Field(dst, "HA1-SHA-256", c.SHA256)
		dst = append(appendjson.Key(dst, "Extensions"), '[')
		for i, user := range c.Extensions {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendjson.String(dst, user)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendBool appends a field that is true or false.
func appendBool(dst []byte, name appendjson.Literal, value bool) []byte {
	if value {
		return appendjson.True(dst, name)
	}
	return append(appendjson.Key(dst, name), "false"...)
}

// ReadCredentials reads the answer of a node. Its error says that the answer is none.
func ReadCredentials(data []byte) (Credentials, error) {
	var d struct {
		Event  Text   `json:"Event-Name"`
		Realm  Flag   `json:"Realm-Known"`
		User   Flag   `json:"User-Known"`
		MD5    Text   `json:"HA1-MD5"`
		SHA256 Text   `json:"HA1-SHA-256"`
		Others []Text `json:"Extensions"`
	}
	if err := readEdgeDocument(data, &d); err != nil {
		return Credentials{}, err
	}
	if d.Event != "credentials_resp" {
		return Credentials{}, refuse("Event-Name is %.40q; it must be credentials_resp", d.Event)
	}
	c := Credentials{Realm: bool(d.Realm), User: bool(d.User), MD5: string(d.MD5), SHA256: string(d.SHA256)}
	for i := range min(len(d.Others), len(c.Extensions)) {
		c.Extensions[i] = string(d.Others[i])
	}
	return c, nil
}

// AppendEdgeSecret appends the document with the secret of all edges to dst.
func AppendEdgeSecret(dst []byte, secret []byte) []byte {
	dst = appendjson.Field(append(dst, '{'), "Event-Name", "edge_secret_resp")
	return append(appendjson.Field(dst, "Secret", hex.EncodeToString(secret)), '}')
}

// ReadEdgeSecret reads the document with the secret of all edges. Its error says that the answer is none.
func ReadEdgeSecret(data []byte) ([]byte, error) {
	var d struct {
		Event  Text `json:"Event-Name"`
		Secret Text `json:"Secret"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, unreadable(err)
	}
	secret, err := hex.DecodeString(string(d.Secret))
	if d.Event != "edge_secret_resp" || err != nil || len(secret) == 0 {
		return nil, refuse("the answer is no edge_secret_resp with a Secret in hexadecimal")
	}
	return secret, nil
}

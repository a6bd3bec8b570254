package kazoo

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
)

// Publication is a `publication` document: a PUBLISH request that an edge passes on. ReadPublication reads it.
type Publication struct {
	To          actors.Address
	Publish     presence.Publish // without what the body says
	ContentType string
	Body        []byte
}

// long is a field that may be as long as the document, with any characters. null counts as absent.
type long []byte

// UnmarshalJSONFrom reads the value of the field. It refuses other types than strings.
func (l *long) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	switch {
	case err != nil:
		return err
	case tok.Kind() == '"':
		*l = long(tok.String())
	case tok.Kind() != 'n':
		return fmt.Errorf("must be a string, not %s", tok.Kind())
	}
	return nil
}

// ReadPublication reads the fields that only a `publication` document has. data is what f was read from.
func (f *Document) ReadPublication(data []byte) (p Publication, err error) {
	var own struct {
		Publisher   Text `json:"Publisher"`
		IfMatch     Text `json:"If-Match"`
		ETag        Text `json:"ETag"`
		ContentType Text `json:"Content-Type"`
		Body        long `json:"Body"`
	}
	if err := json.Unmarshal(data, &own); err != nil {
		return p, unreadable(err)
	}
	if f.Username == "" || f.Realm == "" || own.Publisher == "" || !f.Expires.set {
		return p, refuse("Username, Realm, Publisher or Expires is missing")
	}
	if p.To, err = presence.ParseName(string(f.Username), string(f.Realm)); err != nil {
		return p, refuse("Username %v", err)
	}
	p.Publish = presence.Publish{Publisher: string(own.Publisher), IfMatch: string(own.IfMatch), Tag: string(own.ETag)}
	if p.Publish.Package, err = parsePackage(f.EventPackage); err != nil {
		return p, err
	}
	if p.Publish.Expires, err = expires(f.Expires, presence.LongestLease); err != nil {
		return p, err
	}
	p.ContentType, p.Body = string(own.ContentType), own.Body
	return p, nil
}

// AppendPublication appends a `publication` document to dst: what ReadPublication reads as the same request. version is the App-Version of the
// edge, kind the content type of the body.
func AppendPublication(dst []byte, version string, to actors.Address, p *presence.Publish, kind, body string) []byte {
	dst = append(dst, `{"App-Name":"lamplight edge","Event-Category":"presence","Event-Name":"publication"`...)
	dst = appendjson.Field(dst, "App-Version", version)
	dst = appendjson.Field(dst, "Msg-ID", p.Tag)
	for _, f := range [...]struct {
		name  appendjson.Literal
		value string
	}{{"Username", to.User}, {"Realm", to.Realm}, {"Event-Package", p.Package.String()}, {"Publisher", p.Publisher}, {"If-Match", p.IfMatch}, {"ETag", p.Tag},
		{"Content-Type", kind}, {"Body", body}} {
		if f.value != "" {
			dst = appendjson.Field(dst, f.name, f.value)
		}
	}
	return append(appendjson.Number(dst, "Expires", int64(p.Expires)), '}')
}

package rest

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/directory"
	"lamplight/transport/httpd"
)

// envelope is a request's body.
type envelope struct {
	Data   jsontext.Value `json:"data"`
	Token  jsontext.Value `json:"auth_token"`
	Others jsontext.Value `json:",embed"`
}

// readData reads the body and returns its data object. An empty body, and data that is null, read as an empty object.
func (q *request) readData() (map[string]any, error) {
	m := map[string]any{}
	return m, q.readInto(&m, directory.KeepNumbers)
}

// readInto reads the body's data object into a map or a struct. An empty body, and data that is null, leave that as it is.
func (q *request) readInto(into any, options ...json.Options) error {
	if err := q.LoadBody(q.account); err != nil {
		return err
	}
	raw := q.PostBody()
	if len(raw) == 0 {
		return nil
	}
	if err := checkSize(raw); err != nil {
		return err
	}
	if kind := jsontext.Value(raw).Kind(); kind != '{' && jsontext.Value(raw).IsValid() {
		return httpd.NotJSON("a JSON object was expected, at byte 0 there is a " + kind.String())
	}
	var body envelope
	if err := json.Unmarshal(raw, &body); err != nil {
		message := err.Error()
		var s *jsontext.SyntacticError
		if errors.As(err, &s) {
			message += ", at byte " + strconv.FormatInt(s.ByteOffset, 10)
			if open := openBraces(raw); open > 0 {
				// Kazoo's documentation prints the reset body without its last brace.
				message += "; a closing } is missing at the end: the documented reset body is {\"data\": {\"action\": \"reset\"}}"
			}
		}
		return httpd.NotJSON(message)
	}
	switch {
	case body.Data == nil && body.Others != nil: // to read it as a body without data would be dangerous: that is a reset
		return httpd.NotJSON("the body has no data, but " + firstName(body.Others) + " at byte 0; it must be wrapped: {\"data\":{…}}")
	case !given(body.Data):
		return nil
	case body.Data.Kind() != '{':
		return httpd.NotJSON("data must be an object")
	}
	if err := json.Unmarshal(body.Data, into, options...); err != nil {
		return httpd.NotJSON(err.Error())
	}
	return nil
}

// given says whether a value stands in a body and is not null.
func given(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != 'n' }

// text returns the text of a string; "": the value is something else, or not there.
func text(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}

// firstName returns the first name in an object.
func firstName(object jsontext.Value) string {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	_, _ = d.ReadToken() // the brace
	name, _ := d.ReadToken()
	return name.String()
}

// The bounds of what a body holds when it is decoded, which takes many times the memory of its text.
const (
	uncounted = 4 << 10 // bytes of a body that needs no counting
	maxValues = 32 << 10
	maxDepth  = 64
)

// checkSize refuses a body of more than maxValues names and values, or with objects and arrays nested deeper than maxDepth. What
// is no JSON is left to the decoder.
func checkSize(raw []byte) error {
	if len(raw) <= uncounted {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for n := 0; ; n++ {
		if _, err := d.ReadToken(); err != nil {
			return nil
		}
		if n >= maxValues || d.StackDepth() > maxDepth {
			return httpd.NotJSON("the body holds too much: at most " + strconv.Itoa(maxValues) + " names and values are read, nested " + strconv.Itoa(maxDepth) + " deep; at byte " + strconv.FormatInt(d.InputOffset(), 10) + " there are more")
		}
	}
}

// openBraces returns how many more braces a body opens than it closes, outside of strings.
func openBraces(b []byte) (open int) {
	inside := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{':
			open++
		case c == '}':
			open--
		}
	}
	return open
}

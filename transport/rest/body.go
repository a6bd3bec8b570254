package rest

import (
	"errors"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/directory"
	"lamplight/transport/httpd"
)

// data reads the body's data object.
func (q *request) data() (map[string]any, error) {
	raw := q.PostBody()
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	if kind := jsontext.Value(raw).Kind(); kind != '{' && jsontext.Value(raw).IsValid() {
		return nil, httpd.NotJSON("a JSON object was expected, at byte 0 there is a " + kind.String())
	}
	var body map[string]jsontext.Value
	if err := json.Unmarshal(raw, &body); err != nil {
		message := err.Error()
		var s *jsontext.SyntacticError
		if errors.As(err, &s) {
			message += ", at byte " + strconv.FormatInt(s.ByteOffset, 10)
			if open := openBraces(raw); open > 0 {
				message += "; a closing } is missing at the end: the documented reset body is {\"data\": {\"action\": \"reset\"}}"
			}
		}
		return nil, httpd.NotJSON(message)
	}
	data, wrapped := body["data"]
	for name := range body {
		if !wrapped && name != "auth_token" { // not read as a body without data: that would be a reset
			return nil, httpd.NotJSON("the body has no data, but " + name + " at byte 0; it must be wrapped: {\"data\":{…}}")
		}
	}
	m := map[string]any{}
	if len(data) > 0 && data.Kind() != 'n' {
		if data.Kind() != '{' {
			return nil, httpd.NotJSON("data must be an object")
		}
		if err := json.Unmarshal(data, &m, directory.KeepNumbers); err != nil {
			return nil, httpd.NotJSON(err.Error())
		}
	}
	return m, nil
}

// openBraces counts objects that a body leaves open, strings apart.
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

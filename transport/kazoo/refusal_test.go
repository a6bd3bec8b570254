package kazoo

import (
	"strings"
	"testing"
)

// A refusal names the field, the value that it has and what it should have. It names no Go type.
func TestRefusalsArePlain(t *testing.T) {
	for doc, want := range map[string]string{
		`"Expires":"soon"`:  `Expires must be a whole number, not "soon"`,
		`"Expires":[]`:      `Expires must be a number, not [`,
		`"From":5`:          `From must be a string, not number`,
		`"Explain":"maybe"`: `Explain must be true or false, not "maybe"`,
		`"From":"a\u0001b"`: `From must not hold control characters`,
		`"From":"` + strings.Repeat("x", MaxField+1) + `"`: `From has 4097 bytes; it may have at most 4096`,
		`"From":"a","From":"b"`:                            `the document can't be read: `,
	} {
		_, err := Read([]byte(`{`+headers+`"Event-Name":"update",`+doc+`}`), "update")
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "kazoo.") {
			t.Errorf("%.60s: %v, want %s", doc, err, want)
		}
	}
}

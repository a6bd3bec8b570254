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

// A refusal of a word names every word that is taken in its place, and each of these is taken.
func TestRefusalsNameAllWords(t *testing.T) {
	for _, c := range []struct{ event, field, want string }{
		{"dialog_update", "State", `State is "lit"; it must be trying, early, confirmed or terminated`},
		{"update", "State", `State is "lit"; it must be trying, early, confirmed, terminated, online or offline`},
		{"dialog_update", "Direction", `Direction is "lit"; it must be initiator, recipient, inbound or outbound`},
		{"dialog_update", "Event-Package", `Event-Package is "lit"; it must be dialog, presence or message-summary`},
	} {
		update := func(word string) error {
			fields := map[string]string{"State": "early", "Presence-ID": "1@x.example.com", "From": "1@x.example.com", "To": "2@x.example.com", "Call-ID": "c", c.field: word}
			var doc strings.Builder
			for name, value := range fields {
				doc.WriteString(`,"` + name + `":"` + value + `"`)
			}
			f, err := Read([]byte(`{`+headers+`"Event-Name":"`+c.event+`"`+doc.String()+`}`), c.event)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Update("c")
			return err
		}
		if err := update("lit"); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.event, err, c.want)
		}
		_, words, _ := strings.Cut(c.want, "must be ")
		for _, word := range strings.Split(strings.ReplaceAll(words, " or ", ", "), ", ") {
			if err := update(word); err != nil {
				t.Errorf("%s: the word %s is named and not taken: %v", c.event, word, err)
			}
		}
	}
}

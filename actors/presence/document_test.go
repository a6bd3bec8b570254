package presence

import (
	"fmt"
	"strings"
	"testing"
)

// A document past its bound keeps the most important dialogs, the lamp's first, and stays whole XML.
func TestLargeDocumentKeepsTheMostImportant(t *testing.T) {
	v := &View{State: Early}
	for i := range 100 {
		state := Confirmed
		if i == 0 {
			state = Early
		}
		v.Dialogs = append(v.Dialogs, DialogView{ID: fmt.Sprint("d", i), CallID: fmt.Sprint("d", i), State: state, FromTag: strings.Repeat("&", 4000)})
	}
	b := string(Dialog.AppendDocument(nil, Address{Realm: "acme.test", User: "1001"}, v, 7))
	if n := strings.Count(b, "<dialog "); len(b) > maxDocument || n < 2 || n >= 100 || !strings.Contains(b, `id="d0"`) || !strings.HasSuffix(b, "</dialog-info>\n") {
		t.Errorf("%d dialogs in %d bytes", n, len(b))
	}
	v.Dialogs = v.Dialogs[:3]
	if b := string(Dialog.AppendDocument(nil, Address{Realm: "acme.test", User: "1001"}, v, 7)); strings.Count(b, "<dialog ") != 3 {
		t.Error("a small document lost something")
	}
}

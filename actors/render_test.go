package actors

import (
	"fmt"
	"strings"
	"testing"

	"lamplight/actors/presence"
)

// A document past its bound keeps the most important dialogs, the lamp's first, and stays whole XML.
func TestLargeDocumentKeepsTheMostImportant(t *testing.T) {
	v := &presence.View{State: presence.Early}
	for i := range 100 {
		state := presence.Confirmed
		if i == 0 {
			state = presence.Early
		}
		v.Dialogs = append(v.Dialogs, presence.DialogView{ID: fmt.Sprint("d", i), CallID: fmt.Sprint("d", i), State: state, FromTag: strings.Repeat("&", 4000)})
	}
	b := string(render(nil, Address{"acme.test", "1001"}, presence.Dialog, v, 7))
	if n := strings.Count(b, "<dialog "); len(b) > maxDocument || n < 2 || n >= 100 || !strings.Contains(b, `id="d0"`) || !strings.HasSuffix(b, "</dialog-info>\n") {
		t.Errorf("%d dialogs in %d bytes", n, len(b))
	}
	v.Dialogs = v.Dialogs[:3]
	if b := string(render(nil, Address{"acme.test", "1001"}, presence.Dialog, v, 7)); strings.Count(b, "<dialog ") != 3 {
		t.Error("a small document lost something")
	}
}

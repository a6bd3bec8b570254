package bus

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// A PUBLISH that an edge passes on goes to its extension as one message, and its lamps to theirs. The answer has the entity-tag and Expires.
func TestPublication(t *testing.T) {
	const topic = "presence.publications.acme%2Etest.1001"
	const dialogs = `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="partial" entity="sip:1001@acme.test"><dialog id="d"><state>early</state></dialog></dialog-info>`
	of := func(name, pkg, kind, body string) string {
		return fmt.Sprintf(`"Username":%q,"Realm":"acme.test","Event-Package":%q,"Publisher":"10.0.0.1","Expires":"600","Content-Type":%q,"Body":%s`, name, pkg, kind, strconv.Quote(body))
	}
	b := newBed(t)
	b.router.answer.Former = []string{"7001"}
	a := b.request(topic, "publication", of("1001", "dialog", "application/dialog-info+xml", dialogs))[0]
	all := b.router.requests()
	if a.text("Status") != "ok" || a.text("Event-Name") != "publication_ack" || a.text("ETag") == "" || string(a["Expires"]) != "600" || len(all) != 1 {
		t.Fatalf("%v, %d messages", a, len(all))
	}
	ev := all[0].Message.(presence.Publish)
	if all[0].To.String() != "1001@acme.test" || ev.Tag != a.text("ETag") || ev.Publisher != "10.0.0.1" || ev.Expires != 600 || !ev.HasBody || !ev.Partial || len(ev.Dialogs) != 1 || ev.Dialogs[0].ID != "d" {
		t.Errorf("%v: %+v", all[0].To, ev)
	}
	a = b.request(topic, "publication", `"Username":"1001@acme.test","Realm":"acme.test","Publisher":"10.0.0.1","If-Match":"t1","ETag":"t2","Expires":0`)[0]
	if ev := b.router.requests()[1].Message.(presence.Publish); a.text("ETag") != "t2" || ev.IfMatch != "t1" || ev.Tag != "t2" || ev.HasBody || string(a["Expires"]) != "0" {
		t.Errorf("%v: %+v", a, ev)
	}
	b.request(topic, "publication", of("1001", "message-summary", "application/simple-message-summary", "Messages-Waiting: yes\r\nVoice-Message: 2/0\r\n"))
	var lit []string
	for _, r := range b.router.requests()[3:] {
		lit = append(lit, fmt.Sprint(r.To, r.Message.(presence.MailboxEvent).New))
	}
	if got := strings.Join(lit, ", "); got != "*981001@acme.test 2, 7001@acme.test 0" {
		t.Errorf("lamps: %s", got)
	}
	for name, c := range map[string]struct{ fields, code, reason string }{
		"content type":      {of("1001", "dialog", "application/pidf+xml", dialogs), "415", "unsupported_media_type"},
		"document":          {of("1001", "dialog", "application/dialog-info+xml", "x"), "400", "validation error"},
		"another extension": {of("1002", "dialog", "application/dialog-info+xml", dialogs), "400", "validation error"},
		"no publisher":      {`"Username":"1001","Realm":"acme.test","Expires":60`, "400", "validation error"},
		"body":              {`"Username":"1001","Realm":"acme.test","Publisher":"p","Expires":60,"Body":7`, "400", "validation error"},
		"package":           {of("1001", "reg", "application/reginfo+xml", "x"), "400", "validation error"},
		"Expires":           {strings.Replace(of("1001", "dialog", "application/dialog-info+xml", dialogs), `"600"`, `-1`, 1), "400", "validation error"},
	} {
		if a := b.request(topic, "publication", c.fields)[0]; a.text("Code") != c.code || a.text("Reason") != c.reason || a.text("Details") == "" {
			t.Errorf("%s: %v", name, a)
		}
	}
	if n := len(b.router.requests()); n != 5 {
		t.Errorf("what was refused went to its extension: %d messages", n)
	}
	for err, code := range map[error]string{fmt.Errorf("%w: x", presence.ErrNoPublication): "412", presence.ErrTooManyCalls: "429", presence.ErrTooNew: "503"} {
		b.router.answer = actors.Answer{Err: err}
		if a := b.request(topic, "publication", of("1001", "dialog", "application/dialog-info+xml", dialogs))[0]; a.text("Code") != code || a["ETag"] != nil {
			t.Errorf("%v: %v", err, a)
		}
	}
}

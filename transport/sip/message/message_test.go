package message

import (
	"net/netip"
	"strings"
	"testing"
)

// subscribe is a SUBSCRIBE as a phone behind two proxies sends it.
const subscribe = "SUBSCRIBE sip:1001@acme.example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKpxy.1;rport, SIP/2.0/TCP 10.0.0.2:5066;branch=z9hG4bKtwo\r\n" +
	"v: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKphone;rport=5062;received=203.0.113.7\r\n" +
	"Record-Route: <sip:10.0.0.1;lr;ftag=8f>,<sip:10.0.0.2;transport=tcp;lr>\r\n" +
	"f: \"Ada, \\\"the\\\" Phone\" <sip:1002@acme.example.com;user=phone>;tag=8f\r\n" +
	"t: <sip:1001@acme.example.com>\r\n" +
	"i: a84b4c76e66710@192.0.2.9\r\n" +
	"CSeq: 20 SUBSCRIBE\r\n" +
	"m: <sip:1002@192.0.2.9:5062;line=7>;+sip.instance=\"<urn:uuid:0-1>\";reg-id=1\r\n" +
	"Max-Forwards: 68\r\n" +
	"o: dialog;id=7\r\n" +
	"Expires: 600\r\n" +
	"Accept: application/dialog-info+xml;level=1,\r\n application/xpidf+xml\r\n" +
	"Supported: eventlist, PATH\r\n" +
	"Authorization: Digest username=\"1002\", realm=\"acme.example.com\", nonce=\"n,1\", uri=\"sip:1001@acme.example.com\", response=\"00\"\r\n" +
	"X-Lamplight-User: 1002\r\n" +
	"l: 0\r\n\r\n"

func read(t *testing.T, text string) *Message {
	t.Helper()
	m := new(Message)
	if err := m.Read([]byte(text)); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func TestReadRequest(t *testing.T) { // RFC 3261 §7
	m := read(t, subscribe)
	if m.Method != Subscribe || m.Status != 0 || m.CSeq != 20 || string(m.CallID()) != "a84b4c76e66710@192.0.2.9" || len(m.Body) != 0 {
		t.Fatalf("%+v", m)
	}
	if u := m.Target(); u.Scheme != "sip" || string(u.User) != "1001" || string(u.Host) != "acme.example.com" || u.Port != 0 {
		t.Errorf("target %+v", u)
	}
	if f := m.From(); string(f.Display) != `"Ada, \"the\" Phone"` || string(f.Tag()) != "8f" || string(f.URI.User) != "1002" || string(f.URI.Params) != "user=phone" {
		t.Errorf("from %+v", f)
	}
	if v := m.Via(); string(v.Transport) != "UDP" || string(v.Host) != "10.0.0.1" || string(v.Branch) != "z9hG4bKpxy.1" || !v.RPort {
		t.Errorf("via %+v", v)
	}
	contact, rest, ok := ParseAddress(m.Header(Contact))
	if instance, _ := Param(contact.Params, "+SIP.instance"); !ok || len(rest) != 0 || string(instance) != "<urn:uuid:0-1>" || contact.URI.Port != 5062 {
		t.Errorf("contact %+v, instance %q", contact, instance)
	}
	if id, _ := Param(m.Header(Event), "id"); string(id) != "7" {
		t.Errorf("the id of the event is %q", id)
	}
	if e, found, ok := m.Seconds(Expires); e != 600 || !found || !ok {
		t.Errorf("Expires %d %v %v", e, found, ok)
	}
	if !m.Lists(Accept, "application/XPIDF+xml") || !m.Lists(Accept, "application/dialog-info+xml") || !m.Lists(Supported, "path") || m.Lists(Supported, "outbound") {
		t.Error("a list was not read")
	}
	if string(m.Field("x-lamplight-user")) != "1002" {
		t.Errorf("X-Lamplight-User is %q", m.Field("x-lamplight-user"))
	}
	route, rest, ok := ParseAddress(m.Header(RecordRoute))
	second, rest2, ok2 := ParseAddress(rest)
	if !ok || !ok2 || string(route.Text) != "<sip:10.0.0.1;lr;ftag=8f>" || string(second.URI.Host) != "10.0.0.2" || len(rest2) != 0 {
		t.Errorf("routes %q, %q, %q", route.Text, second.Text, rest2)
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	data, m := []byte(subscribe), new(Message)
	if n := testing.AllocsPerRun(100, func() {
		if err := m.Read(data); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	out := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { out = m.AppendEcho(out[:0], netip.MustParseAddrPort("10.0.0.1:5060"), "tag") }); n != 0 {
		t.Errorf("%v allocations to echo", n)
	}
}

func TestEcho(t *testing.T) { // RFC 3261 §8.2.6.2, §18.2.1; RFC 3581 §4
	m := read(t, subscribe)
	got := string(m.AppendEcho(nil, netip.MustParseAddrPort("203.0.113.1:1024"), "tag1"))
	want := "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKpxy.1;received=203.0.113.1;rport=1024, SIP/2.0/TCP 10.0.0.2:5066;branch=z9hG4bKtwo\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKphone;rport=5062;received=203.0.113.7\r\n" +
		"From: \"Ada, \\\"the\\\" Phone\" <sip:1002@acme.example.com;user=phone>;tag=8f\r\n" +
		"To: <sip:1001@acme.example.com>;tag=tag1\r\nCall-ID: a84b4c76e66710@192.0.2.9\r\nCSeq: 20 SUBSCRIBE\r\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReadFaults(t *testing.T) { // RFC 3261 §21.4.1
	edit := func(old, new string) string { return strings.Replace(subscribe, old, new, 1) }
	for name, c := range map[string]struct {
		text string
		code int
	}{
		"nothing":                    {"", 0},
		"line breaks":                {"\r\n\r\n", 0},
		"no SIP":                     {"GET / HTTP/1.1\r\n\r\n", 0},
		"a version of tomorrow":      {edit("SIP/2.0\r", "SIP/7.0\r"), 505},
		"two spaces":                 {edit("SUBSCRIBE sip", "SUBSCRIBE  sip"), 400},
		"URI in brackets":            {edit("sip:1001@acme.example.com SIP", "<sip:1001@acme.example.com> SIP"), 400},
		"another scheme":             {edit("sip:1001@acme.example.com SIP", "nobody:1001 SIP"), 416},
		"no Call-ID":                 {edit("i: a84", "x: a84"), 400},
		"two Call-IDs":               {edit("i: a84", "i: b\r\ni: a84"), 400},
		"CSeq of another method":     {edit("20 SUBSCRIBE", "20 NOTIFY"), 400},
		"CSeq too large":             {edit("20 SUBSCRIBE", "2147483648 SUBSCRIBE"), 400},
		"body shorter than it says":  {edit("l: 0", "l: 5"), 400},
		"negative length":            {edit("l: 0", "l: -5"), 400},
		"no colon":                   {edit("Max-Forwards: 68", "Max-Forwards 68"), 400},
		"control characters":         {edit("1001@acme.example.com>", "10\x0101@acme.example.com>"), 400},
		"a quoted name without end":  {edit(`Phone"`, `Phone`), 400},
		"two addresses in From":      {edit(";tag=8f", ";tag=8f,<sip:a@b>"), 400},
		"a tag that is no token":     {edit(";tag=8f", ";tag=\"8;f\""), 400},
		"a tag without a value":      {edit(";tag=8f", ";tag="), 400},
		"Via of another protocol":    {edit("SIP/2.0/UDP 10.0.0.1", "SIP/3.0/UDP 10.0.0.1"), 400},
		"a head that does not end":   {strings.TrimSuffix(subscribe, "\r\n"), 0},
		"a line feed alone":          {strings.ReplaceAll(subscribe, "\r\n", "\n"), 0},
		"a large head":               {edit("Max-Forwards: 68", "X: "+strings.Repeat("x", MaxHead)), 513},
		"many lines":                 {edit("Max-Forwards: 68", strings.Repeat("X: y\r\n", MaxLines)+"X: y"), 513},
		"a large body":               {edit("l: 0", "l: 70000") + strings.Repeat("x", 70000), 513},
		"a response without a code":  {"SIP/2.0 2x0 OK\r\n\r\n", 0},
		"a response with a low code": {"SIP/2.0 099 OK\r\n\r\n", 0},
	} {
		m := new(Message)
		err := m.Read([]byte(c.text))
		wrong, ok := err.(*Error)
		if !ok || wrong.Code != c.code {
			t.Errorf("%s: got %v, want the code %d", name, err, c.code)
		}
	}
}

func TestFrame(t *testing.T) { // RFC 3261 §18.3
	one := strings.Replace(subscribe, "l: 0\r\n\r\n", "l: 3\r\n\r\nabc", 1)
	both := "\r\n\r\n" + one + subscribe
	for i := range len(one) + 4 {
		if n, err := Frame([]byte(both[:i])); n != 0 || err != nil {
			t.Fatalf("with %d bytes: %d, %v", i, n, err)
		}
	}
	n, err := Frame([]byte(both))
	if err != nil || both[:n] != "\r\n\r\n"+one {
		t.Fatalf("%v: %q", err, both[:n])
	}
	if n2, err := Frame([]byte(both[n:])); err != nil || n2 != len(subscribe) {
		t.Errorf("%d, %v", n2, err)
	}
	for name, text := range map[string]string{"no end": strings.Repeat("x", MaxHead+1), "a length that is no number": "A b SIP/2.0\r\nl: x\r\n\r\n",
		"two lengths": "A b SIP/2.0\r\nl: 0\r\nContent-Length: 3\r\n\r\nabc", "a large body": "A b SIP/2.0\r\nl: 65537\r\n\r\n"} {
		if _, err := Frame([]byte(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestParseURI(t *testing.T) { // RFC 3261 §19.1
	for text, want := range map[string]URI{
		"sip:1001@acme.example.com":                {Scheme: "sip", User: []byte("1001"), Host: []byte("acme.example.com")},
		"SIPS:a:pw@[2001:db8::1]:5061;lr?x=y":      {Scheme: "sips", User: []byte("a"), Host: []byte("[2001:db8::1]"), Port: 5061, Params: []byte("lr"), Headers: []byte("x=y")},
		"sip:user;par=u%40example.net@example.com": {Scheme: "sip", User: []byte("user;par=u%40example.net"), Host: []byte("example.com")},
		"sip:a?b@example.com":                      {Scheme: "sip", User: []byte("a?b"), Host: []byte("example.com")},
		"sip:example.com?Route=%3Csip:x%3E":        {Scheme: "sip", Host: []byte("example.com"), Headers: []byte("Route=%3Csip:x%3E")},
		"sip:10.0.0.1:5060;transport=tcp":          {Scheme: "sip", Host: []byte("10.0.0.1"), Port: 5060, Params: []byte("transport=tcp")},
		"tel:+12125550100;phone-context=x":         {Scheme: "tel", User: []byte("+12125550100"), Params: []byte("phone-context=x")},
		"pres:ada@acme.example.com":                {Scheme: "pres", User: []byte("ada"), Host: []byte("acme.example.com")},
	} {
		u, ok := ParseURI([]byte(text))
		if !ok || u.Scheme != want.Scheme || string(u.User) != string(want.User) || string(u.Host) != string(want.Host) || u.Port != want.Port ||
			string(u.Params) != string(want.Params) || string(u.Headers) != string(want.Headers) || string(u.Text) != text {
			t.Errorf("%s: %+v, %v", text, u, ok)
		}
	}
	for _, text := range []string{"", "sip", "sip:", "sip:@host", "sip:a@", "sip:a@h:x", "sip:a@h:99999", "sip:a b@h", "sip:a@[::1", "sip:a@h<", "x:y@z", "sip:a@h o"} {
		if u, ok := ParseURI([]byte(text)); ok {
			t.Errorf("%s was read: %+v", text, u)
		}
	}
}

func TestParam(t *testing.T) {
	params := []byte(` ;A = "x;\"y" ; lr; b=2;=7;c`)
	for name, want := range map[string]string{"a": `x;\"y`, "b": "2"} {
		if got, found := Param(params, name); !found || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, found)
		}
	}
	for _, name := range []string{"LR", "c"} {
		if v, found := Param(params, name); !found || v != nil {
			t.Errorf("%s: %q, %v", name, v, found)
		}
	}
	if _, found := Param(params, "d"); found {
		t.Error("d was found")
	}
}

func BenchmarkRead(b *testing.B) {
	data, m := []byte(subscribe), new(Message)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := m.Read(data); err != nil {
			b.Fatal(err)
		}
	}
}

package message

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"pgregory.net/rapid"
)

// difference is a difference between this package's reader and sipgo's that has a reason.
type difference struct {
	what   string // the value that differs
	reason string
	when   func(data []byte, m *Message) bool
}

// differences are the messages that both readers take and that they may understand differently.
var differences = []difference{
	{"method", "sipgo makes methods upper-case; they are case-sensitive (RFC 3261 §7.1)", func(_ []byte, m *Message) bool {
		return strings.ToUpper(string(m.MethodName())) != string(m.MethodName())
	}},
	{"From tag", unusualReason, func(_ []byte, m *Message) bool { return unusual(m.From().Params, "tag") }},
	{"To tag", unusualReason, func(_ []byte, m *Message) bool { return unusual(m.To().Params, "tag") }},
	{"Via host", "sipgo takes what is behind a comma, and what is before the white space in the protocol, for the host (RFC 3261 §25.1: via-parm, SLASH)",
		func(_ []byte, m *Message) bool {
			return bytes.ContainsAny(m.Header(Via), ",") || bytes.ContainsAny(m.Via().Protocol, " \t")
		}},
	{"branch", unusualReason, func(_ []byte, m *Message) bool { return unusual(m.Via().Params, "branch") }},
}

const unusualReason = "sipgo keeps white space and quotes of parameters, takes the last of several, and tells the cases of their names apart " +
	"(RFC 3261 §25.1: SEMI and EQUAL may have white space; §7.3.1: names are case-insensitive)"

// unusual says whether the parameters hold something that sipgo reads in its own way.
func unusual(params []byte, name string) bool {
	lower := bytes.ToLower(params)
	return bytes.ContainsAny(params, " \t\"<>,\\") || bytes.Count(lower, []byte(name)) > 1 || bytes.Count(lower, []byte(name)) != bytes.Count(params, []byte(name))
}

// value is one value of a message, as both read it.
type value struct{ what, ours, theirs string }

// values returns what both readers say about a message.
func values(m *Message, theirs sip.Message) (all []value) {
	add := func(what string, ours any, theirs any) {
		// A folded line has one space in sipgo, and what came here: that is no difference (RFC 3261 §7.3.1).
		all = append(all, value{what, strings.Join(strings.Fields(fmt.Sprint(ours)), " "), strings.Join(strings.Fields(fmt.Sprint(theirs)), " ")})
	}
	header := func(names ...string) string {
		for _, h := range theirsHeaders(theirs) {
			for _, n := range names {
				if strings.EqualFold(h.Name(), n) {
					return h.Value()
				}
			}
		}
		return ""
	}
	switch msg := theirs.(type) {
	case *sip.Request:
		add("kind", m.Status == 0, true)
		add("method", string(m.MethodName()), string(msg.Method))
		if m.Target().Scheme == "sip" || m.Target().Scheme == "sips" {
			add("user", string(m.Target().User), msg.Recipient.User)
			add("host", string(m.Target().Host), msg.Recipient.Host)
			add("port", m.Target().Port, msg.Recipient.Port)
		}
	case *sip.Response:
		add("status", m.Status, msg.StatusCode)
	}
	add("Call-ID", string(m.CallID()), header("call-id", "i"))
	add("CSeq", m.CSeq, theirs.CSeq().SeqNo)
	add("branch", string(m.Via().Branch), theirs.Via().Params.GetOr("branch", ""))
	add("Via host", strings.Trim(string(m.Via().Host), "[]"), theirs.Via().Host)
	add("From tag", string(m.From().Tag()), theirs.From().Params.GetOr("tag", ""))
	add("To tag", string(m.To().Tag()), theirs.To().Params.GetOr("tag", ""))
	add("Event", string(m.Header(Event)), header("event", "o"))
	add("Expires", string(m.Header(Expires)), header("expires"))
	add("body", string(m.Body), string(theirs.Body()))
	return all
}

func theirsHeaders(m sip.Message) []sip.Header {
	switch msg := m.(type) {
	case *sip.Request:
		return msg.Headers()
	case *sip.Response:
		return msg.Headers()
	}
	return nil
}

// readTheirs reads a message with sipgo; nil: it can't, or lacks what each message has.
func readTheirs(data []byte) (m sip.Message) {
	defer func() {
		if recover() != nil { // a fault of theirs
			m = nil
		}
	}()
	m, err := sip.ParseMessage(data)
	if err != nil || m == nil || m.Via() == nil || m.From() == nil || m.To() == nil || m.CallID() == nil || m.CSeq() == nil {
		return nil
	}
	return m
}

// FuzzReadAgainstSipgo reads any message with this package and with github.com/emiago/sipgo. Where both take it, they agree on all that a
// notifier goes by, or the difference has a reason.
func FuzzReadAgainstSipgo(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(Message)
		if m.Read(bytes.Clone(data)) != nil {
			return
		}
		theirs := readTheirs(bytes.Clone(data))
		if theirs == nil {
			return
		}
		for _, v := range values(m, theirs) {
			if v.ours == v.theirs {
				continue
			}
			known := false
			for _, d := range differences {
				known = known || d.what == v.what && d.when(data, m)
			}
			if !known {
				t.Errorf("%s is %q here and %q there, in\n%q", v.what, v.ours, v.theirs, data)
			}
		}
	})
}

// pieces draws from texts.
func pieces(t *rapid.T, name string, all ...string) string {
	return rapid.SampledFrom(all).Draw(t, name)
}

// address draws an address with a display name or without, and the parameters.
func address(t *rapid.T, name string, params ...string) string {
	uri := pieces(t, name+" scheme", "sip:", "sips:", "SIP:") + pieces(t, name+" user", "1001@", "*3101@", "a;b=c@", "a%40b@", "a:secret@", "+1-212@", "") +
		pieces(t, name+" host", "acme.example.com", "192.0.2.9", "[2001:db8::1]") + pieces(t, name+" port", "", ":5060", ":65535") +
		pieces(t, name+" uri params", "", ";transport=tcp", ";lr", ";user=phone;x")
	text := pieces(t, name+" display", "", "Ada ", `"Ada" `, `"A, \"d\"; <a>" `, "Ada the first ", `"" `) + "<" + uri + ">"
	for _, p := range params {
		text += p
	}
	return text
}

// TestReadAgainstSipgo draws messages of all forms that both readers should take, and compares what they read.
func TestReadAgainstSipgo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`[a-zA-Z0-9.!%*_+'~-]{1,30}`)
		method := rapid.OneOf(rapid.SampledFrom([]string{"SUBSCRIBE", "PUBLISH", "NOTIFY", "OPTIONS"}), rapid.StringMatching(`[A-Z]{1,12}`)).Draw(t, "method")
		uri := address(t, "target")
		start := method + " " + uri[strings.LastIndexByte(uri, '<')+1:len(uri)-1] + " SIP/2.0"
		if rapid.Bool().Draw(t, "response") {
			start = fmt.Sprintf("SIP/2.0 %d %s", rapid.IntRange(100, 699).Draw(t, "status"), pieces(t, "reason", "OK", "Not Found", "Gr\xc3\xbc\xc3\x9fe"))
		}
		via := func(name string) string {
			return "SIP/2.0/" + pieces(t, name+" transport", "UDP", "TCP", "TLS", "WSS") + " " + pieces(t, name+" sent-by", "192.0.2.9", "a.example.com:5062", "[2001:db8::1]:5060") +
				pieces(t, name+" params", "", ";rport", ";received=192.0.2.1;rport=5060", ";x=y") + ";branch=z9hG4bK" + token.Draw(t, name+" branch")
		}
		body := string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "body"))
		fields := [][3]string{
			{"Via", "v", via("via")}, {"From", "f", address(t, "from", ";tag="+token.Draw(t, "from tag"))},
			{"To", "t", address(t, "to", pieces(t, "to tag", "", ";tag=abc", ";x=y;tag=1"))}, {"Call-ID", "i", token.Draw(t, "callid") + pieces(t, "at", "", "@192.0.2.9")},
			{"CSeq", "", fmt.Sprint(rapid.Uint32Range(0, 1<<31-1).Draw(t, "cseq")) + " " + method}, {"Event", "o", pieces(t, "event", "dialog", "dialog;id=7", "presence")},
			{"Expires", "", fmt.Sprint(rapid.Uint32().Draw(t, "expires"))}, {"Content-Length", "l", fmt.Sprint(len(body))},
			{"X-Other", "", pieces(t, "other", "", "x", ";;,,", "\"")}, {"Contact", "m", address(t, "contact", ";expires=60")},
		}
		text := start + "\r\n"
		for _, f := range rapid.Permutation(fields).Draw(t, "order") {
			name := f[0]
			switch how := rapid.IntRange(0, 3).Draw(t, "name"); {
			case how == 1 && f[1] != "":
				name = f[1]
			case how == 2:
				name = strings.ToUpper(name)
			case how == 3:
				name += " "
			}
			text += name + ":" + pieces(t, "space", "", " ", "\t ", "\r\n ", " \r\n\t") + f[2] + pieces(t, "end", "", " ") + "\r\n"
		}
		if rapid.Bool().Draw(t, "second via") {
			text += "Via: " + via("second") + "\r\n"
		}
		data := []byte(text + "\r\n" + body)
		m := new(Message)
		if err := m.Read(bytes.Clone(data)); err != nil {
			t.Fatalf("%v in\n%q", err, data)
		}
		theirs := readTheirs(bytes.Clone(data))
		if theirs == nil {
			t.Fatalf("sipgo does not read\n%q", data)
		}
		for _, v := range values(m, theirs) {
			if v.ours != v.theirs {
				t.Errorf("%s is %q here and %q there, in\n%q", v.what, v.ours, v.theirs, data)
			}
		}
	})
}

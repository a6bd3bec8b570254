package message

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"lamplight/transport/sip/message/rfc4475"
)

// Every torture message is read, or refused as it must be, and what is refused with a code can be answered.
func TestRFC4475(t *testing.T) {
	if len(rfc4475.Messages) != 49 {
		t.Errorf("RFC 4475 has 49 messages, not %d", len(rfc4475.Messages))
	}
	for _, c := range rfc4475.Messages {
		m, got := new(Message), rfc4475.OK
		var wrong *Error
		if errors.As(m.Read([]byte(c.Text)), &wrong) {
			got = wrong.Code
		}
		if got != c.Wrong {
			t.Errorf("%s, %s: %d (%v), want %d", c.Section, c.Title, got, wrong, c.Wrong)
		}
		if answered := c.Answer != rfc4475.Silence; m.Answerable() != answered {
			t.Errorf("%s, %s: it can be answered: %v", c.Section, c.Title, !answered)
		}
	}
}

// What is special in the torture messages is read as it was meant.
func TestRFC4475Values(t *testing.T) {
	of := map[string]*Message{}
	for _, c := range rfc4475.Messages {
		of[c.Section] = new(Message)
		_ = of[c.Section].Read([]byte(c.Text))
	}
	contact := func(m *Message) Address {
		a, _, _ := ParseAddress(m.Header(Contact))
		return a
	}
	param := func(params []byte, name string) string {
		v, found := Param(params, name)
		if !found {
			return "none"
		}
		return string(v)
	}
	m, weird, long := of["3.1.1.1"], of["3.1.1.2"], of["3.1.1.7"]
	var vias int
	for range m.Headers(Via) {
		vias++
	}
	for name, c := range map[string][2]string{
		"the tag of a folded From":         {string(m.From().Tag()), "8f"},
		"the display name of From":         {string(m.From().Display), `"Ada \\\""`},
		"the host of a folded Via":         {string(m.Via().Host), "192.0.2.2"},
		"the branch of a folded Via":       {string(m.Via().Branch), "390skdjuw"},
		"the transport of a folded Via":    {string(m.Via().Transport), "UDP"},
		"a parameter of Contact":           {param(contact(m).Params, "newparam"), "newvalue"},
		"the q of Contact":                 {param(contact(m).Params, "q"), "0.33"},
		"a compact Event":                  {string(m.Header(Event)), "dialog"},
		"the body":                         {string(m.Body), "v=0\r"},
		"a user with a question mark":      {string(weird.Target().User), "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"},
		"the host behind it":               {string(weird.Target().Host), "example.com"},
		"an unusual tag":                   {string(weird.From().Tag()), "_token~1'+`*%!-."},
		"an unusual Call-ID":               {string(weird.CallID()), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"},
		"an escaped user":                  {string(of["3.1.1.3"].Target().User), "sips%3Auser%40example.com"},
		"an escaped null":                  {string(of["3.1.1.4"].To().URI.User), "null-%00-null"},
		"a method with a percent sign":     {string(of["3.1.1.5"].MethodName()), "RE%47IST%45R"},
		"a display name before <":          {string(of["3.1.1.6"].From().Display), "caller"},
		"a long tag":                       {string(long.From().Tag()), "12" + strings.Repeat("982", 50) + "424"},
		"a datagram's first message alone": {of["3.1.1.8"].Method.String() + string(of["3.1.1.8"].Body), "SUBSCRIBE"},
		"a user with parameters":           {string(of["3.1.1.9"].Target().User), "user;par=u%40example.net"},
		"no branch":                        {string(of["3.4.1"].Via().Branch), ""},
		"a parameter of the header field":  {param(contact(of["3.3.12"]).Params, "unknownparam") + param(contact(of["3.3.12"]).URI.Params, "unknownparam"), "none"},
		"a parameter of the URI":           {param(contact(of["3.3.13"]).URI.Params, "unknownparam") + param(contact(of["3.3.13"]).Params, "unknownparam"), "none"},
		"an escaped header":                {string(contact(of["3.3.14"]).URI.Headers), "Route=%3Csip:sip.example.com%3E"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %q, want %q", name, c[0], c[1])
		}
	}
	if m.CSeq != 9 || vias != 2 || len(of["3.1.1.11"].Body) != 81 || of["3.1.1.12"].Status != 200 || of["3.1.1.13"].Status != 100 {
		t.Errorf("CSeq %d, %d lines of Via, %d bytes of body, statuses %d and %d", m.CSeq, vias, len(of["3.1.1.11"].Body), of["3.1.1.12"].Status, of["3.1.1.13"].Status)
	}
	// What is missing in a request is missing in its answer.
	if echo := string(of["3.3.1"].AppendEcho(nil, netip.MustParseAddrPort("192.0.2.9:5062"), "x")); echo != "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKinsuf\r\nCSeq: 193942 SUBSCRIBE\r\n" {
		t.Errorf("the answer repeats %q", echo)
	}
}

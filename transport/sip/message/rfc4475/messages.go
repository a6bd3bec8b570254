// Package rfc4475 has the messages that RFC 4475 §3 tortures SIP implementations with, written anew for a notifier: where the method does
// not matter, it is SUBSCRIBE. It is for tests.
package rfc4475

import "strings"

// Message is one message.
type Message struct {
	Section string // of RFC 4475
	Title   string
	Text    string
	Wrong   int // the status code with which a reader refuses the message; OK: it can be read; Unreadable: it is no message
	Answer  int // the status code with which a notifier that authenticates nobody answers; Silence: it does not
}

// The values of Wrong and Answer that are no status codes.
const (
	OK         = -1
	Unreadable = 0
	Silence    = 0
)

// lines makes a message of lines.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n" }

const (
	subscribe = "SUBSCRIBE sip:1001@acme.example.com SIP/2.0"
	via       = "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK"
	from      = "From: <sip:1002@acme.example.com>;tag=8f"
	to        = "To: <sip:1001@acme.example.com>"
	contact   = "Contact: <sip:1002@192.0.2.9:5062>"
	event     = "Event: dialog"
	forwards  = "Max-Forwards: 70"
)

// request makes a SUBSCRIBE whose lines are given with those that it can't be without.
func request(name, start string, all ...string) string {
	has := func(field string) bool {
		for _, l := range all {
			if strings.HasPrefix(l, field+":") {
				return true
			}
		}
		return false
	}
	method, _, _ := strings.Cut(start, " ")
	text := []string{start}
	for _, l := range []string{via + name, from, to, "Call-ID: " + name + "@192.0.2.9", "CSeq: 20 " + method, contact, event, forwards} {
		if field, _, _ := strings.Cut(l, ":"); !has(field) {
			text = append(text, l)
		}
	}
	text = append(text, all...)
	if !has("Content-Length") {
		text = append(text, "Content-Length: 0", "")
	}
	return lines(text...)
}

// Messages are all messages of §3.
var Messages = []Message{
	{"3.1.1.1", "a short tortuous request", lines("SUBSCRIBE sip:1001@acme.example.com;unknownparam SIP/2.0", "TO :", " sip:1001@acme.example.com ",
		`from   : "Ada \\\""       <sip:1002@acme.example.com>`, "  ;", "  tag = 8f", "MaX-fOrWaRdS: 0068", "Call-ID: tortuous@192.0.2.9",
		"Content-Length   : 4", "cseq: 0009", "  SUBSCRIBE", "Via  : SIP  /   2.0", " /UDP", "    192.0.2.2;branch=390skdjuw", "s :",
		"NewFangledHeader:   newfangled value", " continued newfangled value", "UnknownHeaderWithUnusualValue: ;;,,;;,;", "o\t:dialog",
		"Content-Type: application/sdp", "Route:", " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
		"v:  SIP  / 2.0  / TCP     spindle.example.com   ;", "  branch  =   z9hG4bK9ikj8  ,", " SIP  /    2.0   / UDP  192.168.255.111   ; branch=", " z9hG4bK30239",
		`m:"Quoted string \"\"" <sip:1002@192.0.2.9>;newparam =`, "      newvalue ;", "  secondparam ; q = 0.33", "", "v=0"), OK, 200},
	{"3.1.1.2", "a wide range of valid characters", lines("!interesting-Method0123456789_*+`.%indeed'~ "+
		"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
		"Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~", "To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" "+
			"<sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>",
		"From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\x80\xd0\xb0\xd0\xb1\xd0\xbe\xd1\x82\";tag=_token~1'+`*%!-.",
		"Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~", "Max-Forwards: 255",
		"extensionHeader-!.%*+_`'~: \xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb", "Content-Length: 0", ""), OK, 501},
	{"3.1.1.3", "the % escaping mechanism", request("esc01", "SUBSCRIBE sip:sips%3Auser%40example.com@acme.example.com SIP/2.0",
		"To: sip:%75se%72@acme.example.com", "From: <sip:I%20have%20spaces@acme.example.com>;tag=938",
		"Contact: <sip:cal%6Cer@192.0.2.9:5062;%6C%72;n%61me=v%61lue%25%34%31>"), OK, 200},
	{"3.1.1.4", "escaped nulls in URIs", request("escnull", subscribe, "To: sip:null-%00-null@acme.example.com",
		"From: sip:null-%00-null@acme.example.com;tag=839923423", "Contact: <sip:%00@192.0.2.9:5062>"), OK, 200},
	{"3.1.1.5", "% where it is no escape", request("esc02", "RE%47IST%45R sip:acme.example.com SIP/2.0", `To: "%Z%45" <sip:resource@acme.example.com>`,
		`From: "%Z%45" <sip:resource@acme.example.com>;tag=f232jadfj23`, "Contact: <sip:alias1@192.0.2.9>, <sip:alias2@192.0.2.9>"), OK, 501},
	{"3.1.1.6", "no white space before <", request("lwsdisp", subscribe, "From: caller<sip:1002@acme.example.com>;tag=323"), OK, 200},
	{"3.1.1.7", "long values", request("long"+strings.Repeat("reallylong", 20), subscribe,
		`To: "I have a user name of `+strings.Repeat("extreme", 10)+` proportion" <sip:1001@acme.example.com:6000;unknownparam1=`+
			strings.Repeat("very", 20)+"longvalue;longparam"+strings.Repeat("name", 25)+"=shortvalue;very"+strings.Repeat("long", 25)+"ParameterNameWithNoValue>",
		"From: sip:"+strings.Repeat("amazingly", 5)+"1002@acme.example.com;tag=12"+strings.Repeat("982", 50)+"424;unknownheaderparam"+strings.Repeat("name", 20)+
			"="+strings.Repeat("unknowheaderparam", 15)+"value;unknownValueless"+strings.Repeat("paramname", 10),
		"Unknown-"+strings.Repeat("Long", 20)+"-Name: unknown-"+strings.Repeat("long", 20)+"-value; unknown-"+strings.Repeat("long", 20)+"-parameter-name = value",
		"Via: SIP/2.0/TCP sip33.example.com", "v: SIP/2.0/TCP sip32.example.com", "V: SIP/2.0/TCP sip31.example.com"), OK, 200},
	{"3.1.1.8", "octets behind the message in a datagram", request("dblreq", subscribe) + request("dblreq2", "INVITE sip:1001@acme.example.com SIP/2.0"), OK, 200},
	{"3.1.1.9", "parameters in the user part", request("semiuri", "SUBSCRIBE sip:user;par=u%40example.net@acme.example.com SIP/2.0",
		"To: sip:user;par=u%40example.net@acme.example.com"), OK, 200},
	{"3.1.1.10", "varied and unknown transports", request("transports", subscribe, "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw",
		"Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf", "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
		"Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en", "Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee"), OK, 200},
	{"3.1.1.11", "a body of several parts, one of them binary", request("mpart01", "MESSAGE sip:1001@acme.example.com SIP/2.0", "Content-Type: multipart/mixed;boundary=7a9c",
		"Content-Length: 81", "", "--7a9c\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9c\r\n\r\n0\x82\x01\x52\x06\x09*\x86H\x86\xf7\x0d\x01\x07\x02\xa0\x00\r\n--7a9c--"), OK, 501},
	{"3.1.1.12", "an unusual reason phrase", lines("SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe \xd1\x81\xd1\x82\xd0\xbe", via+"unreason", from, to+";tag=1", "Call-ID: unreason",
		"CSeq: 35 NOTIFY", "Content-Length: 0", ""), OK, Silence},
	{"3.1.1.13", "an empty reason phrase", lines("SIP/2.0 100 ", via+"noreason", from, to, "Call-ID: noreason", "CSeq: 35 NOTIFY", "Content-Length: 0", ""), OK, Silence},

	{"3.1.2.1", "separators too many", request("badinv01", subscribe, "Via: SIP/2.0/UDP 192.0.2.15;;,;,,", `Contact: "Ada" <sip:1002@192.0.2.9>;;;;`), 400, 400},
	{"3.1.2.2", "a Content-Length larger than the message", request("clerr", subscribe, "Content-Type: application/sdp", "Content-Length: 9999", "", "v=0"), 400, 400},
	{"3.1.2.3", "a negative Content-Length", request("ncl", subscribe, "Content-Type: application/sdp", "Content-Length: -999", "", "v=0"), 400, 400},
	{"3.1.2.4", "overlarge numbers in a request", request("scalar02", subscribe, "CSeq: 36893488147419103232 SUBSCRIBE", "Max-Forwards: 300",
		"Expires: 10000000000000000000000000000000000000", "Contact: <sip:1002@192.0.2.9>;expires=280297596632815"), 400, 400},
	{"3.1.2.5", "overlarge numbers in a response", lines("SIP/2.0 503 Service Unavailable", via+"scalarlg", from, to+";tag=1", "Call-ID: scalarlg", "CSeq: 9292394834772304023312 NOTIFY",
		"Retry-After: 949302838503028349304023988", "Warning: 1812 overture \"In Progress\"", "Content-Length: 0", ""), 400, Silence},
	{"3.1.2.6", "a quoted display name that does not end", request("quotbal", subscribe, `To: "Mr. J. User <sip:1001@acme.example.com>`), 400, 400},
	{"3.1.2.7", "< and > around the Request-URI", request("ltgtruri", "SUBSCRIBE <sip:1001@acme.example.com> SIP/2.0"), 400, 400},
	{"3.1.2.8", "white space in the Request-URI", request("lwsruri", "SUBSCRIBE sip:1001@acme.example.com; lr SIP/2.0"), 400, 400},
	{"3.1.2.9", "several spaces in the Request-Line", request("lwsstart", "SUBSCRIBE  sip:1001@acme.example.com  SIP/2.0"), 400, 400},
	{"3.1.2.10", "spaces at the end of the Request-Line", request("trws", "SUBSCRIBE sip:1001@acme.example.com SIP/2.0  "), 400, 400},
	// A reader may be liberal and leave the headers alone, which a Request-URI must not have.
	{"3.1.2.11", "headers in the Request-URI", request("escruri", "SUBSCRIBE sip:1001@acme.example.com?Route=%3Csip:example.com%3E SIP/2.0"), OK, 200},
	// A notifier has no use for Date, and does not read it.
	{"3.1.2.12", "a wrong time zone in Date", request("baddate", subscribe, "Date: Fri, 01 Jan 2010 16:00:00 EST"), OK, 200},
	{"3.1.2.13", "a Contact with headers that is not within < and >", request("regbadct", subscribe, "Contact: sip:1002@192.0.2.9?Route=%3Csip:sip.example.com%3E"), OK, 400},
	{"3.1.2.14", "spaces within < and >", request("badaspec", subscribe, `To: "Watson, Thomas" < sip:1001@acme.example.com >`), 400, 400},
	{"3.1.2.15", "a display name with a comma, without quotes", request("baddn", subscribe, "From: Bell, Alexander <sip:1002@acme.example.com>;tag=43"), 400, 400},
	{"3.1.2.16", "an unknown version", request("badvers", "SUBSCRIBE sip:1001@acme.example.com SIP/7.0"), 505, 505},
	{"3.1.2.17", "a method other than that in CSeq", request("mismatch01", "OPTIONS sip:1001@acme.example.com SIP/2.0", "CSeq: 8 SUBSCRIBE"), 400, 400},
	{"3.1.2.18", "an unknown method other than that in CSeq", request("mismatch02", "NEWMETHOD sip:1001@acme.example.com SIP/2.0", "CSeq: 8 SUBSCRIBE"), 400, 400},
	{"3.1.2.19", "an overlarge response code", lines("SIP/2.0 4294967301 better not break the receiver", via+"bigcode", from, to+";tag=1", "Call-ID: bigcode", "CSeq: 3 NOTIFY",
		"Content-Length: 0", ""), Unreadable, Silence},

	{"3.2.1", "a branch that names no transaction", request("badbranch", "OPTIONS sip:1001@acme.example.com SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"), OK, 200},

	{"3.3.1", "no Call-ID, From and To", lines(subscribe, via+"insuf", "CSeq: 193942 SUBSCRIBE", contact, "Content-Length: 0", ""), 400, 400},
	{"3.3.2", "an unknown scheme", request("unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"), 416, 416},
	{"3.3.3", "a scheme that is known elsewhere", request("novelsc", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), 416, 416},
	{"3.3.4", "unknown schemes in header fields", request("unksm2", subscribe, "To: isbn:2983792873", "From: <http://www.example.com>;tag=3234233", "Contact: <name:John_Smith>"), OK, 400},
	{"3.3.5", "Require and Proxy-Require", request("bext01", subscribe, "Require: nothingSupportsThis, nothingSupportsThisEither", "Proxy-Require: noProxiesSupportThis"), OK, 420},
	{"3.3.6", "an unknown Content-Type", request("invut", "INVITE sip:1001@acme.example.com SIP/2.0", "Content-Type: application/unknownformat", "Content-Length: 7", "", "<audio>"), OK, 405},
	{"3.3.7", "an unknown authorization scheme", request("regaut01", subscribe, "Authorization: NoOneKnowsThisScheme opaque-data=here"), OK, 200},
	{"3.3.8", "several values where one may be", request("multi01", subscribe, "CSeq: 5 SUBSCRIBE", "CSeq: 59 SUBSCRIBE", "Call-ID: multi01.1", "Call-ID: multi01.2", "From: <sip:1002@acme.example.com>;tag=1",
		"From: <sip:1003@acme.example.com>;tag=2", "To: <sip:1001@acme.example.com>", "To: <sip:1004@acme.example.com>", "Max-Forwards: 70", "Max-Forwards: 5"), 400, 400},
	{"3.3.9", "several values of Content-Length", request("mcl01", "OPTIONS sip:1001@acme.example.com SIP/2.0", "Content-Length: 13", "Content-Length: 5", "", "There's no wa"), 400, 400},
	{"3.3.10", "a response with a Via of a broadcast address", lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923",
		"Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23", from, to+";tag=1", "Call-ID: bcast", "CSeq: 35 NOTIFY", "Content-Length: 0", ""), OK, Silence},
	{"3.3.11", "Max-Forwards of zero", request("zeromf", "OPTIONS sip:1001@acme.example.com SIP/2.0", "Max-Forwards: 0"), OK, 200},
	{"3.3.12", "a Contact with a parameter of the header field", request("cparam01", subscribe, "Contact: sip:+12125550100@192.0.2.9;unknownparam"), OK, 200},
	{"3.3.13", "a Contact with a parameter of the URI", request("cparam02", subscribe, "Contact: <sip:+12125550100@192.0.2.9;unknownparam>"), OK, 200},
	{"3.3.14", "a Contact with an escaped header", request("regescrt", subscribe, "Contact: <sip:1002@192.0.2.9?Route=%3Csip:sip.example.com%3E>"), OK, 200},
	{"3.3.15", "an Accept that can't be met", request("sdp01", subscribe, "Accept: text/nobodyKnowsThis"), OK, 406},

	{"3.4.1", "the syntax of RFC 2543", lines(subscribe, "Via: SIP/2.0/UDP iftgw.example.com", "From: <sip:1002@acme.example.com;user=phone>", to, "Call-ID: inv2543.1717@ift.client.example.com",
		"CSeq: 56 SUBSCRIBE", contact, event, ""), OK, 200},
}

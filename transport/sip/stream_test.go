package sip

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// RFC 3261 §18.3: messages on a stream are found by their Content-Length, however they are cut and glued. RFC 5626 §4.4.1: pings between
// them are answered.
func TestStreamFraming(t *testing.T) {
	large := "X-Large: " + strings.Repeat("x", 5000) + "\r\n" // more than the small buffers hold
	for name, c := range map[string]struct{ pieces, want []string }{
		"one":                         {[]string{options("a", "", "")}, []string{"a"}},
		"glued":                       {[]string{options("a", "", "") + options("b", "", "body") + options("c", "", "")}, []string{"a", "b", "c"}},
		"cut in the head":             {cut(options("a", "", "body"), 10), []string{"a"}},
		"byte by byte":                {cut(options("a", "", "body")+options("b", "", ""), 1), []string{"a", "b"}},
		"cut in the body":             {[]string{options("a", "", "one ")[:len(options("a", "", "one "))-2], "e " + options("b", "", "")}, []string{"a", "b"}},
		"line breaks before":          {[]string{"\r\n" + options("a", "", "")}, []string{"a"}},
		"a ping":                      {[]string{ping}, []string{pong}},
		"a ping in halves":            {[]string{"\r\n", "\r\n"}, []string{pong}},
		"a ping byte by byte":         {cut(ping, 1), []string{pong}},
		"two pings":                   {[]string{ping + ping}, []string{pong, pong}},
		"pings between":               {[]string{ping + options("a", "", "") + ping + options("b", "", "") + ping}, []string{pong, "a", pong, "b", pong}},
		"half a ping before":          {[]string{"\r\n", options("a", "", "") + "\r", "\n\r\n"}, []string{"a", pong}},
		"line breaks in a body":       {[]string{options("a", "", ping) + options("b", "", "")}, []string{"a", "b"}},
		"a large head":                {[]string{options("a", large, "") + options("b", large, "")}, []string{"a", "b"}},
		"a large head byte by byte":   {cut(options("a", large, "x")+options("b", "", ""), 97), []string{"a", "b"}},
		"a large body":                {[]string{options("a", "", strings.Repeat("x", 60000)), options("b", "", "")}, []string{"a", "b"}},
		"a compact length":            {[]string{strings.Replace(options("a", "", "body"), "Content-Length", "l", 1) + options("b", "", "")}, []string{"a", "b"}},
		"a length with spaces around": {[]string{strings.Replace(options("a", "", "body"), "Content-Length: 4", "CONTENT-LENGTH  :\t4 ", 1) + options("b", "", "")}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, conn := startEdge(t, TCP, nil)
			go func() {
				for _, piece := range c.pieces { // each is a segment of its own: there is no Nagle in Go
					_, _ = io.WriteString(conn, piece)
				}
			}()
			in := &stream{t: t, conn: conn}
			for _, want := range c.want {
				if got := in.next(); got != want && !answers(got, 200, want) {
					t.Fatalf("want %q, got %q", want, got)
				}
			}
		})
	}
}

// cut cuts a text into pieces of a size.
func cut(text string, size int) (pieces []string) {
	for len(text) > size {
		pieces, text = append(pieces, text[:size]), text[size:]
	}
	return append(pieces, text)
}

// What can't be framed ends the connection: nothing behind it can be read. Who has sent it is told if there is enough to tell.
func TestStreamThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		code int // 0: no answer
	}{
		"no end":            {strings.Repeat("x", 9000), 0},
		"no number":         {strings.Replace(options("a", "", ""), "Length: 0", "Length: x", 1), 400},
		"a negative length": {strings.Replace(options("a", "", ""), "Length: 0", "Length: -1", 1), 400},
		"two lengths":       {options("a", "Content-Length: 0\r\n", ""), 400},
		"a large body":      {strings.Replace(options("a", "", ""), "Length: 0", "Length: 70000", 1), 400},
		"a large head":      {options("a", "X: "+strings.Repeat("x", 9000)+"\r\n", ""), 513},
		"another language":  {"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, conn := startEdge(t, TCP, nil)
			in := &stream{t: t, conn: conn}
			if _, err := io.WriteString(conn, options("before", "", "")); err != nil || !answers(in.next(), 200, "before") {
				t.Fatal("the edge does not answer", err)
			}
			if _, err := io.WriteString(conn, c.text); err != nil {
				t.Fatal(err)
			}
			if c.code != 0 {
				if got := in.next(); !answers(got, c.code, "a") {
					t.Errorf("want %d, got %q", c.code, got)
				}
			}
			if rest := closed(t, conn); rest != "" {
				t.Errorf("at the end came %q", rest)
			}
		})
	}
}

// A message that is whole and wrong is answered, and the connection goes on (RFC 3261 §18.3).
func TestStreamGoesOnAfterAFault(t *testing.T) {
	_, conn := startEdge(t, TCP, nil)
	in := &stream{t: t, conn: conn}
	for i, c := range []struct {
		old, new string
		code     int
	}{{"CSeq: 1 OPTIONS", "CSeq: 1 INVITE", 400}, {"SIP/2.0\r", "SIP/3.0\r", 505}, {"sip:" + testRealm + " SIP", "isbn:1 SIP", 416}, {"Call-ID: ", "Call-ID: ", 200}} {
		callID := fmt.Sprint("f", i)
		if _, err := io.WriteString(conn, strings.Replace(options(callID, "", ""), c.old, c.new, 1)); err != nil {
			t.Fatal(err)
		}
		if got := in.next(); !answers(got, c.code, callID) {
			t.Errorf("want %d, got %q", c.code, got)
		}
	}
}

package freeswitch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// frames reads all frames of a text and returns what ended it.
func frames(text string) (all []frame, err error) {
	r := bufio.NewReaderSize(strings.NewReader(text), maxLine)
	for {
		f, err := readFrame(r)
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
}

// Frames are header lines, an empty line, and as many bytes as Content-Length says.
func TestFrames(t *testing.T) {
	all, err := frames("Content-Type: auth/request\n\n" +
		"Content-Type: command/reply\r\nReply-Text: +OK accepted\r\n\r\n" +
		"\n\ncontent-length: 4\nCONTENT-TYPE: text/event-json\n\n{}\n\n" +
		"Content-Type: api/response\nContent-Length: 0\n\n" +
		"Content-Length: 10\nContent-Type: text/disconnect-notice\nLinger-Time: 5\n\nGood bye.\n")
	want := `[{auth/request  []} {command/reply +OK accepted []} {text/event-json  [123 125 10 10]} {api/response  []} {text/disconnect-notice  [71 111 111 100 32 98 121 101 46 10]}]`
	if got := fmt.Sprint(all); got != want || err != io.EOF {
		t.Errorf("%s, %v", got, err)
	}
}

// What is no frame, and what is too large, ends the connection before memory is taken for it.
func TestBadFrames(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"no colon":            {"hello\n\n", errFrame},
		"a long line":         {"X: " + strings.Repeat("x", maxLine) + "\n\n", errFrame},
		"many lines":          {strings.Repeat("X: y\n", maxLines+1) + "\n", errFrame},
		"many empty lines":    {strings.Repeat("\n", maxLines+2), errFrame},
		"a negative length":   {"Content-Length: -1\n\n", errFrame},
		"no number":           {"Content-Length: ten\n\n", errFrame},
		"two lengths":         {"Content-Length: 1\nContent-Length: 2\n\nxx", errFrame},
		"a huge event":        {fmt.Sprintf("Content-Type: text/event-json\nContent-Length: %d\n\n", maxEvent+1), errFrame},
		"a huge answer":       {fmt.Sprintf("Content-Length: %d\nContent-Type: api/response\n\n", maxAnswer+1), errFrame},
		"an end in a header":  {"Content-Type: text/ev", io.ErrUnexpectedEOF},
		"an end after a line": {"Content-Type: text/event-json\n", io.ErrUnexpectedEOF},
		"an end in a body":    {"Content-Type: api/response\nContent-Length: 60000000\n\nabc", io.ErrUnexpectedEOF},
	} {
		if all, err := frames(c.text); !errors.Is(err, c.want) || len(all) > 0 {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
}

// Events are read whatever the case of their headers. The first value counts, what is too long is absent, control characters go.
func TestEvents(t *testing.T) {
	e, err := readEvent([]byte(`{"event-NAME":"PRESENCE_IN","Unique-ID":"","unique-id":"u1","Unique-ID":"u2","proto":["any","sip",{"x":1}],"from":"a\u0000\nb@c",
		"status":"_undef_","rpid":{"a":[1]},"Content-Length":12,"_body":"x","login":null,"force-status":"` + strings.Repeat("x", maxValue+1) + `","Event-Date-Timestamp":"1"}`))
	if err != nil {
		t.Fatal(err)
	}
	for h, want := range map[header]string{hEventName: "PRESENCE_IN", hUniqueID: "u1", hProto: "any", hFrom: "ab@c", hStatus: "", hForceStatus: ""} {
		if e.is[h] != want {
			t.Errorf("header %d is %q, want %q", h, e.is[h], want)
		}
	}
	now := time.Now()
	if err := e.date(now); !errors.Is(err, errClock) || !e.at.Equal(now) {
		t.Errorf("%v, %v", err, e.at)
	}
	for _, wrong := range []string{"", "[]", `"x"`, `{"a":`, `{"a":["x"`, `{"a" 1}`, "{" + strings.Repeat(`"a":{`, 20000)} {
		if e, err := readEvent([]byte(wrong)); err == nil {
			t.Errorf("%.30s was read: %v", wrong, e)
		}
	}
}

// FuzzFrames wants that no bytes of a switch take the reader down, or more memory than they have themselves, and that what was read as a
// frame is the same when it is written and read again.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n"))
	f.Add([]byte("Content-Length: 31\nContent-Type: text/event-json\n\n{\"Event-Name\":\"HEARTBEAT\",\"a\":[]}"))
	f.Add([]byte("Content-Length: 2\nContent-Type: api/response\n\n{}Content-Type: text/disconnect-notice\nContent-Length: 3\n\nbye"))
	f.Add([]byte("Content-Length: 99999999999999999999\n\n"))
	f.Add([]byte("\r\n\r\n: \n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), maxLine)
		for range 100 {
			one, err := readFrame(r)
			if err != nil {
				return
			}
			if len(one.body) > len(data) {
				t.Fatalf("a body of %d bytes from %d", len(one.body), len(data))
			}
			text := fmt.Sprintf("Content-Type: %s\nReply-Text: %s\nContent-Length: %d\n\n%s", one.kind, one.reply, len(one.body), one.body)
			if len(one.kind)+20 < maxLine && len(one.reply)+20 < maxLine && !strings.Contains(one.kind+one.reply, "\r") {
				again, err := readFrame(bufio.NewReaderSize(strings.NewReader(text), maxLine))
				if err != nil || again.kind != one.kind || again.reply != one.reply || !bytes.Equal(again.body, one.body) {
					t.Fatalf("%+v, %v instead of %+v", again, err, one)
				}
			}
			if e, err := readEvent(one.body); err == nil {
				_ = e.date(time.Now())
				_ = e.channel()
			}
			_, _ = readRows(one.body)
			_, _ = readCounts(string(one.body), false)
		}
	})
}

package sip_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/transport/sip"
	"lamplight/transport/sip/message/rfc4475"
)

// A notifier answers each torture message as it must, or not at all, and lives on. On UDP requests are answered in their order, so an
// OPTIONS behind a message tells that the message was not answered.
func TestRFC4475(t *testing.T) {
	n := startNode(t, nil)
	conn, err := net.Dial("udp", n.SIP().Addr(sip.UDP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(3 * patience))
	buffer := make([]byte, 64<<10)
	for i, c := range rfc4475.Messages {
		if _, err := conn.Write([]byte(c.Text)); err != nil {
			t.Fatal(err)
		}
		after := fmt.Sprintf("after-%d", i)
		if c.Answer == rfc4475.Silence {
			if _, err := fmt.Fprintf(conn, "OPTIONS sip:acme.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK%[1]s\r\nFrom: <sip:a@b>;tag=1\r\n"+
				"To: <sip:a@b>\r\nCall-ID: %[1]s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", after); err != nil {
				t.Fatal(err)
			}
		}
		for {
			size, err := conn.Read(buffer)
			if err != nil {
				t.Fatalf("%s, %s: no answer: %v", c.Section, c.Title, err)
			}
			text := string(buffer[:size])
			if !strings.HasPrefix(text, "SIP/2.0 ") { // a NOTIFY of an earlier SUBSCRIBE
				continue
			}
			code, _ := strconv.Atoi(text[8:11])
			if c.Answer == rfc4475.Silence {
				if !strings.Contains(text, after) {
					t.Errorf("%s, %s: answered\n%s", c.Section, c.Title, text)
					continue
				}
			} else if code != c.Answer {
				t.Errorf("%s, %s: want %d, got\n%s", c.Section, c.Title, c.Answer, text)
			}
			break
		}
	}
}

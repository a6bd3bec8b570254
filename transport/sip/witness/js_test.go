package witness

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cmd/lamplight/node"
	"lamplight/tools/need"
	"lamplight/transport/sip"
)

// heard is one line of a script in js.
type heard struct {
	Event, What, Body, State, Error string
	CSeq                            uint32
}

// script is a user agent in JavaScript that runs.
type script struct {
	t     *testing.T
	lines chan heard
	in    io.WriteCloser
}

// run starts a script of js against an edge at a WebSocket address, with further environment variables.
func run(t *testing.T, name, server string, env ...string) *script {
	t.Helper()
	path, err := exec.LookPath("node")
	need.Met(t, err == nil, "Node.js (Debian: nodejs)")
	_, err = os.Stat("js/node_modules")
	need.Met(t, err == nil, "the npm packages of transport/sip/witness/js (npm ci --prefix transport/sip/witness/js)")
	cmd := exec.Command(path, "js/"+name)
	cmd.Env = append(append(os.Environ(), "SERVER="+server), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, lines: make(chan heard, 100), in: in}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var h heard
			if json.Unmarshal(lines.Bytes(), &h) == nil {
				s.lines <- h
			}
		}
	}()
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return s
}

// until waits for a line.
func (s *script) until(what string, fits func(h heard) bool) heard {
	s.t.Helper()
	late := time.After(15 * time.Second)
	for {
		select {
		case h, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the script ended before %s", what)
			}
			if h.What == "failed" {
				s.t.Fatal(h.Error)
			}
			if fits(h) {
				return h
			}
		case <-late:
			s.t.Fatalf("%s did not come", what)
		}
	}
}

// tell brings news to the node.
func tell(t *testing.T, n *node.Node, m actors.Message) {
	t.Helper()
	if a := n.Router().Request(t.Context(), actors.Request{To: actors.Address{Realm: acme, User: "1001"}, Message: m}); a.Err != nil {
		t.Fatal(a.Err)
	}
}

// TestJavaScript has JsSIP and SIP.js watch a call and a mailbox over WebSocket (RFC 7118), with digest authentication.
func TestJavaScript(t *testing.T) {
	for _, name := range []string{"jssip.cjs", "sipjs.cjs"} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, func(c *sip.Config) { c.NoAuth = false })
			s := run(t, name, "ws://"+n.SIP().Addr(sip.WS))
			notify := func(event, text string) heard {
				t.Helper()
				return s.until("a NOTIFY of "+event+" with "+text, func(h heard) bool { return h.What == "notify" && h.Event == event && strings.Contains(h.Body, text) })
			}
			// The first NOTIFY of each may come in either order.
			left := map[string]bool{"dialog": true, "message-summary": true}
			s.until("the first NOTIFYs", func(h heard) bool {
				if h.What == "notify" {
					delete(left, h.Event)
				}
				return len(left) == 0
			})
			call := presence.CallEvent{CallID: "call-1", Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme, FromTag: "a", ToTag: "b"}
			last := uint32(0)
			for _, state := range []presence.State{presence.Early, presence.Confirmed, presence.Terminated} {
				call.State = state
				tell(t, n, call)
				text := "<state>" + state.String() + "</state>"
				if state == presence.Terminated {
					text = "dialog-info"
				}
				h := notify("dialog", text)
				if h.CSeq <= last {
					t.Errorf("CSeq %d after %d", h.CSeq, last)
				}
				last = h.CSeq
			}
			tell(t, n, presence.MailboxEvent{Source: "1001@" + acme, New: 2, Saved: 1})
			notify("message-summary", "Voice-Message: 2/1 (0/0)")
			if _, err := io.WriteString(s.in, "dialog\n"); err != nil {
				t.Fatal(err)
			}
			s.until("the end of the subscription", func(h heard) bool { return h.Event == "dialog" && h.What == "terminated" })
			watchers(t, n, "1001", 1)
		})
	}
}

package witness

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/tools/need"
	"lamplight/transport/sip"
)

// prints waits until a program has written a text behind what it wrote before, and returns where that ends.
func prints(t *testing.T, out *log, after int, text string) int {
	t.Helper()
	for end := time.Now().Add(25 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all := out.String()
		if i := strings.Index(all[min(after, len(all)):], text); i >= 0 {
			return after + i + len(text)
		}
		if time.Now().After(end) {
			t.Fatalf("%q was not written:\n%s", text, tail(all, 3000))
		}
	}
}

// mailbox is news of the mailbox of an extension.
func mailbox(user string, fresh uint32) actors.Request {
	return actors.Request{To: actors.Address{Realm: acme, User: user}, Message: presence.MailboxEvent{Source: user + "@" + acme, New: fresh}}
}

// contacts asks baresip for its buddies over its control connection, of which baresip has one at a time. An answer is a netstring of JSON.
func contacts(control string) (string, error) {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+control, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	const ask = `{"command":"contacts","params":"","token":"t"}`
	if _, err := fmt.Fprintf(c, "%d:%s,", len(ask), ask); err != nil {
		return "", err
	}
	var all []byte
	b := make([]byte, 4096)
	for { // baresip writes its events between its answers
		n, err := c.Read(b)
		all = append(all, b[:n]...)
		if answer := string(all); strings.Contains(answer, `"token":"t"`) {
			return answer, nil
		}
		if err != nil {
			return "", fmt.Errorf("after %q: %w", all, err)
		}
	}
}

// buddy waits until baresip shows its buddy in a state.
func buddy(t *testing.T, control, state string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		answer, err := contacts(control)
		if strings.Contains(answer, state) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("baresip does not show its buddy as %s: %s, %v", state, answer, err)
		}
	}
}

// TestBaresip has baresip register at Kamailio and watch through it: presence of 1001 and its own mailbox.
func TestBaresip(t *testing.T) { // RFC 3856, RFC 3842
	path, err := exec.LookPath("baresip")
	need.Met(t, err == nil, "baresip (Debian: baresip-core)")
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			n := startNode(t, trustLoopback)
			proxy := front(t, n.SIP().Addr(sip.UDP))
			dir := t.TempDir()
			control := freePort(t)
			// mwi.so comes before account.so, which registers the phone. It looks at its subscriptions a millisecond after its start, and baresip 1.0.0 loops
			// for ever when there is one by then.
			for name, text := range map[string]string{
				"config": "poll_method epoll\nsip_listen 127.0.0.1:" + freePort(t) + "\naudio_player aufile,/dev/null\naudio_source ausine,440\naudio_alert aufile,/dev/null\n" +
					"module_path /usr/lib/baresip/modules\nmodule mwi.so\nmodule g711.so\nmodule aufile.so\nmodule ausine.so\nmodule_tmp uuid.so\nmodule_tmp account.so\n" +
					"module_app contact.so\nmodule_app ctrl_tcp.so\nmodule_app presence.so\nctrl_tcp_listen 127.0.0.1:" + control + "\n",
				"accounts": fmt.Sprintf("\"Phone\" <sip:1002@%s>;auth_user=1002;auth_pass=secret;regint=600;mwi=yes;answermode=manual;outbound=\"sip:%s;transport=%s\"\n", acme, proxy, transport),
				"contacts": fmt.Sprintf("\"Bob\" <sip:1001@%s>;presence=p2p\n", acme),
				"uuid":     "8e08c4b1-941f-4af7-9619-50cc995c226d",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out := start(t, exec.Command(path, "-f", dir, "-v", "-s"))
			at := prints(t, out, 0, "MWI_NOTIFY")
			buddy(t, control, "Online")
			tell(t, n, presence.CallEvent{CallID: "call-1", State: presence.Confirmed, Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme})
			buddy(t, control, "Busy")
			tell(t, n, presence.CallEvent{CallID: "call-1", State: presence.Terminated, Direction: presence.Recipient})
			buddy(t, control, "Online")
			if a := n.Router().Request(t.Context(), mailbox("1002", 3)); a.Err != nil {
				t.Fatal(a.Err)
			}
			prints(t, out, prints(t, out, at, "Voice-Message: 3/0"), "MWI_NOTIFY")
		})
	}
}

// TestLinphone has linphonec register at Kamailio and watch the presence of 1001 through it.
func TestLinphone(t *testing.T) { // RFC 3856
	path, err := exec.LookPath("linphonec")
	need.Met(t, err == nil, "linphonec (Debian: linphone-cli)")
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			n := startNode(t, trustLoopback)
			proxy := front(t, n.SIP().Addr(sip.UDP))
			dir := t.TempDir()
			port := freePort(t)
			rc := fmt.Sprintf("[sip]\nsip_port=%[1]s\nsip_tcp_port=%[1]s\nsip_tls_port=-1\ndefault_proxy=0\npublish_presence=0\nsubscribe_expires=600\n[video]\nenabled=0\n"+
				"[proxy_0]\nreg_proxy=<sip:%[2]s;transport=%[3]s>\nreg_route=<sip:%[2]s;transport=%[3]s;lr>\nreg_identity=\"Phone\" <sip:1002@%[4]s>\nreg_expires=600\nreg_sendregister=1\npublish=0\n"+
				"[auth_info_0]\nusername=1002\npasswd=secret\nrealm=%[4]s\ndomain=%[4]s\n[friend_0]\nurl=\"Bob\" <sip:1001@%[4]s>\npol=accept\nsubscribe=1\n"+
				"[misc]\nuuid=8e08c4b1-941f-4af7-9619-50cc995c226d\n", port, proxy, transport, acme)
			if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(rc), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path, "-c", filepath.Join(dir, "rc"))
			cmd.Env = append(os.Environ(), "HOME="+dir)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out := start(t, cmd)
			watchers(t, n, "1001", 1)
			at := prints(t, out, 0, "is Online")
			tell(t, n, presence.CallEvent{CallID: "call-1", State: presence.Confirmed, Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme})
			at = prints(t, out, at, "is On the phone")
			tell(t, n, presence.CallEvent{CallID: "call-1", State: presence.Terminated, Direction: presence.Recipient})
			prints(t, out, at, "is Online")
			_, _ = io.WriteString(in, "quit\n")
		})
	}
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lamplight/cluster/subject"
)

// A lamp that is lit without a watcher is listed over HTTP, over NATS and by the command line, as show says it, whatever lights it.
// A lamp that is dark is not, though it is watched.
func TestListLit(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	p.send(subject.DialogUpdate(realm, "k1"), "dialog_update", map[string]any{"From": "1001@" + realm, "To": "2001@" + realm, "Call-ID": "k1", "State": "early"})
	p.set("1003", "confirmed")
	p.send(subject.Update(realm, "park"), "update", map[string]any{"Presence-ID": "*3101@" + realm, "From": "park", "State": "confirmed"})
	p.send(subject.MailboxUpdate(realm, "4001"), "mwi_update", map[string]any{"To": "4001@" + realm, "Messages-New": 1, "Messages-Saved": 0, "Extended-Presence-ID": "*984001@" + realm})
	p.subscribe("1001", subscription("c1"))
	p.subscribe("1001", subscription("c2"))
	dark := subscription("c3")
	dark["User"] = "sip:1009@" + realm
	p.subscribe("1009", dark)
	list := func(more ...string) map[string]any {
		t.Helper()
		var lamps map[string]any
		out := p.lamplight(append([]string{"presence", "list", "--lit", "--realm", realm, "--nats", p.nats, "-o", "json"}, more...)...)
		if err := json.Unmarshal([]byte(out), &lamps); err != nil {
			t.Fatal(err)
		}
		return lamps
	}
	lamps := list()
	if over := p.get("/presence?lit=true")["lamps"]; !reflect.DeepEqual(over, any(lamps)) {
		t.Errorf("over HTTP:\n%v\nby the command line:\n%v", over, lamps)
	}
	for user, source := range map[string]string{"1001": "call", "1003": "manual", "*3101": "register", "*984001": "mailbox"} {
		l, _ := lamps[user].(map[string]any)
		shown := p.get("/presence/" + user)
		dialogs, _ := shown["dialogs"].([]any)
		if l == nil || l["source"] != source || l["state"] != shown["state"] || len(dialogs) == 0 || l["since"] != dialogs[0].(map[string]any)["since"] || !reflect.DeepEqual(l["dialogs"], shown["dialogs"]) {
			t.Errorf("%s is listed as %v and shown as %v", user, l, shown)
		}
		if only := list("--source", source); only[user] == nil {
			t.Errorf("--source %s lists %v", source, only)
		}
	}
	if lamps["1009"] != nil {
		t.Errorf("a dark lamp is listed: %v", lamps)
	}
	if early := list("--state", "early"); len(early) == 0 || early["1003"] != nil || early["1001"] == nil {
		t.Errorf("early: %v", early)
	}
	if old := list("--older-than", "4h"); len(old) != 0 {
		t.Errorf("lit for 4 h: %v", old)
	}
	if young := list("--older-than", "1ms"); len(young) != len(lamps) {
		t.Errorf("lit for 1 ms: %v", young)
	}
	if table := p.lamplight("presence", "list", "--lit", "--realm", realm, "--nats", p.nats); !strings.Contains(table, "\n1003       confirmed  manual ") {
		t.Errorf("a table:\n%s", table)
	}
}

// A reset of all extensions asks on a terminal, with their number, and needs --yes without one. It says how many it reset. Names that
// nobody knows are said to be so.
func TestResetAsks(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	p.set("1001", "early")
	p.set("1003", "confirmed")
	p.subscribe("1001", subscription("c1"))
	run := func(in io.Reader, args ...string) (stdout, stderr string, code int) {
		c := exec.Command(binary, append(append([]string{"presence"}, args...), "--nats", p.nats)...)
		var out, talk bytes.Buffer
		c.Stdin, c.Stdout, c.Stderr = in, &out, &talk
		_ = c.Run()
		return out.String(), talk.String(), c.ProcessState.ExitCode()
	}
	lit := func() int { return len(p.get("/presence?lit=true")["lamps"].(map[string]any)) }
	for _, all := range []string{"*", "--all"} {
		if out, talk, code := run(nil, "reset", all, "--realm", realm); code != 2 || out != "" || !strings.Contains(talk, "--yes") || lit() != 2 {
			t.Errorf("without a terminal: exit %d, %s%s, %d lit", code, out, talk, lit())
		}
	}
	keyboard, terminal := openTerminal(t)
	for _, c := range []struct {
		word, out string
		code, lit int
	}{{"\n", "", 1, 2}, {"no\n", "", 1, 2}, {"y\n", "reset 2 extensions of " + realm + "\n", 0, 0}} {
		if _, err := keyboard.WriteString(c.word); err != nil {
			t.Fatal(err)
		}
		out, talk, code := run(terminal, "reset", "*", "--realm", realm)
		if code != c.code || out != c.out || !strings.Contains(talk, "reset all 2 extensions of "+realm+"? [y/N] ") || lit() != c.lit {
			t.Errorf("%q: exit %d, %s%s, %d lit", c.word, code, out, talk, lit())
		}
	}
	p.set("1003", "confirmed")
	if out, talk, code := run(nil, "reset", "--all", "--yes", "--realm", realm); code != 0 || !strings.HasPrefix(out, "reset 2 extensions of ") || talk != "" || lit() != 0 {
		t.Errorf("--yes: exit %d, %s%s, %d lit", code, out, talk, lit())
	}
	const unknown = "nothing is known of 1099@" + realm
	for _, args := range [][]string{{"reset", "1099"}, {"show", "1099"}, {"show", "1099", "-o", "json"}} {
		if out, talk, code := run(nil, append(args, "--realm", realm)...); code != 0 || out == "" || !strings.Contains(talk, unknown) {
			t.Errorf("%v: exit %d, %s%s", args, code, out, talk)
		}
	}
	p.dialog("1098", "over", "confirmed")
	p.dialog("1098", "over", "terminated")                                                                // its history is known
	for _, args := range [][]string{{"reset", "1001"}, {"show", "1001"}, {"show", "1098", "--explain"}} { // 1001 is watched
		if _, talk, code := run(nil, append(args, "--realm", realm)...); code != 0 || talk != "" {
			t.Errorf("%v: exit %d, %s", args, code, talk)
		}
	}
	for _, args := range [][]string{{"reset", "1001"}, {"reset", "*", "--yes"}, {"show", "1001"}, {"list"}, {"list", "--lit"}, {"watch"}, {"watch", "1001"}, {"set", "1001", "early"}} {
		if out, talk, code := run(nil, append(args, "--realm", "acme.exmaple.com")...); code != 1 || out != "" || !strings.Contains(talk, "no account has the realm acme.exmaple.com") {
			t.Errorf("%v of a realm that nobody has: exit %d, %s%s", args, code, out, talk)
		}
		if out, talk, code := run(nil, append(args, "--account", strings.Repeat("ab", 16))...); code != 1 || out != "" || !strings.Contains(talk, "account "+strings.Repeat("ab", 16)+": no such account") {
			t.Errorf("%v of an account that nobody has: exit %d, %s%s", args, code, out, talk)
		}
	}
}

// openTerminal opens a pseudo-terminal: what is written to the keyboard is read from the terminal.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return keyboard, terminal
}

// watchLamps starts presence watch and returns the lines that it prints.
func watchLamps(t *testing.T, url, format string) <-chan string {
	t.Helper()
	return watchOutput(t, "watching ", "--realm", realm, "--nats", url, "-o", format)
}

// watchOutput runs presence watch until the test ends, waits until it says that it is ready, and returns the lines that it prints.
func watchOutput(t *testing.T, ready string, args ...string) <-chan string {
	t.Helper()
	c := exec.Command(binary, append([]string{"presence", "watch"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	talk, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if line, err := bufio.NewReader(talk).ReadString('\n'); err != nil || !strings.HasPrefix(line, ready) {
		t.Fatalf("%q %v", line, err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// When NATS went away and came back, presence watch says that changes may be missing, shows what is lit, and goes on.
func TestWatchAfterNATSCameBack(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	s := externalNATS(t, store, -1)
	port := s.Addr().(*net.TCPAddr).Port
	p := serve(t, t.TempDir(), "--nats", s.ClientURL())
	p.sample()
	p.set("1003", "confirmed")
	next := func(lines <-chan string) string {
		t.Helper()
		select {
		case l := <-lines:
			return l
		case <-time.After(60 * time.Second):
			t.Fatal("nothing more is printed")
			return ""
		}
	}
	table, objects := watchLamps(t, p.nats, "table"), watchLamps(t, p.nats, "json")
	p.set("1001", "early")
	if a, b := next(table), next(objects); !strings.HasSuffix(a, "1001  terminated -> early") || !strings.Contains(b, `"state":"early"`) {
		t.Errorf("%s\n%s", a, b)
	}
	s.Shutdown()
	s.WaitForShutdown()
	externalNATS(t, store, port)
	if l := next(table); !strings.Contains(l, "  changes may be missing since ") || !strings.HasSuffix(l, ": the connection to NATS was lost") {
		t.Errorf("the gap: %s", l)
	}
	if a, b := next(table), next(table); !strings.HasSuffix(a, "  1001  is early") || !strings.HasSuffix(b, "  1003  is confirmed") {
		t.Errorf("what is lit:\n%s\n%s", a, b)
	}
	var g struct {
		Gap struct {
			Since, Until time.Time
			Reason       string
			Lamps        map[string]struct{ State string }
		}
	}
	if err := json.Unmarshal([]byte(next(objects)), &g); err != nil || !g.Gap.Since.Before(g.Gap.Until) || g.Gap.Reason == "" || len(g.Gap.Lamps) != 2 || g.Gap.Lamps["1001"].State != "early" {
		t.Errorf("the gap: %v %+v", err, g)
	}
	eventually(t, "a write", 20*time.Second, func() bool { return p.shell(fmt.Sprintf(setLine, "1005")).Status == "success" })
	for _, lines := range []<-chan string{table, objects} {
		for l := next(lines); !strings.Contains(l, "1005"); l = next(lines) {
			if !strings.Contains(l, "missing since") && !strings.Contains(l, `"gap"`) && !strings.Contains(l, " is ") {
				t.Errorf("between: %s", l)
			}
		}
	}
}

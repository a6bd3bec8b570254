package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lamplight/transport/source/freeswitch/freeswitchtest"
)

// passwordFile writes a password into a file that only its owner may read.
func passwordFile(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "esl.password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The commands of docs/from-freeswitch.md work as they stand, against a switch of ours. The test only replaces the ports.
func TestFromFreeswitch(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	fs := freeswitchtest.Start(t)
	text, err := os.ReadFile("../../docs/from-freeswitch.md")
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, checkout(t), "LAMPLIGHT_NATS="+p.nats, "LAMPLIGHT_HTTP=127.0.0.1:0")
	moved := strings.NewReplacer("127.0.0.1:8021", fs.Addr())
	lines := 0
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			lines++
			out := w.paste(moved.Replace(line))
			switch {
			case strings.HasSuffix(line, "&"):
				w.await(line, "bridge freeswitch is ready", 20*time.Second)
				eventually(t, "the bridge follows the switch", 20*time.Second, func() bool {
					return strings.Contains(p.lamplight("sources", "--nats", p.nats), "sip:10.9.8.7:5060  up")
				})
			case strings.HasPrefix(line, "tools/"):
				if strings.Count(out, "right  ") != 10 || !strings.Contains(out, "All is right.") {
					t.Errorf("%s", out)
				}
			case strings.Contains(line, " sources") && !strings.Contains(out, "sip:10.9.8.7:5060"):
				t.Errorf("%s", out)
			case strings.Contains(line, " reset ") && !strings.Contains(out, "0 calls"):
				t.Errorf("%s", out)
			}
		}
	}
	if lines != 6 {
		t.Errorf("the page has %d lines to paste", lines)
	}
	// The script finds what is wrong: a lamp that does not follow, because the switch's events go to nobody.
	fs.SetPassword("another")
	fs.Cut()
	check := exec.Command("../../tools/check-freeswitch", "--esl", fs.Addr(), "--esl-password-file", passwordFile(t, "another"), "--extension", "1001@"+realm, "--within", "1")
	check.Env = append(os.Environ(), "LAMPLIGHT="+binary, "LAMPLIGHT_NATS="+p.nats)
	eventually(t, "the bridge has ended", 20*time.Second, func() bool { return strings.Contains(w.out.String(), "the switch does not take the password") })
	out, err := check.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "WRONG  1001 is terminated and should be confirmed: the call was answered") {
		t.Errorf("%v: %s", err, out)
	}
}

// A node with --bridge-freeswitch follows several switches. When one of them is started again, its calls end, and only those. A bridge that
// gives up does not end the node.
func TestServeBridgesFreeswitch(t *testing.T) {
	t.Parallel()
	one, two, refuses := freeswitchtest.Start(t), freeswitchtest.Start(t), freeswitchtest.Start(t)
	refuses.SetPassword("another")
	p := serve(t, t.TempDir(), "--bridge-freeswitch", one.Addr()+","+two.Addr()+","+refuses.Addr(), "--esl-password-file", passwordFile(t, "ClueCon"),
		"--switch-uri", "sip:one,sip:two,sip:three", "--caller-ringing", "trying")
	p.sample()
	lamp := func(user, want string) {
		t.Helper()
		eventually(t, user+" is "+want, 20*time.Second, func() bool {
			return strings.HasPrefix(p.lamplight("presence", "show", user, "--realm", realm, "--nats", p.nats), user+" is "+want)
		})
	}
	eventually(t, "two switches are followed and the third one is not", 20*time.Second, func() bool {
		return one.Clients() == 1 && two.Clients() == 1 && strings.Contains(p.stderr.String(), "a bridge has given up")
	})
	call := one.Leg("inbound", "1001@"+realm, "2125550100")
	one.State(call, "RINGING")
	one.State(one.Leg("outbound", "1002@"+realm, "2125550100"), "RINGING")
	lamp("1002", "early")
	lamp("1001", "terminated")
	one.State(call, "ACTIVE")
	two.State(two.Leg("outbound", "1003@"+realm, "1"), "ACTIVE")
	lamp("1001", "confirmed")
	lamp("1003", "confirmed")
	one.Restart()
	lamp("1001", "terminated")
	lamp("1002", "terminated")
	lamp("1003", "confirmed")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
}

// A node that is killed with -9 and started again follows its switch again: what ended meanwhile is dark, what lives is lit, and lamplight sources
// lists the switch with its calls.
func TestServeBridgeFreeswitchKilled(t *testing.T) {
	t.Parallel()
	fs, data := freeswitchtest.Start(t), t.TempDir()
	flags := []string{"--bridge-freeswitch", fs.Addr(), "--esl-password-file", passwordFile(t, "ClueCon"), "--switch-uri", "sip:one"}
	p := serve(t, data, flags...)
	p.sample()
	lamp := func(user, want string) {
		t.Helper()
		eventually(t, user+" is "+want, 40*time.Second, func() bool {
			return strings.HasPrefix(p.lamplight("presence", "show", user, "--realm", realm, "--nats", p.nats), user+" is "+want)
		})
	}
	source := func(calls string) { // the state and the number of calls stand in the third column and in the fifth
		t.Helper()
		eventually(t, "the switch is listed with "+calls+" calls", 40*time.Second, func() bool {
			for line := range strings.SplitSeq(p.lamplight("sources", "--nats", p.nats), "\n") {
				if f := strings.Fields(line); len(f) > 5 && strings.HasPrefix(f[0], "freeswitch-") && f[1] == "sip:one" && f[2] == "up" && f[4] == calls {
					return true
				}
			}
			return false
		})
	}
	eventually(t, "the switch is followed", 40*time.Second, func() bool { return fs.Clients() == 1 })
	stays, ends := fs.Leg("outbound", "1001@"+realm, "1"), fs.Leg("outbound", "1002@"+realm, "1")
	fs.State(stays, "ACTIVE")
	fs.State(ends, "ACTIVE")
	lamp("1001", "confirmed")
	lamp("1002", "confirmed")
	source("2")
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	fs.Quietly(ends, "HANGUP")
	fs.Quietly(fs.Leg("outbound", "1003@"+realm, "1"), "RINGING")
	p = serve(t, data, flags...)
	lamp("1001", "confirmed")
	lamp("1002", "terminated")
	lamp("1003", "early")
	source("2")
	fs.State(stays, "HANGUP")
	lamp("1001", "terminated")
	source("1")
}

// A wrong password ends the command, and so do flags that can't work; the words say what would be right.
func TestBridgeFreeswitchRefuses(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	fs := freeswitchtest.Start(t)
	good := passwordFile(t, "not it")
	line := func(more ...string) []string {
		return append([]string{"bridge", "freeswitch", "--nats", p.nats, "--http", "127.0.0.1:0"}, more...)
	}
	fails(t, `the switch does not take the password: it says "-ERR invalid"`, line("--esl", fs.Addr(), "--esl-password-file", good)...)
	open := passwordFile(t, "x")
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	fails(t, "every user of this machine can use", line("--esl", fs.Addr(), "--esl-password-file", open)...)
	fails(t, "must hold one line", line("--esl", fs.Addr(), "--esl-password-file", passwordFile(t, "x\nauth y"))...)
	fails(t, "missing flags: --esl", line()...)
	fails(t, "give --esl-password-file", line("--esl", fs.Addr())...)
	fails(t, "it must be HOST:PORT", line("--esl", "fs1", "--esl-password-file", good)...)
	fails(t, "the host is missing", line("--esl", ":8021", "--esl-password-file", good)...)
	fails(t, "one for each switch", line("--esl", fs.Addr(), "--esl-password-file", good, "--switch-uri", "sip:a,sip:b")...)
	fails(t, "has one switch twice", line("--esl", "127.0.0.1:8021,localhost:8021", "--esl-password-file", good)...)
	fails(t, "give --bridge-freeswitch too", "check-config", "--esl-password-file", good)
	fails(t, "give --esl-password-file", "check-config", "--bridge-freeswitch", fs.Addr())
	if got := fs.Clients(); got != 0 {
		t.Errorf("%d clients", got)
	}
}

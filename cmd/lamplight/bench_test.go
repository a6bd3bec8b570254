package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A load that meets a condition of --fail-if ends with 3, and a condition that makes no sense is told before the run.
func TestFailIf(t *testing.T) {
	t.Parallel()
	c := exec.Command(binary, "bench", "subscribe", "--extensions", "20", "--rate", "50", "--duration", "1s", "--fail-if", "refresh:p50>1us", "--fail-if", "refresh:failed>0")
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "CROSSED refresh:p50>1us") || !strings.Contains(string(out), "kept refresh:failed>0") {
		t.Errorf("exit %d: %s", c.ProcessState.ExitCode(), out)
	}
	if _, talk, code := command("bench", "subscribe", "--fail-if", "told:p99>1s"); code != 2 || !strings.Contains(talk, `names the operation "told"`) {
		t.Errorf("exit %d: %s", code, talk)
	}
}

// A run that Ctrl-C ends in its terminal, where all processes get the signal, ends its nodes in order and leaves nothing behind.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := exec.Command(binary, "bench", "blf", "--extensions", "20", "--rate", "5", "--duration", "1h")
	c.Env = append(os.Environ(), "TMPDIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var talk transcript
	c.Stderr = &talk
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run measures", 90*time.Second, func() bool { return strings.Contains(talk.String(), "subscribing") || c.ProcessState != nil })
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if c.ProcessState.ExitCode() != 1 || !strings.Contains(talk.String(), "interrupted") || strings.Contains(talk.String(), "exited with") {
		t.Errorf("exit %d: %s", c.ProcessState.ExitCode(), talk.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind: %v", left, err)
	}
}

// Numbers and durations of 0, and those that contradict each other, are wrong usage. They do not count as left out.
func TestBenchZeros(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"--duration 0", "--duration 0s", "--rate 0", "--rate NaN", "--rate -1", "--storm 0", "--edges 0", "--connections 0", "--subscriptions 0", "--extensions 0",
		"--account-min 0", "--account-max 0", "--account-min 10 --account-max 5", "--nodes 0", "--flows 0", "--ring 0", "--talk 0", "--seed 0", "--replicas 0", "--kill-every 0", "--down-for 0",
		"--warmup -1s", "--target foo", "--target ftp://a", "--target http://", "--target localhost:8000"} {
		_, talk, code := command(append([]string{"bench", "blf"}, strings.Fields(flags)...)...)
		flag, _, _ := strings.Cut(flags, " ")
		if code != 2 || !strings.Contains(talk, flag) || strings.Contains(talk, "starting") {
			t.Errorf("%s: exit %d: %s", flags, code, talk)
		}
	}
	for _, flag := range []string{"--json", "--html"} {
		if _, talk, code := command("bench", "blf", flag, "/nonexistent/x"); code != 1 || !strings.Contains(talk, flag) || strings.Contains(talk, "starting") {
			t.Errorf("%s: exit %d: %s", flag, code, talk)
		}
	}
	if _, talk, code := command("cluster", "--interval", "0", "--nats", "nats://127.0.0.1:1"); code != 2 || !strings.Contains(talk, "--interval") {
		t.Errorf("exit %d: %s", code, talk)
	}
}

// The command in a report has no passwords, and can be pasted into a shell.
func TestRedactedCommand(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"lamplight bench blf --nats 'nats://***@a:4222'":                          {"/usr/bin/lamplight", "bench", "blf", "--nats", "nats://u:s3cret@a:4222"},
		"lamplight bench blf '--nats=nats://***@a:4222,nats://***@b:4222'":        {"lamplight", "bench", "blf", "--nats=nats://u:s3cret@a:4222,nats://u:s3cret@b:4222"},
		"lamplight bench blf --nats '***@a:4222'":                                 {"lamplight", "bench", "blf", "--nats", "u:s3cret@a:4222"},
		"lamplight bench blf --target 'http://***@a:8000' --fail-if 'ring:p9>1s'": {"lamplight", "bench", "blf", "--target", "http://u:s3cret@a:8000", "--fail-if", "ring:p9>1s"},
		"lamplight bench blf --html me@home.html":                                 {"lamplight", "bench", "blf", "--html", "me@home.html"},
	} {
		if got := redactedCommand(args); got != want {
			t.Errorf("%q gives %s, want %s", args, got, want)
		}
	}
}

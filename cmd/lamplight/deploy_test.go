package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"lamplight/tools/need"
)

// The node tells the service manager when it is ready, that it is alive, and when it drains.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "900000")
	p := start(t, t.TempDir())
	next := func() string {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(60 * time.Second))
		b := make([]byte, 100)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := next(); got != "READY=1" {
		t.Fatalf("told %q first", got)
	}
	p.await()
	if out, err := exec.Command("curl", "-sf", p.http+"/readyz").CombinedOutput(); err != nil {
		t.Errorf("told that it is ready, and /readyz says %s", out)
	}
	for range 2 {
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("told %q while it runs", got)
		}
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	got := next()
	for got == "WATCHDOG=1" {
		got = next()
	}
	if got != "STOPPING=1" {
		t.Errorf("told %q at the end", got)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// goodFlags wants serve to accept the command line of a file in deploy/. Secrets are replaced by files of the test.
func goodFlags(t *testing.T, where string, args []string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "gossip.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(args) == 0 || args[0] != "serve" {
		t.Fatalf("%s runs %q", where, args)
	}
	args = append([]string{"check-config"}, args[1:]...)
	for i := range args {
		switch {
		case strings.HasPrefix(args[i], "/run/secrets/"):
			args[i] = key
		case i > 0 && args[i-1] == "--data": // that of the file is only for root
			args[i] = t.TempDir()
		}
	}
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %s", where, out)
	}
}

// stopTime is how long a node may take from SIGTERM to its end: --drain-grace, 20 s for the hand-over, and the sync of the disk.
const stopTime = 30 * time.Second

// deploy/compose.yaml is good YAML, its paths exist, and serve accepts its command lines. The test runs no container.
func TestCompose(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Services map[string]struct {
			Build   struct{ Context, Dockerfile string }
			Command []string
			Volumes []string
			Secrets []string
			Grace   time.Duration `yaml:"stop_grace_period"`
		}
		Volumes map[string]any
		Secrets map[string]struct{ File string }
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 {
		t.Fatalf("%d services", len(c.Services))
	}
	for name, s := range c.Services {
		if _, err := os.Stat(filepath.Join("../../deploy", s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		goodFlags(t, name, s.Command)
		if s.Grace <= stopTime {
			t.Errorf("%s: stop_grace_period is %v, and a node may take %v", name, s.Grace, stopTime)
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, ok := c.Volumes[volume]; !ok {
				t.Errorf("%s: no volume %s", name, volume)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" {
				t.Errorf("%s: no secret %s", name, secret)
			}
		}
		if flags := strings.Join(s.Command, " "); !strings.Contains(flags, "--node "+name+" ") || !strings.Contains(flags, "--gossip "+name+":7946") {
			t.Errorf("%s: %s", name, flags)
		}
	}
}

// serve accepts the command line of deploy/lamplight.service.
func TestServiceUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/lamplight.service")
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(text), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	if !ok || !strings.Contains(string(text), "\nType=notify\n") {
		t.Fatalf("the unit:\n%s", text)
	}
	words := strings.Fields(line)
	for i, w := range words {
		if w == "/etc/lamplight/lamplight.yaml" { // where the Debian package has it
			words[i] = "../../deploy/debian/lamplight.yaml"
		}
	}
	goodFlags(t, "ExecStart", append(words[1:], "--data", "of the test"))
	_, stop, _ := strings.Cut(string(text), "\nTimeoutStopSec=")
	stop, _, _ = strings.Cut(stop, "\n")
	if d, err := time.ParseDuration(stop + "s"); err != nil || d <= stopTime {
		t.Errorf("TimeoutStopSec is %q, and a node may take %v", stop, stopTime)
	}
	if !strings.Contains(string(text), "\nWatchdogSec=") {
		t.Error("the unit has no watchdog")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	need.Met(t, err == nil, "systemd-analyze (Debian: systemd)")
	for _, unit := range []string{"lamplight.service", "lamplight-backup.service"} {
		if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=30", "../../deploy/"+unit).CombinedOutput(); err != nil {
			t.Errorf("%s is exposed more than 3.0: %v\n%s", unit, err, out)
		}
	}
	timer, err := os.ReadFile("../../deploy/lamplight-backup.timer")
	if err != nil {
		t.Fatal(err)
	}
	_, when, _ := strings.Cut(string(timer), "\nOnCalendar=")
	when, _, _ = strings.Cut(when, "\n")
	if out, err := exec.Command(analyze, "calendar", when).CombinedOutput(); err != nil {
		t.Errorf("the timer's %q: %v: %s", when, err, out)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lamplight/tools/need"
)

// --version, help and completion print what they should, and an error of usage names the help of its command.
func TestHelp(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{"--version": "lamplight " + version + "\n", "serve --version": "lamplight " + version + "\n", "help": "Usage: lamplight <command>",
		"help presence set": "Usage: lamplight presence set <extension> <state>", "help import": "--dry-run", "help presence": "presence watch"} {
		if out, talk, code := command(strings.Fields(line)...); code != 0 || talk != "" || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, %s%s", line, code, out, talk)
		}
	}
	for line, want := range map[string]string{"import": "lamplight import", "presence": "lamplight presence", "presence set 1 lit --realm x": "lamplight presence set", "dance": "lamplight",
		"serve --sync never": "lamplight serve", "bench blf --rate -1": "lamplight bench blf", "help presence dance": "lamplight help", "serve --dance": "lamplight serve", "": "lamplight"} {
		if _, talk, code := command(strings.Fields(line)...); code != 2 || !strings.HasSuffix(talk, "\nTry: "+want+" --help\n") {
			t.Errorf("%s: exit %d, %s", line, code, talk)
		}
	}
}

// Words are completed: commands, flags, and the values of both. The script for bash does it in bash.
func TestCompletion(t *testing.T) {
	t.Parallel()
	words := func(words ...string) []string {
		out, talk, code := command(append([]string{"completion", "words", "--"}, words...)...)
		if code != 0 || talk != "" {
			t.Errorf("%q: exit %d, %s", words, code, talk)
		}
		return strings.Fields(out)
	}
	for _, c := range []struct{ line, want []string }{
		{[]string{"pre"}, []string{"presence"}}, {[]string{"presence", "s"}, []string{"set", "show"}}, {[]string{"presence", "list", "-o", ""}, []string{"json", "table"}},
		{[]string{"presence", "set", "--realm", "x", "1", "e"}, []string{"early"}}, {[]string{"serve", "--http-"}, []string{"--http-tls-cert", "--http-tls-key"}},
		{[]string{"import", ""}, nil}, {[]string{"serve", "--storage", "m"}, []string{"memory"}}, {[]string{"serve", "--config", ""}, nil}, {[]string{"completion", "f"}, []string{"fish"}},
		{[]string{"presence", "list", "--event", ""}, []string{"dialog", "message-summary", "presence"}}, {[]string{"presence", "list", "--lit", "--state", ""}, []string{"confirmed", "early"}},
		{[]string{"presence", "list", "--source", "m"}, []string{"mailbox", "manual"}}, {[]string{"serve", "--log-level", ""}, []string{"debug", "error", "info", "warn"}},
		{[]string{"serve", "--log-level=d"}, []string{"--log-level=debug"}}, {[]string{"bench", "blf", "--storage", ""}, []string{"file", "memory"}},
		{[]string{"serve", "--no"}, []string{"--node", "--notify-rate"}}, {[]string{"help", "pre"}, []string{"presence"}}, {[]string{"help", "presence", "s"}, []string{"set", "show"}},
		{[]string{"help", "dance", ""}, nil},
	} {
		if got := words(c.line...); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if out, _, code := command("completion", shell); code != 0 || !strings.Contains(out, "lamplight completion words -- ") {
			t.Errorf("%s: exit %d, %s", shell, code, out)
		}
	}
	bash, err := exec.LookPath("bash")
	need.Met(t, err == nil, "bash")
	for words, want := range map[string]string{ // as bash splits them
		"presence s":               "set show",
		"serve --no":               "--node --notify-rate",
		"serve --log-level =":      "debug error info warn",
		"serve --log-level = d":    "debug",
		"help presence w":          "watch",
		"presence list --event ''": "dialog message-summary presence",
		"presence set --nats nats : //127.0.0.1 : 4222 1001 ''": "confirmed early terminated",
	} {
		c := exec.Command(bash, "-c", `source <(lamplight completion bash); COMP_WORDS=(lamplight `+words+`); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lamplight; echo "${COMPREPLY[@]}"`)
		c.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		if out, err := c.CombinedOutput(); err != nil || string(out) != want+"\n" {
			t.Errorf("%s in bash: %v %s", words, err, out)
		}
	}
}

// The man page describes every command, flag and exit code.
func TestManPage(t *testing.T) {
	t.Parallel()
	out, talk, code := command("help", "--man")
	if code != 0 || talk != "" {
		t.Fatalf("exit %d: %s", code, talk)
	}
	var c commands
	app, err := newParser(&c)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range app.Model.Leaves(true) {
		if !strings.Contains(out, ".SS "+roff(commandPath(leaf))+" ") {
			t.Errorf("no %s", commandPath(leaf))
		}
		for _, f := range leaf.Flags {
			if !strings.Contains(out, roff("--"+f.Name)) {
				t.Errorf("no --%s of %s", f.Name, commandPath(leaf))
			}
		}
	}
	for _, e := range exitCodes {
		if !strings.Contains(out, roff(e.meaning)) {
			t.Errorf("no exit code %d", e.code)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if macro, _, _ := strings.Cut(line, " "); strings.HasPrefix(macro, ".") && !slices.Contains([]string{".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".I"}, macro) {
			t.Errorf("a text became a command: %s", line)
		}
	}
}

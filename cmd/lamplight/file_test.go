package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withFile writes a configuration file and runs a command with it.
func withFile(t *testing.T, text string, args ...string) (out, talk string, code int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lamplight.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return command(append(args, "--config", path)...)
}

// The text of a value counts, also where YAML would read a number or a date. What check-config prints has it too.
func TestFileKeepsText(t *testing.T) {
	t.Parallel()
	listen := []string{"--data", filepath.Join(t.TempDir(), "d"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}
	for text, want := range map[string]string{
		"node: 007":                 "node: \"007\"  # file\n",
		"node: 1.10":                "node: \"1.10\"  # file\n",
		"node: 0x1F":                "node: \"0x1F\"  # file\n",
		"node: 2026-11-28":          "node: \"2026-11-28\"  # file\n",
		"node: yes":                 "node: yes  # file\n",
		"node: true":                "node: true  # file\n",
		"node: &a n1\ndata: *a":     "node: n1  # file\n",
		"serve: {node: 1e3}":        "node: \"1e3\"  # file\n",
		"node: 1\nserve: {node: 2}": "node: 2  # file\n",
		"nats: nats://127.0.0.1:1\njoin: [127.0.0.1:1, 127.0.0.1:010]": "join: [127.0.0.1:1, 127.0.0.1:010]  # file\n",
	} {
		out, talk, code := withFile(t, text, append([]string{"check-config"}, listen...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: exit %d, want %s in %s%s", text, code, want, out, talk)
		}
	}
}

// A part of a command may have parts for the commands below it. The innermost wins.
func TestFileNests(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"presence: {list: {event: x}}":                                     "--event: it is \"x\"",
		"presence:\n  list:\n    realm: in/\n  realm: out/\nrealm: top/\n": "--realm: \"in/\"",
		"presence: {show: {realm: other/}, realm: out/}\nrealm: top/":      "--realm: \"out/\"",
		"presence: {show: {realm: other/}}\nrealm: top/":                   "--realm: \"top/\"",
		"account: {list: {timeout: 0s}, create: {name: n}}\nrealm: top/":   "--realm: \"top/\"",
	} {
		if out, talk, code := withFile(t, text, "presence", "list"); code != 2 || !strings.Contains(talk, want) {
			t.Errorf("%q: exit %d, %s%s, want %s", text, code, out, talk, want)
		}
	}
}

// A mistake in the file is named with its line and with what would be right.
func TestFileMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\nnod: a":                          "line 2: lamplight has no flag or command nod; is node meant?",
		"serve:\n\n  notfy-rate: 3":         "line 3: lamplight serve has no flag or command notfy-rate; is notify-rate meant?",
		"sevre: {http: a}":                  "line 1: lamplight has no flag or command sevre; is serve meant?",
		"rate_limit: 3":                     "line 1: lamplight has no flag or command rate_limit; is rate-limit meant?",
		"presence:\n  lst: {event: dialog}": "line 2: lamplight presence has no flag or command lst; is list meant?",
		"serve: {realm: x}":                 "line 1: lamplight serve has no flag or command realm; other commands have it",
		"xyzzy: 1":                          "line 1: lamplight has no flag or command xyzzy\n",
		"config: x":                         "line 1: lamplight has no flag or command config\n",
		"\n\ncluster: 5":                    "line 3: lamplight cluster is a command; it takes names of its flags",
		"cluster: [a]":                      "line 1: lamplight cluster is a command",
		"node:\n  a: b":                     "line 1: node is a flag of lamplight; it takes a value",
		"http: x\nnode: [a, b]":             "line 2: node takes one value, not a list",
		"join: [[a]]":                       "line 1: join takes a list of values",
		"join:\n- a:1\n- ~":                 "line 3: join takes a list of values",
		"node: a\nnode: b":                  "line 2: node stands in line 1 already",
		"node: a\n---\nnode: b":             "a second document begins here",
		"5":                                 "line 1: the file must hold names of flags",
		"node:\n":                           "line 1: node is without a value",
		"serve: &a {http: x}\nrestore: *a":  "line 2: restore is an alias",
		"serve: &a\n  serve: *a":            "line 2: serve is an alias",
	} {
		if out, talk, code := withFile(t, text, "check-config"); code != 2 || out != "" || !strings.Contains(talk, want) {
			t.Errorf("%q: exit %d, %s%s, want %s", text, code, out, talk, want)
		}
	}
}

// A flag that the configuration file names without a value is wrong usage, and does not get a value such as <nil>.
func TestFileWithoutValue(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"node:\n", "token-key: ~\n", "serve:\n  jwks:\n"} {
		file := filepath.Join(t.TempDir(), "lamplight.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, "without a value", "check-config", "--config", file)
	}
}

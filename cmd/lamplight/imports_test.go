package main

import (
	"os/exec"
	"strings"
	"testing"
)

// pure packages import the standard library and each other, and neither I/O nor a clock of their own.
var pure = map[string][]string{
	"lamplight/actors/presence":   {"lamplight/actors/body"},
	"lamplight/actors/body":       {},
	"lamplight/cluster/ownership": {},
	"lamplight/cluster/subject":   {},
}

// layers are the folders in the order in which imports may go: a package imports packages of its own layer and of those
// before it.
var layers = []string{"lamplight/actors/body/", "lamplight/actors/presence/", "lamplight/actors/", "lamplight/cluster/", "lamplight/transport/", "lamplight/"}

// Imports run one way: cmd and bench → transport → cluster → actors → presence, body.
func TestImportsRunOneWay(t *testing.T) {
	for p, imports := range imported(t, ".Imports", "lamplight/...") {
		for _, i := range imports {
			if allowed, ok := pure[p]; ok && (strings.Contains(i, ".") || strings.HasPrefix(i, "lamplight") && !contains(allowed, i) || i == "os" || i == "net") {
				t.Errorf("%s imports %s; only the standard library is allowed, without I/O", p, i)
			}
			if layer(i) > layer(p) {
				t.Errorf("%s imports %s", p, i)
			}
		}
	}
}

// What other people's programs use needs nothing of the benchmarks and nothing of the command: a program that watches
// lamps or sends news (transport/client), that is an edge (transport/edge), or that only makes subjects and documents.
func TestLibrariesStandAlone(t *testing.T) {
	for _, library := range []string{"lamplight/transport/client", "lamplight/transport/edge", "lamplight/transport/kazoo", "lamplight/cluster/subject"} {
		for p, imports := range imported(t, ".Deps", library) {
			for _, i := range imports {
				if strings.HasPrefix(i, "lamplight/bench") || strings.HasPrefix(i, "lamplight/cmd") || strings.Contains(i, "nats-server") || strings.Contains(i, "memberlist") {
					t.Errorf("%s needs %s", p, i)
				}
			}
		}
	}
	for _, i := range imported(t, ".Deps", "lamplight/transport/kazoo")["lamplight/transport/kazoo"] {
		if strings.Contains(i, "nats") || strings.Contains(i, "fasthttp") {
			t.Errorf("transport/kazoo is pure, and needs %s", i)
		}
	}
}

// imported gives a field of `go list` for each package that matches.
func imported(t *testing.T, field, pattern string) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}: {{join "+field+" \" \"}}", pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		p, imports, _ := strings.Cut(line, ": ")
		all[p] = strings.Fields(imports)
	}
	return all
}

func layer(p string) int {
	for i, prefix := range layers {
		if strings.HasPrefix(p+"/", prefix) {
			return i
		}
	}
	return -1
}

func contains(all []string, one string) bool {
	for _, a := range all {
		if a == one {
			return true
		}
	}
	return false
}

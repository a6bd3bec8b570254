package main

import (
	"os/exec"
	"strings"
	"testing"
)

// pure are the packages that import only the standard library and the packages named here, and no I/O.
var pure = map[string][]string{
	"lamplight/actors/presence":   {"lamplight/actors/body"},
	"lamplight/actors/body":       {},
	"lamplight/cluster/ownership": {},
	"lamplight/cluster/subject":   {},
}

// layers are the layers of the product, the lowest first. A package may import packages of its own layer and of lower ones.
var layers = []string{"lamplight/actors/body/", "lamplight/actors/presence/", "lamplight/actors/", "lamplight/cluster/", "lamplight/transport/", "lamplight/"}

// Imports run one way: cmd and bench → transport → cluster → actors → presence → body. Tests are not checked.
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

// The packages that other people's programs use need no package of the benchmarks and of the command, and no NATS server:
// transport/client, for programs that watch lamps or send news, transport/edge, for edges, and the packages of the subjects and
// documents.
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

// imported returns a field of `go list` for each package that matches a pattern.
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

// layer returns the index of a package's layer, or -1 for packages that are not ours.
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

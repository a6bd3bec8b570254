package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Imports run one way: cmd → transport → cluster → actors → presence, body; the pure packages import only the standard library,
// and package presence the documents of package body.
func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}: {{join .Imports \" \"}}", "lamplight/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	level := func(p string) int {
		for i, prefix := range []string{"lamplight/actors/", "lamplight/actors", "lamplight/cluster", "lamplight/transport", "lamplight/"} {
			if strings.HasPrefix(p+"/", prefix) {
				return i
			}
		}
		return -1
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		p, imports, _ := strings.Cut(line, ": ")
		for _, i := range strings.Fields(imports) {
			switch {
			case p == "lamplight/actors/presence" && i == "lamplight/actors/body":
			case p == "lamplight/actors/presence" || p == "lamplight/actors/body" || p == "lamplight/cluster/ownership":
				if strings.Contains(i, ".") || strings.HasPrefix(i, "lamplight") {
					t.Errorf("%s imports %s; only the standard library is allowed", p, i)
				}
			case level(i) > level(p):
				t.Errorf("%s imports %s", p, i)
			}
		}
	}
}

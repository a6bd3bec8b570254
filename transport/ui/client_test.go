package ui_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/tools/need"
	"lamplight/transport/access"
)

// typescript needs the compiler and the generator.
func typescript(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("npm")
	need.Met(t, err == nil, "npm: apt-get install npm")
	_, err = os.Stat("js/node_modules/typescript")
	need.Met(t, err == nil, "npm ci --prefix transport/ui/js")
}

// The files of the client that are generated are those that the generator makes of openapi.yaml.
func TestClientIsGenerated(t *testing.T) {
	t.Parallel()
	typescript(t)
	dir := t.TempDir()
	if out, err := exec.Command("node", "js/generate.mjs", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"client.d.ts", "openapi.d.ts", "operations.d.ts", "operations.js"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile("client/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("transport/ui/client/%s is not what openapi.yaml and client.js make: run make client (%v)", name, err)
		}
	}
}

// What the page asks the API for has the types of openapi.yaml.
func TestPageIsTyped(t *testing.T) {
	t.Parallel()
	typescript(t)
	if out, err := exec.Command("js/node_modules/.bin/tsc", "-p", "js/tsconfig.json").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The client can be installed from its folder. The lines of its README compile and work with a node, and lines with a wrong name do not compile.
func TestClientFromAnotherProgram(t *testing.T) {
	t.Parallel()
	typescript(t)
	config := nodetest.Config("a", t.TempDir())
	n := nodetest.Start(t, config)
	if _, err := n.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"id": acme, "name": "Acme", "realm": "acme.example.com"}}}); err != nil {
		t.Fatal(err)
	}
	key, err := access.LoadOrCreateKey(config.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	token, err := access.Sign(key, acme, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("client")
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := filepath.Abs("js/node_modules/.bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("client/README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```ts\n(.*?)^```$").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no lines")
	}
	lines := strings.ReplaceAll(string(block[1]), "http://127.0.0.1:8000", "http://"+n.Addr(node.HTTP))
	dir := t.TempDir()
	run := func(program string, args ...string) (string, error) {
		c := exec.Command(program, args...)
		c.Dir, c.Env = dir, append(os.Environ(), "TOKEN="+token)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	compile := func(source string) (string, error) {
		if err := os.WriteFile(filepath.Join(dir, "example.ts"), []byte("declare const process: { env: Record<string, string> };\n"+source), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(compiler, "--strict", "--target", "ES2022", "--module", "NodeNext", "example.ts")
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"example","private":true,"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run("npm", "install", "--offline", "--no-audit", "--no-fund", folder); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := compile(lines); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := run("node", "example.js")
	if want := "*3101 is confirmed because of manual\nit failed with 404 bad identifier\n"; err != nil || out != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	for from, to := range map[string]string{`"commandExtension"`: `"commandExtensions"`, `state: "confirmed"`: `state: "lit"`, `data.state`: `data.lamp`, `extension: "*3101"`: `user: "*3101"`} {
		if out, err := compile(strings.ReplaceAll(lines, from, to)); err == nil || !strings.Contains(out, "error TS") {
			t.Errorf("%s in the place of %s compiles: %s", to, from, out)
		}
	}
}

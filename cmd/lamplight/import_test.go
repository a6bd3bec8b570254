package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// import --dry-run writes nothing. Mistakes and warnings name the file and the line.
func TestImportFile(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	path := filepath.Join(t.TempDir(), "file.json")
	load := func(text string, flags ...string) (out, talk string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		c := exec.Command(binary, append([]string{"import", path, "--nats", p.nats}, flags...)...)
		c.Stderr = &stderr
		b, _ := c.Output()
		return string(b), stderr.String()
	}
	const good = "{\"accounts\": [{\"realm\": \"acme.example.com\",\n\"users\": [{\"username\": \"grace\", \"pressence_id\": \"1003\"}]}]}"
	out, talk := load(good, "--dry-run")
	if !strings.HasPrefix(out, "1 would be created, 0 changed, 1 are as they are in the file") || !strings.Contains(talk, path+":2: warning: accounts[0].users[0]: Lamplight does not use the field pressence_id; is presence_id meant?") {
		t.Errorf("%s%s", out, talk)
	}
	if out, _ := load(good); out != "1 created, 0 changed, 1 as they were\n" {
		t.Errorf("after the dry run: %s", out)
	}
	for text, want := range map[string]string{
		"{\"accounts\": [\n{]}": path + ":2: ",
		"{\"accounts\": [{\"realm\": \"acme.example.com\",\n\"devices\": [{\"name\": \"x\",\n\"owner_id\": \"" + strings.Repeat("0", 32) + "\"}]}]}": path +
			`:3: accounts[0].devices[0]: invalid: owner_id "00000000000000000000000000000000" does not exist`,
	} {
		if _, talk := load(text); !strings.Contains(talk, want) {
			t.Errorf("%s, want %s", talk, want)
		}
	}
}

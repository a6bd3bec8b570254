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
	exit := 0
	load := func(text string, flags ...string) (out, talk string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		c := exec.Command(binary, append([]string{"import", path, "--nats", p.nats}, flags...)...)
		c.Stderr = &stderr
		b, _ := c.Output()
		exit = c.ProcessState.ExitCode()
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
	} // A refused account is not counted, and named with its lines; the others are imported.
	mixed := "{\"accounts\": [{\"realm\": \"one.test\"},\n{\"realm\": \"two.test\", \"parent_id\": \"" + strings.Repeat("0", 32) + "\"},\n" +
		"{\"realm\": \"three.test\", \"devices\": [{\"name\": \"x\"},\n{\"name\": \"x\"}]}, {\"realm\": \"four.test\"}]}"
	mistakes := path + ":2: accounts[1]: invalid: parent_id \"" + strings.Repeat("0", 32) + "\" must be an existing account\n" +
		path + ":4: accounts[2].devices[1]: conflict: the file has the same device in accounts[2].devices[0], line 3\n" +
		"lamplight: " + path + " has mistakes: 2; an account with a mistake is refused as a whole\n"
	for _, try := range []struct {
		want  string
		flags []string
	}{{"2 would be created, 0 changed, 0 are as they are in the file; nothing was written; 2 accounts would be refused\n", []string{"--dry-run"}},
		{"2 created, 0 changed, 0 as they were; 2 accounts were refused\n", nil},
		{"0 created, 0 changed, 2 as they were; 2 accounts were refused\n", nil}} {
		if out, talk := load(mixed, try.flags...); out != try.want || talk != mistakes || exit != 1 {
			t.Errorf("%s%sexit code %d, want\n%s%s", out, talk, exit, try.want, mistakes)
		}
	}
}

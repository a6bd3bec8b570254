// Package deploy tests the files of this directory: the Debian package, the Helm chart and the container image that are made of them.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lamplight/tools/need"
)

// binary is the path of lamplight, built as `make build` does.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lamplight")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "lamplight")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=0.1.0", "-o", binary, "./cmd/lamplight")
	c.Dir, c.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The package is installed, started, upgraded from an older one, removed and purged, in a copy of this machine: an overlay over its files that
// the test throws away, with a network and processes of its own. testdata/deb.sh has the steps, and says what went wrong.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	need.Met(t, os.Getuid() == 0, "root")
	for _, tool := range []string{"dpkg-deb", "unshare", "mount", "ip", "runuser", "curl"} {
		_, err := exec.LookPath(tool)
		need.Met(t, err == nil, "%s (Debian: dpkg, util-linux, mount, iproute2, curl)", tool)
	}
	dir := t.TempDir()
	for _, version := range []string{"0.0.9", "0.1.0"} {
		c := exec.Command("../tools/deb.sh", binary, version, filepath.Join(dir, version+".deb"))
		c.Env = append(os.Environ(), "COMPRESS=none") // which is faster
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	older(t, filepath.Join(dir, "0.0.9.deb"))
	for _, name := range []string{"testdata/deb.sh", "../docs/examples/acme.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "sh", "testdata/chroot.sh", dir)
	out, err := c.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "all steps are done") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// older gives a package another configuration file, as an older release may have had.
func older(t *testing.T, deb string) {
	t.Helper()
	files := filepath.Join(t.TempDir(), "files")
	if out, err := exec.Command("dpkg-deb", "-R", deb, files).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conf := filepath.Join(files, "etc/lamplight/lamplight.yaml")
	text, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(conf, append(text, "# An older release said something else.\n"...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "-Znone", "--build", files, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// The same tree and binary give the same package.
func TestDebianPackageIsReproducible(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("dpkg-deb")
	need.Met(t, err == nil, "dpkg-deb (Debian: dpkg)")
	dir := t.TempDir()
	program := filepath.Join(dir, "lamplight")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $1 of the test\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for _, name := range []string{"a.deb", "b.deb"} {
		c := exec.Command("../tools/deb.sh", program, "0.1.0", filepath.Join(dir, name))
		c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1764000000")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(text) {
			t.Error("two packages of the same tree differ")
		}
		first = text
	}
}

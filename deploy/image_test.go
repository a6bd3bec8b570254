package deploy

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lamplight/tools/need"
)

// What the last stage of the Dockerfile holds serves as the user of the image, with its command, and its health check says so. The files are
// run without a container engine, in namespaces of their own.
func TestImage(t *testing.T) {
	t.Parallel()
	need.Met(t, os.Getuid() == 0, "root")
	for _, tool := range []string{"unshare", "mount", "ip", "chroot"} {
		_, err := exec.LookPath(tool)
		need.Met(t, err == nil, "%s (Debian: util-linux, mount, iproute2, coreutils)", tool)
	}
	_, err := os.Stat("/etc/ssl/certs/ca-certificates.crt")
	need.Met(t, err == nil, "/etc/ssl/certs/ca-certificates.crt (Debian: ca-certificates)")
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok {
		t.Fatal("the last stage is not made from scratch")
	}
	list := func(instruction string) (words []string) {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + instruction + ` .*?(\[.*\])$`).FindStringSubmatch(last)
		if m == nil || json.Unmarshal([]byte(m[1]), &words) != nil {
			t.Fatalf("no list behind %s", instruction)
		}
		return words
	}
	user := regexp.MustCompile(`(?m)^USER (\d+:\d+)$`).FindStringSubmatch(last)
	if user == nil || strings.HasPrefix(user[1], "0:") {
		t.Fatalf("the user: %v", user)
	}
	dir := filepath.Join(t.TempDir(), "image")
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary is not static")
		}
	}
	_ = file.Close()
	if out, err := exec.Command("../tools/image-root.sh", binary, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 10001, 10001); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "sh", "testdata/image.sh", dir, user[1],
		strings.Join(list("HEALTHCHECK"), " "), "--"}, append(list("ENTRYPOINT"), list("CMD")...)...)
	out, err := exec.Command("unshare", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "healthy and ended well") {
		t.Errorf("%v\n%s", err, out)
	}
}

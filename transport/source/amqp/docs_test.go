package amqp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var fence = regexp.MustCompile("(?ms)^```\n(.*?)^```$")

// Every command of docs/from-kazoo.md works as it stands, in one shell, from shadow to cut-over and back. The test replaces only the ports.
func TestFromKazoo(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKazoo(t, b.url())
	newRole(t, b.url(), "kamailio@kam1").watch("1001", "2001")
	k.dialog("1001", "d-1", "recipient", "confirmed")
	root := filepath.Dir(filepath.Dir(built(t)))
	text, err := os.ReadFile("../../../docs/from-kazoo.md")
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	http := fmt.Sprintf("127.0.0.1:%d", port)
	moved := strings.NewReplacer("127.0.0.1:5672", fmt.Sprintf("127.0.0.1:%d", b.port), "127.0.0.1:8002", http, "bin/lamplight shadow", "LAMPLIGHT_HTTP=127.0.0.1:0 bin/lamplight shadow", "--for 1m", "--for 8s")
	out := &lockedBuffer{}
	shell := exec.Command("sh")
	shell.Dir, shell.Stdout, shell.Stderr = root, out, out
	shell.Env = append(slices.Clone(b.env), "LAMPLIGHT_NATS="+l.url, "LAMPLIGHT_HTTP="+http, "PATH=/usr/lib/rabbitmq/bin:"+os.Getenv("PATH"))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := shell.StdinPipe()
	if err == nil {
		err = shell.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); _ = shell.Wait() })
	lines, bridges := 0, 0
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			lines++
			fmt.Fprintf(in, "%s\necho; echo \"=== line %d: $?\"\n", moved.Replace(line), lines)
			eventually(t, line, 60*time.Second, func() bool { return strings.Contains(out.String(), fmt.Sprintf("=== line %d: ", lines)) })
			if !strings.Contains(out.String(), fmt.Sprintf("=== line %d: 0\n", lines)) {
				t.Fatalf("%s fails:\n%s", line, out.String())
			}
			if strings.Contains(line, "bridge amqp") {
				bridges++
				eventually(t, line, 30*time.Second, func() bool { return strings.Count(out.String(), "the bridge consumes") == bridges })
				l.shows(map[string]string{"1001": "confirmed"}, 20*time.Second)
				eventually(t, "the source is up", 20*time.Second, func() bool {
					list, _ := exec.Command(filepath.Join(root, "bin", "lamplight"), "sources", "--nats", l.url).CombinedOutput()
					return strings.Contains(string(list), "amqp-lamplight-presence/"+fs1)
				})
			}
			if strings.Contains(line, "--serve") {
				if _, resp := k.search(doc{"Search-Type": "summary"}); resp == nil {
					t.Error("no search is answered")
				}
			}
		}
	}
	for _, want := range []string{"amqp-lamplight-presence/" + fs1, "1001", "lamplight_source_documents_total", "1 extensions compared: 1 agree, 0 wait, 0 differ"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if bridges != 3 || lines < 12 {
		t.Errorf("%d lines, %d of them bridges", lines, bridges)
	}
}

package backup

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata/schema-<n>.backup is a file as the first release with that schema wrote it. The files never change. A release
// that raises Schema adds one: go test ./cluster/backup -run TestReleases -update.
var update = flag.Bool("update", false, "write the present schema's file, if it is not kept yet")

// The files that every release wrote can be read.
func TestReleases(t *testing.T) {
	own := fmt.Sprintf("testdata/schema-%d.backup", Schema)
	if _, err := os.Stat(own); *update && os.IsNotExist(err) {
		if err := os.WriteFile(own, sample(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/schema-*.backup")
	if err != nil || len(files) < Schema {
		t.Fatalf("files of %d schemas are kept, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, s, err := read(b)
		if err != nil || s.Journal != 3 || s.Directory != 1 || !s.At.Equal(made) {
			t.Errorf("%s: %+v, %v", file, s, err)
		}
		if d := cmp.Diff(entries, got); d != "" {
			t.Errorf("%s: %s", file, d)
		}
	}
}

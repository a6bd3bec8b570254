package backup

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata/schema-<n>.backup is a file as the first release with that schema wrote it, for ever. A release that raises Schema
// adds its own: go test ./cluster/backup -run TestReleases -update. No file is written over.
var update = flag.Bool("update", false, "write the present schema's file, if it is not kept yet")

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

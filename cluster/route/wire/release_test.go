package wire

import (
	"encoding/hex"
	commandline "flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// testdata/schema-<n>.txt holds messages of all kinds as the first release with that schema sent them. The files never
// change. A release that raises presence.Schema adds a file: go test ./cluster/route/wire -run TestReleases -update.
var update = commandline.Bool("update", false, "write the present schema's messages, if they are not kept yet")

// The messages that every release sent are read today as what they meant. The names are those in the files: "swept" is the
// outcome of a RealmCommand.
func TestReleases(t *testing.T) {
	asked, batchData := batch()
	answered, partsData := parts()
	a, busy, w, s := full(5), actors.Answer{Err: fmt.Errorf("%w: of 4 things", actors.ErrBusy)}, window(5), commanded()
	now := []struct {
		name string
		data []byte
		read func(b []byte) (any, error)
		want any
	}{
		{"batch", batchData, func(b []byte) (any, error) { return ReadBatch(b) }, asked},
		{"parts", partsData, func(b []byte) (any, error) { _, p, err := ReadParts(nil, b); return p, err }, answered},
		{"answer", AppendAnswer(nil, &a), func(b []byte) (any, error) { return ReadAnswer(string(b)) }, a},
		{"busy", AppendAnswer(nil, &busy), func(b []byte) (any, error) { a, err := ReadAnswer(string(b)); return a.Err.Error(), err }, busy.Err.Error()},
		{"window", AppendWindow(nil, &w), func(b []byte) (any, error) { return ReadWindow(string(b)) }, w},
		{"swept", AppendCommanded(nil, &s), func(b []byte) (any, error) { return ReadCommanded(string(b)) }, s},
	}
	own := fmt.Sprintf("testdata/schema-%d.txt", presence.Schema)
	if _, err := os.Stat(own); *update && os.IsNotExist(err) {
		text := ""
		for _, m := range now {
			text += fmt.Sprintf("%s %x\n", m.name, m.data)
		}
		if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/schema-*.txt")
	if err != nil || len(files) < presence.Schema {
		t.Fatalf("messages of %d schemas are kept, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			name, data, _ := strings.Cut(line, " ")
			kept[name] = data
		}
		for _, m := range now {
			b, err := hex.DecodeString(kept[m.name])
			if err != nil || len(b) == 0 {
				t.Fatalf("%s: %s: %v", file, m.name, err)
			}
			if got, err := m.read(b); err != nil || !reflect.DeepEqual(got, m.want) {
				t.Errorf("%s: %s reads as\n%+v, %v\nnot as\n%+v", file, m.name, got, err, m.want)
			}
			if file == own && hex.EncodeToString(m.data) != kept[m.name] {
				t.Errorf("%s: %s is sent otherwise today, with the same schema:\n%x\n%s", file, m.name, m.data, kept[m.name])
			}
		}
	}
}

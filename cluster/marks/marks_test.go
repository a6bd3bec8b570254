package marks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	monday  = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	tuesday = monday.Add(24 * time.Hour)
)

func TestMissing(t *testing.T) {
	m := Marks{"J": {monday, 100}}
	for name, c := range map[string]struct {
		found map[string]Found
		want  string
	}{
		"as it was":                      {map[string]Found{"J": {Mark: Mark{monday, 100}}}, ""},
		"more":                           {map[string]Found{"J": {Mark: Mark{monday, 101}}, "K": {}}, ""},
		"gone":                           {nil, "J is not there"},
		"shorter":                        {map[string]Found{"J": {Mark: Mark{monday, 99}}}, "J ends at sequence 99, and messages up to 100"},
		"made anew":                      {map[string]Found{"J": {Mark: Mark{tuesday, 500}}}, "J was made at 2026-11-24"},
		"restored":                       {map[string]Found{"J": {Mark: Mark{tuesday, 5}, Restored: true}}, ""},
		"restored before, then used":     {map[string]Found{"J": {Mark: Mark{monday, 100}, Restored: true}}, ""},
		"an older one that was put back": {map[string]Found{"J": {Mark: Mark{monday.Add(-time.Hour), 500}, Restored: true}}, "J was made at 2026-11-23T09"},
	} {
		got := strings.Join(m.Missing(c.found), "; ")
		if (c.want == "") != (got == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	if m, err := Load(dir); m != nil || err != nil {
		t.Fatalf("an empty directory: %v, %v", m, err)
	}
	if err := (Marks{"J": {monday, 7}}).Save(dir); err != nil {
		t.Fatal(err)
	}
	if m, err := Load(dir); err != nil || !m["J"].Created.Equal(monday) || m["J"].Sequence != 7 {
		t.Errorf("%v, %v", m, err)
	}
	for _, garbage := range []string{"", "{", "[]", "{}", "null", "\x00\x00"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := Load(dir); err == nil {
			t.Errorf("%q counts as the marks %v", garbage, m)
		}
	}
}

// What is kept is never more than what the stores showed a while ago, and never that of another store.
func TestHistory(t *testing.T) {
	var h History
	h.Add(time.Time{}, Marks{"J": {monday, 50}, "K": {monday, 9}}) // from the file
	now := tuesday
	for i := range 10 {
		h.Add(now.Add(time.Duration(i)*time.Second), Marks{"J": {monday, uint64(100 + i)}, "K": {tuesday, uint64(1 + i)}})
	}
	last := now.Add(9 * time.Second)
	for back, want := range map[time.Duration]uint64{20 * time.Second: 50, 9500 * time.Millisecond: 50, 3 * time.Second: 106, 0: 109} {
		part := History{seen: append([]sample(nil), h.seen...)}
		if got := part.Before(last.Add(-back))["J"].Sequence; got != want {
			t.Errorf("%v ago: %d, want %d", back, got, want)
		}
	}
	if got := h.Before(last.Add(-20 * time.Second))["K"]; !got.Created.Equal(tuesday) || got.Sequence != 0 {
		t.Errorf("a store that was made again: %v", got)
	}
	h.Add(last.Add(time.Second), Marks{"J": {monday, 3}})
	if got := h.Before(last)["J"].Sequence; got != 0 {
		t.Errorf("a store that has lost messages since: %d", got)
	}
}

// Of several marks of one store the newest counts.
func TestNewest(t *testing.T) {
	got := Newest(Marks{"J": {monday, 9}, "K": {tuesday, 1}}, nil, Marks{"J": {monday, 7}}, Marks{"J": {monday, 10}, "K": {monday, 50}})
	if len(got) != 2 || got["J"].Sequence != 10 || got["K"].Sequence != 1 {
		t.Errorf("%v", got)
	}
}

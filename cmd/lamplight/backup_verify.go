package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lamplight/cluster/backup"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
)

type backupVerifyCommand struct {
	File   string `arg:"" type:"path" help:"The file that lamplight backup wrote."`
	Output string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
}

// holding is what a backup holds.
type holding struct {
	File    string         `json:"file"`
	Saved   time.Time      `json:"saved"`   // when the backup was begun
	Version string         `json:"version"` // of the release that wrote it
	Journal map[string]int `json:"journal"` // entries by what they are; an entry that was replaced meanwhile counts twice
	Entries map[string]int `json:"directory"`
}

// Run implements backup verify. It fails when the file is not whole.
func (c *backupVerifyCommand) Run(out io.Writer) error {
	h, err := verify(c.File)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(out, h)
	}
	_, err = fmt.Fprintf(out, "%s is whole: saved %s by lamplight %s\njournal: %s\ndirectory: %s\n", h.File, h.Saved.Format("2006-01-02 15:04:05 MST"), h.Version,
		counts(h.Journal), counts(h.Entries))
	return err
}

// counts returns numbers with what they count.
func counts(of map[string]int) string {
	var all []string
	for _, name := range sorted(of) {
		all = append(all, fmt.Sprintf("%d %s", of[name], name))
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

// verify reads a backup to its end and returns what it holds. It refuses a file that is not whole, or that lamplight restore could not load.
func verify(file string) (h holding, err error) {
	f, err := os.Open(file)
	if err != nil {
		return h, named(err)
	}
	defer f.Close()
	h = holding{File: file, Journal: map[string]int{}, Entries: map[string]int{}}
	s, err := backup.Read(f, func(e backup.Entry) error {
		if e.Part == backup.Journal {
			h.Journal[recordName(e.Name)]++
			return journal.Check(e)
		}
		h.Entries[entryName(e.Name)]++
		_, err := directory.RestoreMessage(directory.Config{}, e)
		return err
	})
	if err != nil {
		return h, fmt.Errorf("%s: %w", file, err)
	}
	h.Saved, h.Version = s.At.UTC(), s.Version
	return h, nil
}

// recordNames are the kinds of records as docs/contract/journal.md, "Records" has them, and entryNames those of the directory.
var (
	recordNames = map[string]string{"s": "subscriptions", "d": "calls", "r": "registers", "m": "manual states", "b": "mailboxes", "p": "publications",
		"g": "switches that are gone", "o": "sources"}
	entryNames = map[string]string{directory.Accounts: "accounts", directory.Users: "users", directory.Devices: "devices", "key": "token keys"}
)

// recordName says what an entry of the journal is, by its name.
func recordName(name string) string {
	parts := strings.Split(name, ".")
	if len(parts) == 2 {
		return "claims"
	}
	return cmp.Or(recordNames[parts[min(2, len(parts)-1)]], "other records")
}

// entryName says what an entry of the directory is, by its name.
func entryName(name string) string {
	kind, _, _ := strings.Cut(name, ".")
	return cmp.Or(entryNames[kind], "other entries")
}

// scheduled are the names that backup create --dir gives. They sort by time.
var scheduled = regexp.MustCompile(`^lamplight-\d{8}T\d{6}Z\.backup$`)

// prune removes the oldest backups in a directory, but for as many as are to stay. It touches no file with another name.
func prune(dir string, keep int) error {
	all, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	var ours []string
	for _, e := range all {
		if e.Type().IsRegular() && scheduled.MatchString(e.Name()) {
			ours = append(ours, filepath.Join(dir, e.Name()))
		}
	}
	for _, file := range ours[:max(len(ours)-keep, 0)] {
		if e := os.Remove(file); e != nil {
			err = errors.Join(err, fmt.Errorf("the backup is made, and an old one could not be removed: %w", e))
			continue
		}
		fmt.Fprintf(os.Stderr, "removed %s\n", file)
	}
	return err
}

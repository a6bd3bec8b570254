package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
)

const contractDir = "docs/contract/"

// tracked returns the text of every file that git tracks, by its path from the root of the repository.
func tracked(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("git", "-c", "safe.directory=*", "-C", "../..", "ls-files", "-z").Output()
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if err != nil { // not a checkout: an archive of the sources
		names = sources(t)
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if os.IsNotExist(err) {
			continue // removed and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// sources returns the paths of the files below the root of the repository, without those that builds and runs leave there.
func sources(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel("../..", path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains([]string{".git", "bin", "node_modules", "bench-results"}, name) || strings.HasPrefix(name, "lamplight-")):
			return filepath.SkipDir
		case !d.IsDir():
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

var (
	fenced     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	ruleNumber = regexp.MustCompile(`^Rule (\d+): `)
)

var (
	// lineBreak is the end of a line and the beginning of the next, in prose and in comments of all kinds.
	lineBreak = regexp.MustCompile(`[ \t]*\n[ \t]*(?://|#)?[ \t]*`)
	citation  = regexp.MustCompile(`docs/contract/([\w-]+\.md)(?:, (?:"([^"]+)"|rules? (\d+)((?:, \d+)*)(?: and (\d+))?))?`)
	bareRule  = regexp.MustCompile(`\brules? (\d+)((?:, \d+)*)(?: and (\d+))?`)
)

var (
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	codeSpan = regexp.MustCompile("`[^`\n]*`")
)

// contract returns the text of a file of the contract.
func contract(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + contractDir + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The contract describes every path and verb of openapi.yaml.
func TestContractHasPaths(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../transport/rest/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml"} {
		if _, there := doc.Paths[path]; !there {
			t.Errorf("openapi.yaml does not have %s", path)
		}
	}
	described := contract(t, "http.md")
	for path, verbs := range doc.Paths {
		for verb := range verbs {
			if verb == "parameters" {
				continue
			}
			if want := "`" + strings.ToUpper(verb) + " " + path + "`"; !strings.Contains(described, want) {
				t.Errorf("http.md does not have %s", want)
			}
		}
	}
}

// flagRow is what a table of command-line.md says of a flag: its default and its variable.
type flagRow struct{ value, variable string }

// section holds the flags and arguments that a section of command-line.md describes.
type section struct {
	flags     map[string]flagRow
	arguments map[string]bool
}

var (
	flagCell     = regexp.MustCompile("`--([a-z-]+)[^`]*`")
	argumentCell = regexp.MustCompile("^`<([a-z]+)>`$")
)

// readCommandLine returns the sections of command-line.md by their headings.
func readCommandLine(text string) map[string]*section {
	sections := map[string]*section{}
	var now *section
	for line := range strings.SplitSeq(fenced.ReplaceAllString(text, ""), "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			now = &section{map[string]flagRow{}, map[string]bool{}}
			sections[m[1]] = now
			continue
		}
		line = strings.ReplaceAll(line, `\|`, "\x00")
		if !strings.HasPrefix(line, "| ") || now == nil {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if m := flagCell.FindStringSubmatch(cells[0]); m != nil && len(cells) == 4 {
			now.flags[m[1]] = flagRow{cells[1], strings.Trim(cells[2], "`")}
		}
		if m := argumentCell.FindStringSubmatch(cells[0]); m != nil {
			now.arguments[m[1]] = true
		}
	}
	return sections
}

// described returns the headings of the sections that describe a command's flags, its own section first.
func described(command string) []string {
	all := []string{"lamplight " + command, "Flags of every command that talks to NATS", "Flags of every command"}
	switch {
	case command == "check-config", command == "doctor":
		all = append(all, "lamplight serve", "Flags of a SIP edge", "Flags of FreeSWITCH switches")
	case command == "serve":
		all = append(all, "Flags of a SIP edge", "Flags of FreeSWITCH switches")
	case command == "edge":
		all = append(all, "Flags of a SIP edge")
	case command == "bridge freeswitch":
		all = append(all, "Flags of every bridge", "Flags of FreeSWITCH switches")
	case strings.HasPrefix(command, "presence "):
		all = append(all, "Flags of every presence command")
	case strings.HasPrefix(command, "account "):
		all = append(all, "Flags of every account command")
	case strings.HasPrefix(command, "bench ") && command != "bench compare":
		all = append(all, "Flags of every scenario")
	}
	return all
}

// The contract describes every command, argument and flag, with its default and its variable, and no others.
func TestContractHasFlags(t *testing.T) {
	t.Parallel()
	var c commands
	app, err := newParser(&c)
	if err != nil {
		t.Fatal(err)
	}
	sections := readCommandLine(contract(t, "command-line.md"))
	used := map[string]bool{}
	for _, leaf := range app.Model.Leaves(false) {
		command := strings.TrimPrefix(leaf.Path(), "lamplight ")
		if sections["lamplight "+command] == nil {
			t.Errorf("command-line.md has no heading \"lamplight %s\"", command)
			continue
		}
		for _, a := range leaf.Positional {
			if !sections["lamplight "+command].arguments[a.Name] {
				t.Errorf("%s: the argument <%s> is not described", command, a.Name)
			}
		}
		for _, group := range leaf.AllFlags(false) {
			for _, f := range group {
				row, where := flagRow{}, ""
				for _, name := range described(command) {
					if s := sections[name]; s != nil && where == "" {
						if r, there := s.flags[f.Name]; there {
							row, where = r, name
						}
					}
				}
				if where == "" {
					t.Errorf("%s: the flag --%s is not described", command, f.Name)
					continue
				}
				used[where+" --"+f.Name] = true
				checkFlag(t, command, f, row)
			}
		}
	}
	for name, s := range sections {
		for flag := range s.flags {
			if !used[name+" --"+flag] {
				t.Errorf("command-line.md, %q, describes --%s, which the commands there do not have", name, flag)
			}
		}
	}
}

// checkFlag compares a flag with what the contract says of it.
func checkFlag(t *testing.T, command string, f *kong.Flag, row flagRow) {
	t.Helper()
	if f.Default != "" && row.value != "`"+f.Default+"`" {
		t.Errorf("%s: the default of --%s is %s, not %s", command, f.Name, f.Default, row.value)
	}
	variable := ""
	if len(f.Envs) > 0 {
		variable = f.Envs[0]
	}
	if row.variable != variable {
		t.Errorf("%s: the variable of --%s is %q, not %q", command, f.Name, variable, row.variable)
	}
}

// The contract describes every subject that the code knows, and deploy/nats-users.conf grants no others.
func TestContractHasSubjects(t *testing.T) {
	t.Parallel()
	text := contract(t, "nats.md") + contract(t, "journal.md")
	for _, pattern := range subject.All() {
		if !strings.Contains(text, "`"+pattern+"`") {
			t.Errorf("neither nats.md nor journal.md has `%s`", pattern)
		}
	}
	users, err := os.ReadFile("../../deploy/nats-users.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"((?:omnipresence|presence|lamplight)\.[^"]*)"`).FindAllSubmatch(users, -1) {
		granted := string(m[1])
		if !slices.ContainsFunc(subject.All(), func(pattern string) bool { return matchesSubject(pattern, granted) }) {
			t.Errorf("deploy/nats-users.conf grants %s, which the contract does not have", granted)
		}
	}
}

// The contract and the changelog name every event package wherever they list them, and the schema that records have.
func TestContractHasPackages(t *testing.T) {
	t.Parallel()
	var names, digits, quoted []string
	for p := range presence.LastPackage + 1 {
		names, digits, quoted = append(names, p.String()), append(digits, fmt.Sprintf("`%d`", p)), append(quoted, "`"+p.String()+"`")
	}
	or := func(words []string) string {
		last := len(words) - 1
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	want := map[string][]string{
		"README.md":       {or(quoted)},
		"nats.md":         {or(quoted)},
		"http.md":         {"event package (" + strings.Join(quoted, ", ") + ")"},
		"command-line.md": {"of this event package: " + presence.PackageNames()},
		"journal.md": {or(digits) + " for the package (" + strings.Join(names, ", ") + ")",
			fmt.Sprintf("Field 1 is the schema number (%d)", presence.Schema)},
	}
	for _, name := range names {
		want["sip.md"] = append(want["sip.md"], "`"+name+"`", "### "+name+" ")
		want["../../CHANGELOG.md"] = append(want["../../CHANGELOG.md"], "`"+name+"`")
	}
	for file, texts := range want {
		text := strings.Join(strings.Fields(contract(t, file)), " ")
		for _, w := range texts {
			if !strings.Contains(text, w) {
				t.Errorf("%s has no %q", file, w)
			}
		}
	}
}

// No package but cluster/subject writes a subject by hand.
func TestSubjectsStandInOnePlace(t *testing.T) {
	t.Parallel()
	literal := regexp.MustCompile("\"(?:lamplight\\.(?:node|answers|claims|journal|notify|notified|edge|state|status)\\b|presence\\.(?:dialog|update|subscriptions|publications|mwi_updates|search_req|show|set|reset|probes)\\b|omnipresence\\.)[^\"]*\"")
	for name, text := range tracked(t) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "cluster/subject/") {
			continue
		}
		for _, found := range literal.FindAllString(text, -1) {
			t.Errorf("%s writes the subject %s; package subject has a function for it", name, found)
		}
	}
}

// matchesSubject says whether every subject that the second pattern matches is also matched by the first.
func matchesSubject(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i := range p {
		switch {
		case p[i] == ">":
			return len(s) > i
		case i >= len(s), p[i] != "*" && p[i] != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

// The examples of the contract are JSON where they say so.
func TestContractExamples(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?ms)^```json\n(.*?)^```$")
	found := 0
	for _, name := range []string{"http.md", "nats.md", "journal.md", "command-line.md"} {
		for _, m := range blocks.FindAllStringSubmatch(contract(t, name), -1) {
			found++
			if err := validJSON(m[1]); err != nil {
				t.Errorf("%s: %v:\n%s", name, err, m[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d blocks of JSON were found", found)
	}
}

// validJSON reads one or more values.
func validJSON(text string) error {
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

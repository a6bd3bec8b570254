package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"lamplight/cluster/subject"
)

const contractDir = "docs/contract/"

// tracked gives the text of every file that git tracks, by its path from the root of the repository.
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

// sources are the files below the root of the repository, without what builds and runs leave there.
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

// cites says whether a file of this name may cite the contract.
func cites(name string) bool {
	return slices.Contains([]string{".go", ".md", ".yaml", ".conf", ".sh"}, filepath.Ext(name)) || filepath.Base(name) == "Makefile"
}

// page is one Markdown file: its headings, the anchors that GitHub makes of them, and its numbered rules.
type page struct {
	headings, anchors map[string]bool
	rules             map[int]bool
}

var (
	fenced     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	ruleNumber = regexp.MustCompile(`^Rule (\d+): `)
)

func readPage(text string) page {
	p := page{map[string]bool{}, map[string]bool{}, map[int]bool{}}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		title := strings.ReplaceAll(m[1], "`", "")
		p.headings[title] = true
		anchor := strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		for n, a := 1, anchor; p.anchors[anchor]; n++ {
			anchor = a + "-" + strconv.Itoa(n)
		}
		p.anchors[anchor] = true
		if r := ruleNumber.FindStringSubmatch(title); r != nil {
			n, _ := strconv.Atoi(r[1])
			p.rules[n] = true
		}
	}
	return p
}

var (
	// lineBreak is the end of a line with what begins the next one: of prose, and of comments of all kinds.
	lineBreak = regexp.MustCompile(`[ \t]*\n[ \t]*(?://|#)?[ \t]*`)
	citation  = regexp.MustCompile(`docs/contract/([\w-]+\.md)(?:, (?:"([^"]+)"|rules? (\d+)((?:, \d+)*)(?: and (\d+))?))?`)
	bareRule  = regexp.MustCompile(`\brules? (\d+)((?:, \d+)*)(?: and (\d+))?`)
)

// numbers are those of a citation's groups.
func numbers(groups ...string) (all []int) {
	for _, g := range groups {
		for s := range strings.SplitSeq(g, ",") {
			if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// badCitations are the citations of a text that name a file, heading or rule which does not exist.
func badCitations(text string, pages map[string]page) (bad []string) {
	for _, m := range citation.FindAllStringSubmatch(lineBreak.ReplaceAllString(text, " "), -1) {
		p, there := pages[contractDir+m[1]]
		if !there || m[2] != "" && !p.headings[m[2]] {
			bad = append(bad, m[0])
		}
		for _, n := range numbers(m[3], m[4], m[5]) {
			if there && !p.rules[n] {
				bad = append(bad, fmt.Sprintf("%s: there is no rule %d", m[0], n))
			}
		}
	}
	return bad
}

// badRules are the rules that the comments of a Go file speak of and that do not exist.
func badRules(t *testing.T, name, text string, rules map[int]bool) (bad []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.Comments {
		for _, m := range bareRule.FindAllStringSubmatch(commentText(c), -1) {
			for _, n := range numbers(m[1], m[2], m[3]) {
				if !rules[n] {
					bad = append(bad, m[0])
				}
			}
		}
	}
	return bad
}

func commentText(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

func contractPages(t *testing.T, files map[string]string) map[string]page {
	t.Helper()
	pages := map[string]page{}
	for name, text := range files {
		if filepath.Ext(name) == ".md" {
			pages[name] = readPage(text)
		}
	}
	for _, name := range []string{"README.md", "http.md", "nats.md", "journal.md", "sip.md", "command-line.md"} {
		if _, there := pages[contractDir+name]; !there {
			t.Fatalf("%s%s is missing", contractDir, name)
		}
	}
	return pages
}

// Every citation of the contract names a file, a heading and a rule that exist, and the rules are numbered from 1 to 12.
func TestCitations(t *testing.T) {
	t.Parallel()
	files := tracked(t)
	pages := contractPages(t, files)
	rules := pages[contractDir+"journal.md"].rules
	for n := 1; n <= 12; n++ {
		if !rules[n] {
			t.Errorf("%sjournal.md has no rule %d", contractDir, n)
		}
	}
	for name, text := range files {
		if !cites(name) || strings.HasSuffix(name, "contract_test.go") {
			continue
		}
		for _, bad := range badCitations(text, pages) {
			t.Errorf("%s cites %s", name, bad)
		}
		if filepath.Ext(name) == ".go" {
			for _, bad := range badRules(t, name, text, rules) {
				t.Errorf("%s speaks of %s", name, bad)
			}
		}
	}
}

// The checks above can fail.
func TestCitationsAreChecked(t *testing.T) {
	t.Parallel()
	pages := map[string]page{contractDir + "journal.md": readPage("# The journal\n\n## Subjects\n\n### Rule 1: Lease\n\n```\n# No heading\n```\n")}
	for text, bad := range map[string]int{
		"docs/contract/journal.md":                            0,
		"docs/contract/journal.md, \"Subjects\"":              0,
		"// see docs/contract/journal.md,\n\t// \"Subjects\"": 0,
		"docs/contract/journal.md, rule 1":                    0,
		"docs/contract/journal.md, \"No heading\"":            1,
		"docs/contract/journal.md, rule 2":                    1,
		"docs/contract/journal.md,\n# rules 1, 2 and 3":       2,
		"docs/contract/journey.md":                            1,
	} {
		if got := badCitations(text, pages); len(got) != bad {
			t.Errorf("%q: %q", text, got)
		}
	}
	source := "package p\n\n// F keeps rules 1 and\n// 13, and rule 1.\nfunc F() {} // rule 14\n"
	if got := badRules(t, "p.go", source, pages[contractDir+"journal.md"].rules); !slices.Equal(got, []string{"rules 1 and 13", "rule 14"}) {
		t.Errorf("bare rules: %q", got)
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	codeSpan = regexp.MustCompile("`[^`\n]*`")
)

// Relative links of the documentation lead to files and headings that exist.
func TestLinks(t *testing.T) {
	t.Parallel()
	files := tracked(t)
	pages := contractPages(t, files)
	checked := 0
	for name, text := range files {
		if filepath.Ext(name) != ".md" || !strings.HasPrefix(name, "docs/") && strings.Contains(name, "/") {
			continue
		}
		text = codeSpan.ReplaceAllString(fenced.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := name
			if path != "" {
				to = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
			} else if anchor != "" && !pages[to].anchors[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", name, m[1], to)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found", checked)
	}
}

// Nothing speaks of the drafts that the contract was made from: whoever reads the repository does not have them.
func TestNoDrafts(t *testing.T) {
	t.Parallel()
	var drafts []string
	for _, name := range []string{"API", "BUS", "JOURNAL", "SIP", "CLI", "DESIGN", "answers"} {
		drafts = append(drafts, name+".md")
	}
	drafts = append(drafts, "../"+"shared")
	for name, text := range tracked(t) {
		for _, draft := range drafts {
			if i := strings.Index(text, draft); i >= 0 {
				t.Errorf("%s:%d speaks of %s", name, 1+strings.Count(text[:i], "\n"), draft)
			}
		}
	}
}

func contract(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + contractDir + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every path and verb of openapi.yaml is in the contract, with an example of each.
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

// flagRow is what a table of command-line.md says of a flag.
type flagRow struct{ value, variable string }

// section is a part of command-line.md: the flags and arguments that it describes.
type section struct {
	flags     map[string]flagRow
	arguments map[string]bool
}

var (
	flagCell     = regexp.MustCompile("`--([a-z-]+)[^`]*`")
	argumentCell = regexp.MustCompile("^`<([a-z]+)>`$")
)

// readCommandLine gives the sections of command-line.md by their headings.
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

// described are the sections that describe a command's flags, its own first.
func described(command string) []string {
	all := []string{"lamplight " + command, "Flags of every command that talks to NATS", "Flags of every command"}
	switch {
	case command == "check-config":
		all = append(all, "lamplight serve")
	case strings.HasPrefix(command, "presence "):
		all = append(all, "Flags of every presence command")
	case strings.HasPrefix(command, "bench ") && command != "bench compare":
		all = append(all, "Flags of every scenario")
	}
	return all
}

// Every command, argument and flag is in the contract, with its default and variable; and nothing else is.
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

// Every subject that the code knows is in the contract, and deploy/nats-users.conf grants no other.
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

// No package but cluster/subject writes a subject by hand.
func TestSubjectsStandInOnePlace(t *testing.T) {
	t.Parallel()
	literal := regexp.MustCompile("\"(?:lamplight\\.(?:node|answers|claims|journal|notify|notified|edge|state|status)\\b|presence\\.(?:dialog|update|subscriptions|mwi_updates|search_req|show|set|reset|probes)\\b|omnipresence\\.)[^\"]*\"")
	for name, text := range tracked(t) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "cluster/subject/") {
			continue
		}
		for _, found := range literal.FindAllString(text, -1) {
			t.Errorf("%s writes the subject %s; package subject has a function for it", name, found)
		}
	}
}

// matchesSubject says whether all that a pattern names is named by another one too.
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

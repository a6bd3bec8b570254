package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cites says whether a file of this name may cite the contract.
func cites(name string) bool {
	return slices.Contains([]string{".go", ".md", ".yaml", ".conf", ".sh"}, filepath.Ext(name)) || filepath.Base(name) == "Makefile"
}

// page is one Markdown file: its headings, the anchors that GitHub makes of them, and the numbers of its rules.
type page struct {
	headings, anchors map[string]bool
	rules             map[int]bool
}

// readPage reads a Markdown file.
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

// numbers returns the numbers in the groups of a citation.
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

// badCitations returns the citations of a text that name a file, a heading or a rule that does not exist.
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

// badRules returns the rules that the comments of a Go file speak of and that do not exist.
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

// commentText returns the text of a comment in one line.
func commentText(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// contractPages reads all Markdown files, those of the contract among them.
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
		if !cites(name) || strings.HasSuffix(name, "citations_test.go") {
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

// The checks of citations find wrong ones.
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

// The relative links of the documentation lead to files and headings that exist.
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

// No file speaks of the drafts from which the contract was made: readers of the repository do not have them.
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

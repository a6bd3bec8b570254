package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"lamplight/tools/need"
	"lamplight/transport/sip/phone"
	"lamplight/transport/source/freeswitch/freeswitchtest"
)

// alert is one rule of deploy/prometheus/rules.yaml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// readYAML reads a file of the repository.
func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// alerts returns all alerts.
func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, "../../deploy/prometheus/rules.yaml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("rules.yaml has %d alerts", len(all))
	}
	return all
}

// dashboard returns the queries of deploy/grafana/lamplight.json by the titles of their panels, with the variables replaced.
func dashboard(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/lamplight.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, p := range file.Panels {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr))
		}
		if p.Type != "row" && len(all[p.Title]) == 0 {
			t.Errorf("the panel %q has no query", p.Title)
		}
	}
	return all
}

// promtool runs Prometheus's tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	_, err := exec.LookPath("promtool")
	need.Met(t, err == nil, "promtool (Debian: prometheus)")
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Each alert is tested firing, and not firing while all is well. Its annotation names its section of the runbook, and every section of an
// alert is of one that there is.
func TestAlerts(t *testing.T) {
	const rules, tests = "../../deploy/prometheus/rules.yaml", "../../deploy/prometheus/rules_test.yaml"
	var file struct {
		Tests []struct {
			Name string `yaml:"name"`
			Expr []struct {
				Expr    string `yaml:"expr"`
				Samples []any  `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		} `yaml:"tests"`
	}
	readYAML(t, tests, &file)
	fires, rests := map[string]bool{}, map[string]bool{}
	name := regexp.MustCompile(`alertname="(\w+)"`)
	for _, one := range file.Tests {
		for _, e := range one.Expr {
			which := name.FindStringSubmatch(e.Expr)
			if which == nil {
				t.Fatalf("%s: %s names no alert", one.Name, e.Expr)
			}
			if len(e.Samples) > 0 && strings.Contains(e.Expr, `alertstate="firing"`) {
				fires[which[1]] = true
			}
			if len(e.Samples) == 0 && !strings.Contains(e.Expr, "alertstate") {
				rests[which[1]] = true
			}
		}
	}
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(runbook), "\n### ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[title] = text
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !rests[a.Alert] {
			t.Errorf("%s is tested firing: %v, not firing: %v", a.Alert, fires[a.Alert], rests[a.Alert])
		}
		for _, part := range []string{"**Means.** ", "**Look at.** ", "**Do.** "} {
			if !strings.Contains(sections[a.Alert], part) {
				t.Errorf("docs/runbook.md, %q lacks %s", a.Alert, part)
			}
		}
		delete(sections, a.Alert)
		if got, want := a.Annotations["runbook"], "docs/runbook.md#"+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: its runbook is %q, not %q", a.Alert, got, want)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: severity %q, annotations %v", a.Alert, s, a.Annotations)
		}
	}
	for title := range sections {
		if strings.HasPrefix(title, "Lamplight") {
			t.Errorf("docs/runbook.md has a section %q, and there is no such alert", title)
		}
	}
	promtool(t, "check", "rules", rules)
	promtool(t, "test", "rules", tests)
}

// The queries of the dashboard can be parsed.
func TestDashboardQueries(t *testing.T) {
	var rules []map[string]string
	for _, queries := range dashboard(t) {
		for _, q := range queries {
			rules = append(rules, map[string]string{"record": fmt.Sprintf("query:%d", len(rules)), "expr": q})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

var (
	seriesLine = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`(\w+)="`)
	queried    = regexp.MustCompile(`\b((?:lamplight|process|go)_\w+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
)

// Each metric and label that an alert or the dashboard asks for is in the /metrics of a node with an edge and a bridge.
func TestRulesAndDashboardAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	fs := freeswitchtest.Start(t)
	p := serve(t, t.TempDir(), "--sip-udp", "127.0.0.1:0", "--sip-auth", "none", "--notify-rate", "1",
		"--bridge-freeswitch", fs.Addr(), "--esl-password-file", passwordFile(t, "ClueCon"), "--switch-uri", "sip:one")
	p.sample()
	eventually(t, "the switch is followed", 20*time.Second, func() bool { return fs.Clients() == 1 })
	e := &loneEdge{}
	_, e.udp, _ = strings.Cut(p.stdout.String(), "sip udp listening on ")
	e.udp, _, _ = strings.Cut(e.udp, "\n")
	if _, err := dialEdge(t, e).Subscribe(soon(t), phone.Subscribe{Watcher: "1002@" + realm, Target: "1001@" + realm, Package: "dialog", Expires: 600}); err != nil {
		t.Fatal(err)
	}
	fs.State(fs.Leg("outbound", "1003@"+realm, "1"), "ACTIVE")
	fs.State(fs.Leg("outbound", "1003@nobody.example.com", "1"), "ACTIVE")
	p.publish("presence.dialog.acme%2Eexample%2Ecom.k1", map[string]any{"Event-Category": "presence"})

	labels := map[string]map[string]bool{} // by the name of the series
	changes := 0
	scrape := func() {
		t.Helper()
		p.set("1001", []string{"early", "confirmed"}[changes%2]) // one a second is told at once, the others are held back
		changes++
		r, err := http.Get(p.http + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range seriesLine.FindAllStringSubmatch(string(text), -1) {
			if labels[line[1]] == nil {
				labels[line[1]] = map[string]bool{"job": true, "instance": true}
			}
			for _, l := range labelName.FindAllStringSubmatch(line[2], -1) {
				labels[line[1]][l[1]] = true
			}
		}
	}
	queries := map[string]string{}
	for _, a := range alerts(t) {
		queries[a.Alert] = a.Expr
	}
	for panel, all := range dashboard(t) {
		for i, q := range all {
			queries[fmt.Sprintf("%s, query %d", panel, i)] = q
		}
	}
	missing := func() (all []string) {
		for where, q := range queries {
			known := map[string]bool{}
			asked := queried.FindAllStringSubmatch(q, -1)
			for _, metric := range asked {
				maps.Copy(known, labels[metric[1]])
				if labels[metric[1]] == nil {
					all = append(all, where+": "+metric[1])
					continue
				}
				for _, l := range matcher.FindAllStringSubmatch(metric[2], -1) {
					if !labels[metric[1]][l[1]] {
						all = append(all, where+": "+metric[1]+" has no label "+l[1])
					}
				}
			}
			if len(asked) == 0 && !strings.Contains(q, "up{") { // a metric of Prometheus itself
				t.Fatalf("%s asks for no metric: %s", where, q)
			}
			for _, by := range grouping.FindAllStringSubmatch(q, -1) {
				for l := range strings.SplitSeq(by[1], ", ") {
					if len(asked) > 0 && !known[l] {
						all = append(all, where+": no label "+l)
					}
				}
			}
		}
		slices.Sort(all)
		return all
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		scrape()
		left := missing()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no node shows:\n%s", strings.Join(left, "\n"))
		}
	}
}

// Each finding of explain has its section in the runbook, and the command lines there are right.
func TestRunbook(t *testing.T) {
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../actors/presence/why.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\tFound\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 11 {
		t.Fatalf("%d kinds of findings", len(kinds))
	}
	for _, kind := range kinds {
		if !strings.Contains(string(runbook), "\n### "+kind[1]+"\n**Means.** ") {
			t.Errorf("docs/runbook.md has no section for the finding %s", kind[1])
		}
	}
	lines := regexp.MustCompile("`lamplight ([^`]+)`").FindAllStringSubmatch(string(runbook), -1)
	if len(lines) < 20 {
		t.Fatalf("%d command lines", len(lines))
	}
	for _, line := range lines {
		parser, err := newParser(&commands{})
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(line[1])
		if i := slices.Index(words, "--config"); i >= 0 { // the file is not on this machine
			words = slices.Delete(words, i, i+2)
		}
		if _, err := parser.Parse(words); err != nil {
			t.Errorf("lamplight %s: %v", line[1], err)
		}
	}
}

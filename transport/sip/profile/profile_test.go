package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProfileOfAgent(t *testing.T) {
	for agent, want := range map[string]string{
		"":                                   "default",
		"baresip v1.0.0 (x86_64/linux)":      "default",
		"Yealink SIP-T46G 28.73.0.50":        "yealink",
		"YEALINK VP59 91.87.0.25":            "yealink",
		"Grandstream GXP2135 1.0.7.97":       "grandstream",
		"Linksys/SPA962-6.1.5(a)":            "linksys",
		"Linksys/RTP300-5.01.04":             "default",
		"PolycomVVX-VVX_410-UA/5.4.0.5841":   "polycom",
		"PolycomSoundPointIP-SPIP_550-UA/3.": "polycom",
		"PJSUA v2.15 Linux-5.15/x86_64":      "pjsip",
		"not a Yealink":                      "default",
	} {
		if p := Default().For([]byte(agent)); p.Name != want {
			t.Errorf("%q has the profile %s, want %s", agent, p.Name, want)
		}
	}
	var zero Table
	if p := zero.For([]byte("Yealink")); p.Name != "default" || zero.Named("yealink") != p {
		t.Errorf("the zero table has %+v", p)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, agent string
		want           bool
	}{
		{"Snom", "snomD375/10.1", true}, {"snom", "sno", false}, {"*touch", "Acme Touch 5", true}, {"a*b*c", "axxbyyc and more", true},
		{"a*b*c", "axxbyy", false}, {"a**b", "ab", true}, {"a*", "a", true}, {"a*b", "", false}, {"*ab", "aaab", true}, {"a*bc", "abbc", true},
	} {
		if got := matches(c.pattern, []byte(c.agent)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.agent, got)
		}
	}
	// A pattern that would take a backtracking matcher for ever takes at most the product of both lengths.
	begin := time.Now()
	for range 100 {
		if matches(strings.Repeat("*a", maxPattern/2-1)+"b", []byte(strings.Repeat("a", 256))) {
			t.Fatal("matched")
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("100 matches took %v", took)
	}
}

func TestNamed(t *testing.T) {
	d := Default()
	polycom := d.For([]byte("PolycomVVX"))
	for _, c := range []struct {
		profile     *Profile
		pidf, xpidf bool
		want        string
	}{
		{polycom, false, false, "polycom"}, {polycom, true, true, "polycom"}, {polycom, false, true, "polycom"}, {polycom, true, false, "polycom.pidf"},
		{d.Named("yealink"), false, true, "yealink.xpidf"}, {d.Named("yealink"), true, false, "yealink"},
		{d.Named("no-such-row"), false, true, "default.xpidf"},
	} {
		if p := c.profile.Accepting(c.pidf, c.xpidf); p.Name != c.want || d.Named(p.Name) != p {
			t.Errorf("%s accepting %v, %v is %s", c.profile.Name, c.pidf, c.xpidf, p.Name)
		}
	}
	if p := d.Named("gone.xpidf"); p.Name != "default.xpidf" || p.Presence != XPIDF {
		t.Errorf("a row that is gone became %+v", p)
	}
	if p := d.Named("gone"); p.Name != "default" {
		t.Errorf("a row that is gone became %+v", p)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "profiles.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A file's rows come first, replace rows of the same name, and change the default of all rows.
func TestLoad(t *testing.T) {
	table, err := Load(write(t, "- {name: default, dialogs: all}\n- {name: lobby, agents: ['Yealink *T46'], display: false}\n- {name: polycom, agents: [Poly], tcp-above: 1300}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for agent, want := range map[string]Profile{
		"Yealink SIP-T46G": {Name: "lobby", Dialogs: All, Idle: Dialog, Presence: PIDF},
		"Yealink SIP-T48":  {Name: "yealink", Dialogs: All, Idle: Dialog, Display: true, Presence: PIDF},
		"Linksys/SPA962":   {Name: "linksys", Dialogs: One, Idle: Dialog, Display: true, Presence: PIDF},
		"Polycom":          {Name: "polycom", Dialogs: All, Idle: Dialog, Display: true, Presence: PIDF, TCPAbove: 1300},
		"x":                {Name: "default", Dialogs: All, Idle: Dialog, Display: true, Presence: PIDF},
	} {
		p := table.For([]byte(agent))
		if p.Name != want.Name || p.Dialogs != want.Dialogs || p.Idle != want.Idle || p.Display != want.Display || p.Presence != want.Presence || p.TCPAbove != want.TCPAbove {
			t.Errorf("%s: %+v", agent, *p)
		}
	}
	if d, err := Load(""); err != nil || d != Default() {
		t.Errorf("without a file: %v, %v", d, err)
	}
	if Default().For(nil).Dialogs != One {
		t.Error("a file changed the program's table")
	}
	for text, want := range map[string]string{
		"- {name: A, agents: [x]}":                                `line 1: the name "A"`,
		"- {name: a.pidf, agents: [x]}":                           `line 1: the name "a.pidf"`,
		"- {agents: [x]}":                                         `line 1: the name ""`,
		"- {name: a, agents: [x]}\n- {name: a, agents: [y]}":      "line 2: there are two profiles with the name a",
		"- {name: a}":                                             "the profile a has no agents",
		"- {name: default, agents: [x]}":                          "the profile default has agents",
		"- {name: a, agents: [x], dialogs: many}":                 `the profile a: dialogs is "many"; it may be one or all`,
		"- {name: a, agents: ['*']}":                              `the pattern "*" must have`,
		"- {name: a, agents: [" + strings.Repeat("x", 129) + "]}": "at most 128 bytes",
		"- {name: a, agents: [x], longest: -1}":                   "longest is -1 bytes",
		"- {name: a, agents: [x], colour: red}":                   "field colour not found",
		"name: a":                                                 "cannot unmarshal",
		"- [":                                                     "yaml",
	} {
		if _, err := Load(write(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, err := Load(write(t, strings.Repeat("#", maxFile+1))); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a large file: %v", err)
	}
}

// docs/contract/sip.md has the table of the program.
func TestContractHasTheTable(t *testing.T) {
	contract, err := os.ReadFile("../../../docs/contract/sip.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i, row := range Default().Rows() {
		want.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			want.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
		if i > 0 && row[len(row)-1] == "-" {
			t.Errorf("the row %s names no source", row[0])
		}
	}
	if !strings.Contains(string(contract), want.String()) {
		t.Errorf("docs/contract/sip.md, \"Profiles\", must have this table:\n%s", want.String())
	}
}

func TestPrint(t *testing.T) {
	var out strings.Builder
	if err := Default().Print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(Default().rows)+1 || !strings.HasPrefix(lines[0], "PROFILE ") || !strings.HasPrefix(lines[len(lines)-1], "default ") {
		t.Errorf("printed\n%s", out.String())
	}
}

func BenchmarkFor(b *testing.B) {
	agent, table := []byte("Some phone that no row knows/1.0"), Default()
	b.ReportAllocs()
	for b.Loop() {
		table.For(agent)
	}
}

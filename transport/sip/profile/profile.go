// Package profile is the table of what kinds of phones need in the documents of their NOTIFYs.
//
// The nodes render one document of an extension and event package for all watchers. A Profile edits that text at the edge for the
// phones that need it otherwise: once for each profile and NOTIFY, not for each watcher. The table is a YAML file that is part of the
// program, and that a file of the operator's extends (docs/contract/sip.md, "Profiles").
//
// The package is pure but for Load, which reads the operator's file. A Table does not change, and any goroutine may use it. The
// package knows no subscriptions and no messages.
package profile

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Profile is what one kind of phones needs.
type Profile struct {
	Name        string   `yaml:"name"`          // of letters, digits and "-"; see Accepting
	Agents      []string `yaml:"agents"`        // patterns of User-Agents
	Source      string   `yaml:"source"`        // who says that these phones need this
	Dialogs     string   `yaml:"dialogs"`       // One or All
	Idle        string   `yaml:"idle"`          // of an extension without dialogs: Dialog or Empty
	Display     bool     `yaml:"display"`       // the identities have the display names
	HideParties bool     `yaml:"hide-parties"`  // the other party of a dialog is left out
	Hold        bool     `yaml:"hold"`          // the target of a held call says so
	Cookie      bool     `yaml:"pickup-cookie"` // the Call-IDs say which switch runs the call
	Presence    string   `yaml:"presence"`      // PIDF or XPIDF
	TCPAbove    int      `yaml:"tcp-above"`     // bytes of a message above which a phone on UDP takes it over TCP; 0: it takes none over TCP
	Longest     int      `yaml:"longest"`       // bytes that the document of several dialogs may have; 0: as many as the nodes send

	pidf, xpidf *Profile // the same with another Presence
}

// The values of the fields of Profile.
const (
	One    = "one"    // only the most important dialog is shown
	All    = "all"    // all dialogs are shown
	Dialog = "dialog" // a terminated dialog is shown when there is none
	Empty  = "empty"  // nothing is shown when there is none
	PIDF   = "pidf"   // application/pidf+xml, RFC 3863
	XPIDF  = "xpidf"  // application/xpidf+xml, which came before it
)

// Table is the table. The zero Table has only the row default of the program.
type Table struct {
	rows     []*Profile // in the order in which they are tried
	named    map[string]*Profile
	fallback *Profile // the row default
	cookies  bool     // a row has Cookie
}

//go:embed profiles.yaml
var builtin []byte

// standard is the table of the program.
var standard = func() *Table {
	t, err := parse(builtin, nil)
	if err != nil {
		panic(err)
	}
	return t
}()

// Default returns the table of the program.
func Default() *Table { return standard }

const maxFile = 1 << 20 // bytes of a file of profiles

// Load returns the table of the program with the rows of a file: they are tried first, and a row replaces the program's row of the same
// name. With file "" it is Default.
func Load(file string) (*Table, error) {
	if file == "" {
		return Default(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("has more than %d bytes", maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("profiles %s: %w", file, err)
	}
	t, err := parse(builtin, text)
	if err != nil {
		return nil, fmt.Errorf("profiles %s: %w", file, err)
	}
	return t, nil
}

// parse makes the table of the program's text and of that of an operator.
func parse(program, operator []byte) (*Table, error) {
	own, err := split(operator)
	if err != nil {
		return nil, err
	}
	base, err := split(program)
	if err != nil {
		return nil, err
	}
	var standard Profile // the row default: first the program's, then what the operator's says about it
	for _, rows := range [][]named{base, own} {
		for _, r := range rows {
			if r.name == defaultName {
				if err := r.decode(&standard); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(standard.Agents) > 0 {
		return nil, errors.New("the profile default has agents: it is that of all phones that no other profile matches")
	}
	t := &Table{named: map[string]*Profile{}}
	for _, r := range append(own, base...) {
		if r.name == defaultName || t.named[r.name] != nil {
			continue
		}
		p := standard
		p.Agents, p.Source = nil, ""
		if err := r.decode(&p); err != nil {
			return nil, err
		}
		if len(p.Agents) == 0 {
			return nil, fmt.Errorf("the profile %s has no agents, so that no phone has it", p.Name)
		}
		t.add(&p)
	}
	t.fallback = &standard
	t.add(t.fallback)
	return t, nil
}

const defaultName = "default"

// named is a row that has not been read further than its name.
type named struct {
	name string
	text []byte
}

// split reads the names of the rows of a file.
func split(text []byte) (rows []named, err error) {
	var nodes []yaml.Node
	if err := yaml.Unmarshal(text, &nodes); err != nil {
		return nil, err
	}
	if len(nodes) > maxRows {
		return nil, fmt.Errorf("there are %d profiles; there may be %d", len(nodes), maxRows)
	}
	seen := map[string]bool{}
	for i := range nodes {
		var head struct{ Name string }
		if err := nodes[i].Decode(&head); err != nil {
			return nil, err
		}
		if !validName(head.Name) {
			return nil, fmt.Errorf("line %d: the name %q is not 1 to 32 of a-z, 0-9 and -", nodes[i].Line, head.Name)
		}
		if seen[head.Name] {
			return nil, fmt.Errorf("line %d: there are two profiles with the name %s", nodes[i].Line, head.Name)
		}
		seen[head.Name] = true
		text, err := yaml.Marshal(&nodes[i])
		if err != nil {
			return nil, err
		}
		rows = append(rows, named{head.Name, text})
	}
	return rows, nil
}

const (
	maxRows    = 256
	maxPattern = 128 // bytes of a pattern
)

func validName(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// decode reads the row into p, whose fields stay where the row does not name them.
func (r named) decode(p *Profile) error {
	d := yaml.NewDecoder(bytes.NewReader(r.text))
	d.KnownFields(true)
	err := d.Decode(p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return fmt.Errorf("the profile %s: %w", r.name, err)
	}
	return nil
}

// check says what is wrong with a row.
func (p *Profile) check() error {
	for _, f := range [...]struct{ field, value, a, b string }{
		{"dialogs", p.Dialogs, One, All}, {"idle", p.Idle, Dialog, Empty}, {"presence", p.Presence, PIDF, XPIDF},
	} {
		if f.value != f.a && f.value != f.b {
			return fmt.Errorf("%s is %q; it may be %s or %s", f.field, f.value, f.a, f.b)
		}
	}
	for _, a := range p.Agents {
		if strings.Trim(a, "*") == "" || len(a) > maxPattern {
			return fmt.Errorf("the pattern %q must have a character other than *, and at most %d bytes", a, maxPattern)
		}
	}
	for _, f := range [...]struct {
		field string
		value int
	}{{"tcp-above", p.TCPAbove}, {"longest", p.Longest}} {
		if f.value != 0 && (f.value < 200 || f.value > 65535) {
			return fmt.Errorf("%s is %d bytes; it may be 200 to 65535, or 0 for no bound", f.field, f.value)
		}
	}
	return nil
}

// add adds a row behind those that are there.
func (t *Table) add(p *Profile) {
	t.rows = append(t.rows, p)
	t.cookies = t.cookies || p.Cookie
	for _, presence := range [...]string{PIDF, XPIDF} {
		other := *p
		other.Presence = presence
		other.Name += "." + presence
		t.named[other.Name] = &other
	}
	p.pidf, p.xpidf = t.named[p.Name+"."+PIDF], t.named[p.Name+"."+XPIDF]
	t.named[p.Name] = p
}

// PickupCookies says whether any phones need pickup cookies.
func (t *Table) PickupCookies() bool { return t.cookies }

// byDefault returns the row default.
func (t *Table) byDefault() *Profile {
	if t.fallback == nil {
		return standard.fallback
	}
	return t.fallback
}

// For returns the profile of a phone by its User-Agent.
func (t *Table) For(agent []byte) *Profile {
	for _, p := range t.rows {
		for _, pattern := range p.Agents {
			if matches(pattern, agent) {
				return p
			}
		}
	}
	return t.byDefault()
}

// Accepting returns the profile for a phone whose SUBSCRIBE says which of the two presence documents it accepts. When it accepts one of
// them alone, the profile is the same but for that: its Name has the document's name behind a dot, and Named finds it.
func (p *Profile) Accepting(pidf, xpidf bool) *Profile {
	switch {
	case pidf && !xpidf && p.Presence != PIDF && p.pidf != nil:
		return p.pidf
	case xpidf && !pidf && p.Presence != XPIDF && p.xpidf != nil:
		return p.xpidf
	}
	return p
}

// Named returns the profile with a name; the default when there is none, which happens when the table has changed since.
func (t *Table) Named(name string) *Profile {
	if p := t.named[name]; p != nil {
		return p
	}
	_, presence, _ := strings.Cut(name, ".")
	return t.byDefault().Accepting(presence == PIDF, presence == XPIDF)
}

// matches says whether a User-Agent begins with a pattern. Letters match in either case, and "*" matches any characters. It takes at
// most the time of the product of both lengths: of several "*" only the last one is tried again.
func matches(pattern string, agent []byte) bool {
	at, star, from := 0, -1, 0 // in the pattern; behind its last "*"; where what follows that "*" was last tried
	for i := 0; ; {
		switch {
		case at == len(pattern):
			return true
		case pattern[at] == '*':
			at++
			star, from = at, i
		case i < len(agent) && lower(pattern[at]) == lower(agent[i]):
			at++
			i++
		case star < 0 || i >= len(agent):
			return false
		default:
			from++
			at, i = star, from
		}
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

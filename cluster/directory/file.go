package directory

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Import is the content of a file for lamplight import.
type Import struct {
	Accounts []map[string]any // their users and devices are lists of objects

	// Progress is told how many of the file's entries are done; nil: nobody is.
	Progress func(done, of int)

	text   []byte           // of the file; nil: there is none
	ends   []int            // where its lines end
	places map[place][2]int // where in text each entry begins and ends
}

// place is one entry of a file.
type place struct {
	account int    // from 0 on
	kind    string // Accounts: the account itself
	number  int    // of the user or device, from 0 on
}

func (p place) String() string {
	if p.kind == Accounts {
		return fmt.Sprintf("accounts[%d]", p.account)
	}
	return fmt.Sprintf("accounts[%d].%s[%d]", p.account, members[p.kind], p.number)
}

// members are the names of an account's lists in a file.
var members = map[string]string{Users: "users", Devices: "devices"}

// FileError is a mistake in a file for Import.
type FileError struct {
	Line  int    // from 1 on; 0: it is not known
	Where string // such as accounts[0].devices[17]; "": the mistake is one of syntax
	Err   error

	place place
}

func (e *FileError) Error() string {
	if e.Where == "" {
		return e.Err.Error()
	}
	return e.Where + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// MaxMistakes is the number of mistakes that a FileErrors holds.
const MaxMistakes = 100

// FileErrors are the mistakes of a file, in the order of its accounts, and of the lines in each of them.
type FileErrors struct {
	First []*FileError // MaxMistakes at most
	More  int          // how many there are besides
	Ended error        // why the import ended before the end of the file; nil: it did not
}

func (e *FileErrors) Error() string {
	text := e.First[0].Error()
	if n := len(e.First) - 1 + e.More; n > 0 {
		text += fmt.Sprintf(" (and %d more mistakes)", n)
	}
	if e.Ended != nil {
		text = e.Ended.Error() + "; " + text
	}
	return text
}

// Unwrap implements the interface of package errors.
func (e *FileErrors) Unwrap() (all []error) {
	for _, m := range e.First {
		all = append(all, m)
	}
	if e.Ended != nil {
		all = append(all, e.Ended)
	}
	return all
}

// add adds the mistakes of an account.
func (e *FileErrors) add(mistakes []*FileError) {
	slices.SortStableFunc(mistakes, func(a, b *FileError) int { return cmp.Compare(a.Line, b.Line) })
	kept := min(len(mistakes), MaxMistakes-len(e.First))
	e.First = append(e.First, mistakes[:kept]...)
	e.More += len(mistakes) - kept
}

// orNil returns the error that an import with these mistakes has; nil: there is none.
func (e *FileErrors) orNil() error {
	if len(e.First) == 0 {
		return e.Ended
	}
	return e
}

// Read reads a file for Import. It refuses unknown fields at the top of the file, and objects with a field twice. A mistake is a
// FileError.
func Read(r io.Reader) (in Import, err error) {
	if in.text, err = io.ReadAll(r); err != nil {
		return in, err
	}
	for i, c := range in.text {
		if c == '\n' {
			in.ends = append(in.ends, i)
		}
	}
	in.places = map[place][2]int{}
	d := jsontext.NewDecoder(bytes.NewReader(in.text))
	at := func() int { return int(d.InputOffset()) }
	fail := func(format string, a ...any) error {
		return &FileError{Line: in.line(at()), Err: fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, a...)...)}
	}
	if d.PeekKind() == '{' {
		_, err = d.ReadToken()
	} else if _, err = d.ReadValue(); err == nil {
		return in, fail(`the file must be an object with the member "accounts"`)
	}
	for err == nil && d.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = d.ReadToken(); err != nil {
			break
		}
		if name.String() != "accounts" {
			return in, fail(`the file has the member %q; the only one is "accounts"`, name.String())
		}
		err = eachOf(d, fail, func(raw jsontext.Value) error {
			p := place{account: len(in.Accounts), kind: Accounts}
			in.places[p] = [2]int{at() - len(raw), at()}
			var fields map[string]any
			if err := json.Unmarshal(raw, &fields, KeepNumbers); err != nil {
				return err
			}
			in.Accounts = append(in.Accounts, fields)
			return in.placeMembers(p, raw, at()-len(raw))
		})
	}
	if err == nil {
		_, err = d.ReadToken()
	}
	if err == nil {
		if _, e := d.ReadToken(); e != io.EOF {
			err = cmp.Or(e, fail("something follows the object"))
		}
	}
	return in, in.syntax(err)
}

// eachOf calls do with each element of the list that the decoder reads next. They must be objects.
func eachOf(d *jsontext.Decoder, fail func(string, ...any) error, do func(jsontext.Value) error) error {
	if kind := d.PeekKind(); kind != '[' {
		if _, err := d.ReadValue(); err != nil || kind == 'n' {
			return err
		}
		return fail("it must be a list")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		kind := d.PeekKind()
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if kind != '{' {
			return fail("the list must hold objects only")
		}
		if err := do(raw); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// placeMembers notes where the users and devices of an account are. raw is the account, which begins at an offset of the text.
func (in *Import) placeMembers(p place, raw jsontext.Value, begin int) error {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = d.ReadToken(); err != nil {
			break
		}
		kind := ""
		for k, member := range members {
			if member == name.String() {
				kind = k
			}
		}
		if kind == "" {
			err = d.SkipValue()
			continue
		}
		fail := func(format string, a ...any) error {
			return &FileError{in.line(begin + int(d.InputOffset())), p.String(), &Invalid{members[kind], fmt.Sprintf(format, a...)}, p}
		}
		n := 0
		err = eachOf(d, fail, func(raw jsontext.Value) error {
			end := begin + int(d.InputOffset())
			in.places[place{p.account, kind, n}] = [2]int{end - len(raw), end}
			n++
			return nil
		})
	}
	return err
}

// syntax makes an error of the decoder a FileError.
func (in *Import) syntax(err error) error {
	switch e := err.(type) {
	case nil, *FileError:
		return err
	case *jsontext.SyntacticError:
		return &FileError{Line: in.line(int(e.ByteOffset)), Err: err}
	}
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = fmt.Errorf("%w: the file ends too early", ErrInvalid)
	}
	return &FileError{Line: in.line(len(in.text)), Err: err}
}

// line returns the number of the line at an offset of the text.
func (in *Import) line(offset int) int {
	n, _ := slices.BinarySearch(in.ends, offset)
	return 1 + n
}

// wrong returns an error about an entry, with the line of the field that it names, or else of the entry.
func (in *Import) wrong(p place, err error) *FileError {
	field := ""
	if i, ok := err.(*Invalid); ok {
		field = i.Field
	}
	return &FileError{in.lineOf(p, field), p.String(), err, p}
}

// at says where in the file an entry is, for an error about another one.
func (in *Import) at(p place) string {
	if line := in.lineOf(p, ""); line > 0 {
		return fmt.Sprintf("%s, line %d", p, line)
	}
	return p.String()
}

// lineOf returns the line of an entry's field, or of the entry if it has no such field; 0: there is no text.
func (in *Import) lineOf(p place, field string) int {
	at, known := in.places[p]
	if !known {
		return 0
	}
	d := jsontext.NewDecoder(bytes.NewReader(in.text[at[0]:at[1]]))
	want := jsontext.Pointer("/" + strings.ReplaceAll(field, ".", "/"))
	for field != "" {
		if _, err := d.ReadToken(); err != nil {
			break
		}
		if d.StackPointer() == want {
			return in.line(at[0] + int(d.InputOffset()))
		}
	}
	return in.line(at[0])
}

// used are the fields that Lamplight uses. It keeps all others as they came.
var used = map[string][]string{
	Accounts: {"id", "name", "realm", "parent_id", "api_key", "enabled", "presence", hidesParties, limitsField, "users", "devices"},
	Users:    {"id", "name", "first_name", "last_name", "username", "password", "email", "presence_id", "enabled", "presence", hidesParties},
	Devices:  {"id", "name", "owner_id", "presence_id", "sip", "sip.username", "sip.password", "sip.realm", "hotdesk", "mac_address", "device_type", "enabled", "presence", hidesParties},
}

// Warning is a remark about a field of a file that Lamplight does not use. Kazoo's documents have many of these, so a field that
// looks like a mistyped name has a Warning wherever it stands, and all others have one for each kind of entry together.
type Warning struct {
	Line int
	Text string
}

// Warnings returns the remarks about the file, in the order of its lines. Call it before the file is imported.
func (in *Import) Warnings() (all []Warning) {
	type other struct{ line, times int }
	others := map[string]map[string]*other{Accounts: {}, Users: {}, Devices: {}}
	look := func(p place, entry any) {
		fields, _ := entry.(map[string]any)
		for _, name := range unused(p.kind, fields) {
			if near := Nearest(name, used[p.kind]); near != "" {
				all = append(all, Warning{in.lineOf(p, name), fmt.Sprintf("%v: Lamplight does not use the field %s; is %s meant?", p, name, near)})
				continue
			}
			if others[p.kind][name] == nil {
				others[p.kind][name] = &other{line: in.lineOf(p, name)}
			}
			others[p.kind][name].times++
		}
	}
	for i, a := range in.Accounts {
		look(place{account: i, kind: Accounts}, a)
		for kind, member := range members {
			list, _ := a[member].([]any)
			for n, e := range list {
				look(place{i, kind, n}, e)
			}
		}
	}
	for kind, fields := range others {
		first, words := 0, []string(nil)
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			o := fields[name]
			if first == 0 || o.line < first {
				first = o.line
			}
			words = append(words, fmt.Sprintf("%s (%d)", name, o.times))
		}
		if len(words) > 0 {
			all = append(all, Warning{first, fmt.Sprintf("these fields of %ss are kept, and Lamplight does not use them: %s", kind, strings.Join(words, ", "))})
		}
	}
	slices.SortStableFunc(all, func(a, b Warning) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Text, b.Text)) })
	return all
}

// unused returns the names of the fields that Lamplight does not use, in alphabetical order. Dots name fields of objects.
func unused(kind string, fields map[string]any) (names []string) {
	for name, v := range fields {
		inner, isObject := v.(map[string]any)
		switch {
		case !slices.Contains(used[kind], name):
			names = append(names, name)
		case (kind == Devices && name == "sip" || name == "presence") && isObject:
			for deep := range inner {
				if !slices.Contains(used[kind], name+"."+deep) {
					names = append(names, name+"."+deep)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// Nearest returns the one of words that a name is perhaps mistyped for; "": it looks like none.
func Nearest(name string, words []string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	is := plain(name)
	near, best := "", 3
	for _, u := range words {
		want := plain(u)
		most := 1
		if len(want) > 6 {
			most = 2
		}
		if d := distance(is, want); len(want) > 2 && strings.Contains(name, ".") == strings.Contains(u, ".") && d <= most && d < best {
			near, best = u, d
		}
	}
	return near
}

// distance returns how many letters must be added, removed or replaced, or swapped with the next one, to make a into b.
func distance(a, b string) int {
	var before, above []int // the rows of the last two letters of a
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

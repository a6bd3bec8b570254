package rest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/directory"
	"lamplight/transport/httpd"
)

// maxPage is the most rows that a page of a list may have.
const maxPage = 100_000

// rows is what a client asks of a list of accounts, users or devices (docs/contract/http.md, "Lists").
type rows struct {
	size    int    // the most rows of an answer; 0: all
	start   string // the id that the page begins with; "": the lowest
	full    bool   // whole documents, not summaries
	filters []filter
}

// filter is a condition that a row must meet.
type filter struct {
	field string
	want  string // with equal: the value that the field must have
	equal bool   // else the field must be there
	not   bool   // turns the condition round
}

// readRows reads the query of a list. A parameter that it does not know is refused: a list that is longer than the client thinks is
// dangerous in the hands of one that then resets each device of it.
func (q *request) readRows() (r rows, err error) {
	paginate := true
	for k, v := range q.QueryArgs().All() {
		if e := r.read(string(k), string(v), &paginate); e != nil && err == nil {
			err = e
		}
	}
	if !paginate {
		r.size, r.start = 0, ""
	}
	return r, err
}

// read reads one parameter.
func (r *rows) read(name, value string, paginate *bool) error {
	yes := func(to *bool) error {
		if value != "true" && value != "false" {
			return httpd.Invalid(name, "Field must be true or false")
		}
		*to = value == "true"
		return nil
	}
	switch name {
	case "auth_token", "pretty_print", "_": // the last is how browsers' libraries pass by caches
		return nil
	case "paginate":
		return yes(paginate)
	case "full_docs":
		return yes(&r.full)
	case "ascending": // it is, always
		if value != "true" {
			return httpd.Invalid(name, "Field must be true: rows are sorted by id, the lowest first")
		}
		return nil
	case "page_size":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxPage {
			return httpd.Invalid(name, "Field must be a number of rows, 1 to "+strconv.Itoa(maxPage))
		}
		r.size = n
		return nil
	case "start_key":
		r.start = value
		return nil
	case "has_key", "key_missing":
		return r.add(name, filter{field: value, not: name == "key_missing"})
	}
	if field, ok := strings.CutPrefix(name, "filter_not_"); ok {
		return r.add(name, filter{field: field, want: value, equal: true, not: true})
	}
	if field, ok := strings.CutPrefix(name, "filter_"); ok && !slices.ContainsFunc(otherFilters, func(p string) bool { return strings.HasPrefix(field, p) }) {
		return r.add(name, filter{field: field, want: value, equal: true})
	}
	return httpd.Invalid(name, "Field is not known here; it must be one of paginate, page_size, start_key, full_docs, ascending, filter_FIELD, filter_not_FIELD, has_key, key_missing")
}

// otherFilters are how the names of filters begin that later releases of Kazoo have. They would be read as fields.
var otherFilters = []string{"any_", "none_", "array_intersect_"}

// add adds a filter.
func (r *rows) add(name string, f filter) error {
	if f.field == "" || strings.HasPrefix(f.field, ".") || strings.HasSuffix(f.field, ".") || strings.Contains(f.field, "..") {
		return httpd.Invalid(name, "Field must name a field, such as owner_id or sip.username")
	}
	r.filters = append(r.filters, f)
	return nil
}

// take says whether an entry meets all conditions. shown is what people may see of it.
func (r *rows) take(e *directory.Entry, shown map[string]any) bool {
	for _, f := range r.filters {
		v := value(e, shown, f.field)
		met := v != nil
		if f.equal {
			met = met && textOf(v) == f.want
			if e.Kind == directory.Devices && f.field == "owner_id" { // who is logged in at a device counts as its user
				met = met || e.UsedBy(f.want)
			}
		}
		if met == f.not {
			return false
		}
	}
	return true
}

// value returns a field of an entry as a row shows it; nil: there is none. A row shows some fields that the entry does not have.
// Whether an entry is enabled is known of every kind, though only the rows of devices show it. shown is what people may see of the
// entry.
func value(e *directory.Entry, shown map[string]any, field string) any {
	v := (&directory.Entry{Fields: shown}).Field(field)
	switch {
	case field == "enabled":
		return e.Enabled()
	case e.Kind == directory.Devices && field == "username":
		v = e.Text("sip.username")
	case e.Kind == directory.Users && field == "name" && (v == nil || v == ""):
		v = strings.TrimSpace(e.Text("first_name") + " " + e.Text("last_name"))
	default:
		return v
	}
	if v == "" {
		return nil
	}
	return v
}

// textOf returns a value as a query writes it. Lists and objects have no such form.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case jsontext.Value: // a number
		return string(v)
	}
	return "\x00"
}

// row returns an entry as a row of a list: whole, or as Kazoo's views make it.
func (r *rows) row(e *directory.Entry, shown map[string]any) map[string]any {
	if r.full {
		return shown
	}
	out := map[string]any{}
	for _, name := range map[string][]string{directory.Accounts: {"id", "name", "realm"},
		directory.Users:   {"id", "name", "first_name", "last_name", "username", "email", "presence_id"},
		directory.Devices: {"id", "name", "owner_id", "username", "mac_address", "device_type", "enabled", "presence_id"}}[e.Kind] {
		if v := value(e, shown, name); v != nil {
			out[name] = v
		}
	}
	return out
}

// list answers with those of the entries that the client asks for, sorted by id. A large answer is streamed: the entries are in memory
// anyway, and their JSON is made while the client reads.
func (q *request) list(entries []*directory.Entry) error {
	r, err := q.readRows()
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b *directory.Entry) int { return strings.Compare(a.ID, b.ID) })
	w := &rowWriter{rows: r, left: entries, page: httpd.Page{Start: r.start}}
	q.Page = &w.page
	body := append(q.Begin(), '[')
	for w.next() {
		if body, err = w.append(body); err != nil {
			return err
		}
		if len(body) > streamFrom {
			q.streamRows(body, w)
			return nil
		}
	}
	q.Next = w.after
	q.End(200, append(body, ']'))
	return nil
}

// streamRows answers with a large list: with head, and then with the rows that are left.
func (q *request) streamRows(head []byte, w *rowWriter) {
	revision := strconv.FormatUint(q.server.cfg.Directory.Revision(), 16)
	broken := false
	q.Stream(head, func(put func([]byte)) httpd.Tail {
		var chunk []byte
		for !broken && w.next() {
			if chunk, _ = w.append(chunk); len(chunk) > chunkSize {
				put(chunk)
				chunk = chunk[:0]
			}
		}
		return httpd.Tail{Data: append(chunk, ']'), Revision: revision, Next: w.after, Page: &w.page}
	}, func() { broken = true })
}

// rowWriter writes the rows of a list one by one.
type rowWriter struct {
	rows
	left  []*directory.Entry // sorted by id
	page  httpd.Page
	after string // the id of the first row of the next page; "": there is none

	entry *directory.Entry // the row to be written
	shown map[string]any
}

// next goes on to the next row. At the end of the page it returns false.
func (w *rowWriter) next() bool {
	for ; len(w.left) > 0; w.left = w.left[1:] {
		w.entry = w.left[0]
		if w.entry.ID < w.start {
			continue
		}
		if w.shown = public(w.entry); !w.take(w.entry, w.shown) {
			continue
		}
		if w.size > 0 && w.page.Size == w.size {
			w.after = w.entry.ID
			return false
		}
		if w.page.Size == 0 && w.page.Start == "" {
			w.page.Start = w.entry.ID
		}
		w.left = w.left[1:]
		return true
	}
	return false
}

// append appends the row.
func (w *rowWriter) append(to []byte) ([]byte, error) {
	row, err := json.Marshal(w.row(w.entry, w.shown), json.Deterministic(true))
	if err != nil {
		return to, err
	}
	if w.page.Size > 0 {
		to = append(to, ',')
	}
	w.page.Size++
	return append(to, row...), nil
}

// Package profile is the table of what kinds of phones need in the documents that they are sent.
package profile

// Profile is one row of the table.
type Profile struct {
	Name string
}

// Table is the table.
type Table struct{}

var def = &Profile{Name: "default"}

// For returns the profile of a phone by its User-Agent.
func (t *Table) For(agent []byte) *Profile { return def }

// Named returns the profile with a name; the default when there is none.
func (t *Table) Named(name string) *Profile { return def }

// Document appends the document as the phone needs it.
func (p *Profile) Document(dst []byte, contentType string, body []byte) (string, []byte) {
	return contentType, append(dst, body...)
}

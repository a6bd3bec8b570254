package publication

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// The bounds of an XML document.
const (
	maxDepth    = 16
	maxElements = 4096
)

// element is an element of an XML document: its name, attributes without a namespace, elements and text.
type element struct {
	name  xml.Name
	attrs map[string]string
	text  string // of its own, without white space at both ends
	inner []*element
}

// parse reads an XML document of one root element. It takes no DTD, and so no entities but the predefined ones.
func parse(data []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	var open []*element
	var texts [][]byte // of the open elements
	var root *element
	for count := 0; ; {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && root != nil && len(open) == 0:
			return root, nil
		case errors.Is(err, io.EOF):
			return nil, wrong("the XML document ends too early")
		case err != nil:
			return nil, wrong("the XML document can't be read: %.200s", strings.TrimPrefix(err.Error(), "XML syntax error on "))
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, wrong("the XML document has a DTD; it must have none")
		case xml.StartElement:
			e := &element{name: t.Name, attrs: make(map[string]string, len(t.Attr))}
			for _, a := range t.Attr {
				if a.Name.Space == "" {
					e.attrs[a.Name.Local] = a.Value
				}
			}
			switch count++; {
			case count > maxElements:
				return nil, wrong("the XML document has more than %d elements", maxElements)
			case len(open) == maxDepth:
				return nil, wrong("the XML document is more than %d elements deep", maxDepth)
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.inner = append(parent.inner, e)
			case root != nil:
				return nil, wrong("the XML document has more than one root element")
			default:
				root = e
			}
			open, texts = append(open, e), append(texts, nil)
		case xml.EndElement:
			last := len(open) - 1
			open[last].text = string(bytes.TrimSpace(texts[last]))
			open, texts = open[:last], texts[:last]
		case xml.CharData:
			if last := len(texts) - 1; last >= 0 {
				texts[last] = append(texts[last], t...)
			}
		}
	}
}

// root reads an XML document whose root element must have this name in this namespace.
func root(data []byte, space, name string) (*element, error) {
	e, err := parse(data)
	if err == nil && (e.name.Local != name || e.name.Space != space) {
		err = wrong("the root element is %.60q of the namespace %.100q; it must be %s of %q", e.name.Local, e.name.Space, name, space)
	}
	return e, err
}

// all returns the elements of a name within the element, in its own namespace.
func (e *element) all(name string) (found []*element) {
	for _, i := range e.inner {
		if i.name.Local == name && i.name.Space == e.name.Space {
			found = append(found, i)
		}
	}
	return found
}

// first returns the first element of a name; an empty one if there is none.
func (e *element) first(name string) *element {
	if found := e.all(name); len(found) > 0 {
		return found[0]
	}
	return &element{name: xml.Name{Space: e.name.Space}}
}

// Command reference writes docs/http-reference.md, the reference of the HTTP API, from transport/rest/openapi.yaml: make docs. It writes what the
// document says and knows nothing of the API itself.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v3"
)

func main() {
	page, err := reference("../../transport/rest/openapi.yaml")
	if err == nil {
		err = os.WriteFile("../../docs/http-reference.md", page, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// verbs are the verbs in the order in which the page has them.
var verbs = []string{"GET", "PUT", "POST", "PATCH", "DELETE"}

// writer collects the page.
type writer struct {
	bytes.Buffer
	doc *openapi3.T
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.Buffer, format+"\n", args...) }

// reference returns the page of a document.
func reference(file string) ([]byte, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		return nil, err
	}
	var order struct {
		Paths      yaml.Node `yaml:"paths"`
		Components struct {
			Schemas yaml.Node `yaml:"schemas"`
		} `yaml:"components"`
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, &order)
	}
	if err != nil {
		return nil, err
	}
	w := &writer{doc: doc}
	w.line("# HTTP reference\n")
	w.line("This page is generated from [openapi.yaml](../transport/rest/openapi.yaml) by `make docs`; do not edit it. [contract/http.md](contract/http.md) says what the answers mean, with a whole")
	w.line("request and answer for each path, and [recipes.md](recipes.md) has lines to paste.\n")
	w.line("%s\n", doc.Info.Description)
	w.line("Every operation but those that say so needs a token: in the header `X-Auth-Token`, as `Authorization: Bearer`, or as the query or field `auth_token`.")
	w.line("The examples of answers leave out the fields that all answers have: they are those of [Envelope](#envelope).\n")
	w.line("## Operations")
	for _, path := range names(&order.Paths) {
		item := doc.Paths.Value(path)
		for _, verb := range verbs {
			if o := item.GetOperation(verb); o != nil {
				w.operation(path, verb, item, o)
			}
		}
	}
	w.line("\n## Errors\n\nEvery error has the envelope [Error](#error).")
	w.line("\n| code | `message` | when |\n|---|---|---|")
	answers := doc.Components.Responses
	for _, name := range sortedByCode(answers) {
		a := answers[name].Value
		if example := exampleOf(a.Content); example != nil {
			w.line("| %v | `%v` | %s |", example["error"], example["message"], cell(*a.Description))
		}
	}
	w.line("\n## Schemas")
	for _, name := range names(&order.Components.Schemas) {
		w.schema(name, doc.Components.Schemas[name].Value)
	}
	return w.Bytes(), nil
}

// names returns the keys of a mapping in their order.
func names(n *yaml.Node) (all []string) {
	for i := 0; i < len(n.Content); i += 2 {
		all = append(all, n.Content[i].Value)
	}
	return all
}

// exampleOf returns the example of a body, or nil.
func exampleOf(c openapi3.Content) map[string]any {
	if m := c.Get("application/json"); m != nil {
		e, _ := m.Example.(map[string]any)
		return e
	}
	return nil
}

// sortedByCode returns the names of shared answers, sorted by the code of their example.
func sortedByCode(answers openapi3.ResponseBodies) (all []string) {
	for name := range answers {
		all = append(all, name)
	}
	code := func(name string) string { return fmt.Sprint(exampleOf(answers[name].Value.Content)["error"]) }
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(code(a)+a, code(b)+b) })
	return all
}

// operation writes one verb of one path.
func (w *writer) operation(path, verb string, item *openapi3.PathItem, o *openapi3.Operation) {
	w.line("\n### `%s %s`\n\n%s", verb, path, o.Summary)
	if o.Security != nil && len(*o.Security) == 0 {
		w.line("It needs no token.")
	}
	w.line("The operation is called `%s`.", o.OperationID)
	if all := append(slices.Clone(item.Parameters), o.Parameters...); len(all) > 0 {
		w.line("\n| parameter | in | type | |\n|---|---|---|---|")
		for _, r := range all {
			p := r.Value
			w.line("| `%s` | %s | %s | %s |", p.Name, p.In, w.kind(p.Schema), cell(p.Description))
		}
	}
	if o.RequestBody != nil {
		body := o.RequestBody.Value.Content.Get("application/json")
		w.line("\nThe body's `data` is %s:\n", w.kind(body.Schema.Value.Properties["data"]))
		w.json(body.Example)
	}
	w.line("\n| code | answer | |\n|---|---|---|")
	codes := o.Responses.Map()
	var sorted []string
	for code := range codes {
		sorted = append(sorted, code)
	}
	slices.Sort(sorted)
	var failures []string
	for _, code := range sorted {
		if code >= "400" {
			failures = append(failures, code)
			continue
		}
		kind, a := "", codes[code].Value
		if m := a.Content.Get("application/json"); m != nil {
			kind = w.kind(m.Schema)
		} else {
			for media := range a.Content {
				kind = "`" + media + "`"
			}
		}
		w.line("| %s | %s | %s |", code, kind, cell(*a.Description))
	}
	w.line("\nIts [errors](#errors) are %s.", strings.Join(failures, ", "))
	for _, code := range sorted {
		if m := codes[code].Value.Content.Get("application/json"); code < "300" && m != nil {
			w.line("")
			w.json(withoutEnvelope(m.Example, o.Security))
		}
	}
}

// withoutEnvelope returns an example without the fields that all answers have. The token is left where the operation gives one.
func withoutEnvelope(example any, security *openapi3.SecurityRequirements) any {
	whole, _ := example.(map[string]any)
	rest := map[string]any{}
	for name, v := range whole {
		if login := name == "auth_token" && security != nil && v != "undefined"; login || !slices.Contains([]string{"auth_token", "node", "request_id", "revision", "status", "timestamp", "version"}, name) {
			rest[name] = v
		}
	}
	return rest
}

// json writes an example.
func (w *writer) json(example any) {
	text, _ := json.MarshalIndent(example, "", "  ") // it was read from YAML and has nothing that JSON does not have
	w.line("```json\n%s\n```", text)
}

// cell is a text in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// kind says in words what a schema allows.
func (w *writer) kind(r *openapi3.SchemaRef) string {
	if r == nil {
		return ""
	}
	if name, found := strings.CutPrefix(r.Ref, "#/components/schemas/"); found {
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	s := r.Value
	var alternatives []string
	for _, o := range append(slices.Clone(s.OneOf), s.AllOf...) {
		alternatives = append(alternatives, w.kind(o))
	}
	text := strings.Join(alternatives, " or ")
	switch {
	case len(alternatives) > 0:
	case s.Type.Is("array"):
		text = "array of " + w.kind(s.Items)
	case s.Type.Is("object") && s.AdditionalProperties.Schema != nil && len(s.Properties) == 0:
		if of := w.kind(s.AdditionalProperties.Schema); of != "" {
			text = "object of " + of + " by name"
		} else {
			text = "object"
		}
	case s.Type != nil:
		text = strings.Join(s.Type.Slice(), " or ")
	default:
		text = "any"
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprintf("`%v`", v))
		}
		text += ": " + strings.Join(values, ", ")
	}
	if s.Nullable {
		text += " or null"
	}
	switch {
	case s.Min != nil && s.Max != nil:
		text += fmt.Sprintf(", %v to %v", *s.Min, *s.Max)
	case s.MaxLength != nil:
		text += fmt.Sprintf(", at most %d characters", *s.MaxLength)
	}
	return cell(text)
}

// schema writes the fields of a schema. Those of allOf are its own.
func (w *writer) schema(name string, s *openapi3.Schema) {
	w.line("\n### %s\n", name)
	if s.Description != "" {
		w.line("%s\n", s.Description)
	}
	fields, begun := map[string]bool{}, false
	var write func(s *openapi3.Schema)
	write = func(s *openapi3.Schema) {
		for _, part := range s.AllOf {
			if part.Ref != "" {
				w.line("It has the fields of %s, and:\n", w.kind(part))
			} else {
				write(part.Value)
			}
		}
		var sorted []string
		for field := range s.Properties {
			sorted = append(sorted, field)
		}
		slices.Sort(sorted)
		for _, field := range sorted {
			if !begun {
				begun = true
				w.line("| field | type | |\n|---|---|---|")
			}
			fields[field] = true
			p := s.Properties[field]
			var notes []string
			if slices.Contains(s.Required, field) {
				notes = append(notes, "Required.")
			}
			if p.Value.ReadOnly {
				notes = append(notes, "Only in answers.")
			}
			if p.Value.WriteOnly {
				notes = append(notes, "Only in requests.")
			}
			if p.Ref == "" && p.Value.Description != "" {
				notes = append(notes, p.Value.Description)
			}
			w.line("| `%s` | %s | %s |", field, w.kind(p), cell(strings.Join(notes, " ")))
		}
	}
	write(s)
	if len(fields) == 0 {
		w.line("%s", w.kind(&openapi3.SchemaRef{Value: s}))
	}
	if free := s.AdditionalProperties.Has; free != nil && *free {
		w.line("\nFields that are not named here are kept.")
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"lamplight/cluster/directory"
)

// file is the configuration file, or the part of it for one command. It holds values of flags, such as `http: ":8000"`, and parts for
// the commands below, such as `serve: {http: ":8000"}`. Values stay nodes of YAML: their text is what was written, where YAML would
// make 7 of 007.
type file struct {
	lines map[string]int        // where each name stands
	flags map[string]*yaml.Node // scalars and lists
	parts map[string]*file
}

// wrongFile returns an error about a line of the configuration file. The parser returns it, so the exit code is that of wrong usage.
func wrongFile(line int, format string, a ...any) error {
	return fmt.Errorf("the configuration file, line %d: %s", line, fmt.Sprintf(format, a...))
}

// yamlFile reads a configuration file.
func yamlFile(r io.Reader) (kong.Resolver, error) {
	d := yaml.NewDecoder(r)
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return &file{}, nil
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, wrongFile(more.Line, "a second document begins here; the file must have one")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return &file{}, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, wrongFile(top.Line, "the file must hold names of flags with their values, such as http: 127.0.0.1:8000")
	}
	return readPart(top)
}

// readPart reads a mapping.
func readPart(mapping *yaml.Node) (*file, error) {
	f := &file{map[string]int{}, map[string]*yaml.Node{}, map[string]*file{}}
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if value.Kind == yaml.AliasNode {
			if value = value.Alias; value.Kind == yaml.MappingNode { // it could hold itself
				return nil, wrongFile(key.Line, "%s is an alias of names with values; write them out", key.Value)
			}
		}
		if line := f.lines[key.Value]; line > 0 {
			return nil, wrongFile(key.Line, "%s stands in line %d already", key.Value, line)
		}
		f.lines[key.Value] = key.Line
		if value.Kind != yaml.MappingNode {
			f.flags[key.Value] = value
			continue
		}
		part, err := readPart(value)
		if err != nil {
			return nil, err
		}
		f.parts[key.Value] = part
	}
	return f, nil
}

// Validate implements kong.Resolver. It refuses names that no command has: with a typing error a flag would silently keep its
// default.
func (f *file) Validate(app *kong.Application) error { return f.validate(app.Node) }

// validate checks the part of a command.
func (f *file) validate(command *kong.Node) error {
	for _, name := range f.names() {
		below := childOf(command, name)
		part, isPart := f.parts[name]
		known := hasFlag(command, name)
		switch {
		case isPart && below != nil:
			if err := part.validate(below); err != nil {
				return err
			}
		case isPart && known:
			return wrongFile(f.lines[name], "%s is a flag of %s; it takes a value, not names with values", name, commandPath(command))
		case !isPart && below != nil && !known:
			return wrongFile(f.lines[name], "%s is a command; it takes names of its flags with their values, such as {%s: …}", commandPath(below), someFlag(below))
		case !isPart && known:
		default:
			return wrongFile(f.lines[name], "%s has no flag or command %s%s", commandPath(command), name, meant(name, isPart, command))
		}
	}
	return nil
}

// names returns the names in the order of their lines.
func (f *file) names() []string {
	all := sorted(f.lines)
	slices.SortStableFunc(all, func(a, b string) int { return f.lines[a] - f.lines[b] })
	return all
}

// meant asks whether a name is mistyped for one that may stand in the part of a command; "": it looks like none. isPart says that the
// name has a part of its own, so that it should be a command.
func meant(name string, isPart bool, command *kong.Node) string {
	words := flagsOf(command)
	if isPart {
		words = commandsOf(command)
	}
	if near := directory.Nearest(name, words); near != "" {
		return "; is " + near + " meant?"
	}
	app := command
	for app.Parent != nil {
		app = app.Parent
	}
	if hasFlag(app, name) {
		return "; other commands have it: write it at the top of the file, or below one of them"
	}
	return ""
}

// flagsOf returns the names of the flags that a configuration file may set for a command and those below it.
func flagsOf(n *kong.Node) (names []string) {
	for _, f := range n.Flags {
		if f.Name != "help" && f.Name != "version" && f.Name != "config" {
			names = append(names, f.Name)
		}
	}
	for _, below := range n.Children {
		names = append(names, flagsOf(below)...)
	}
	return names
}

// hasFlag says whether a command or one below it has a flag of that name, which a configuration file may set.
func hasFlag(n *kong.Node, name string) bool { return slices.Contains(flagsOf(n), name) }

// someFlag returns the name of a flag, as an example.
func someFlag(n *kong.Node) string {
	if names := flagsOf(n); len(names) > 0 {
		return names[0]
	}
	return "flag"
}

// Resolve implements kong.Resolver: it returns the value of a flag in the file, or nil. The part of the command itself wins over that
// of a command above it, which wins over the top of the file. A variable of the environment wins over all of it, so then Resolve
// returns nil too.
func (f *file) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, variable := range flag.Envs {
		if _, set := os.LookupEnv(variable); set {
			return nil, nil
		}
	}
	node, line := f.find(parent.Node(), flag.Name)
	if node == nil {
		return nil, nil
	}
	return given(flag, node, line)
}

// find returns the value of a command's flag, and the line of its name; nil: the file has none.
func (f *file) find(command *kong.Node, flag string) (value *yaml.Node, line int) {
	var path []string
	for n := command; n.Parent != nil; n = n.Parent {
		path = append(path, n.Name)
	}
	if len(path) == 1 && (path[0] == "check-config" || path[0] == "doctor") { // they look at the values that serve would use
		path[0] = "serve"
	}
	slices.Reverse(path)
	part := f
	value, line = f.flags[flag], f.lines[flag]
	for _, name := range path {
		if part = part.parts[name]; part == nil {
			break
		}
		if v, ok := part.flags[flag]; ok {
			value, line = v, part.lines[flag]
		}
	}
	return value, line
}

// given returns the value of a flag as it would be written on the command line: a list with commas. line is that of the flag's name.
func given(flag *kong.Flag, value *yaml.Node, line int) (any, error) {
	if value.Kind == yaml.ScalarNode {
		if value.Tag == "!!null" {
			return nil, wrongFile(line, "%s is without a value: give one, or leave the line out", flag.Name)
		}
		return value.Value, nil
	}
	if !flag.IsSlice() {
		return nil, wrongFile(line, "%s takes one value, not a list", flag.Name)
	}
	var all []string
	for _, v := range value.Content {
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			return nil, wrongFile(v.Line, "%s takes a list of values, and this is none", flag.Name)
		}
		all = append(all, v.Value)
	}
	return kong.JoinEscaped(all, flag.Tag.Sep), nil
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string   `arg:"" enum:"bash,zsh,fish,words" help:"bash, zsh or fish. words is what their scripts ask: it prints what may follow."`
	Words []string `arg:"" optional:"" help:"For words: the words after lamplight, the last of which is being written. Put -- before them."`
}

// The scripts ask the program for words, so they know its commands and flags without being written again.
var completionScripts = map[string]string{
	// bash takes a word apart at = and :, and replaces what stands behind them.
	"bash": `_lamplight() {
	local IFS=$'\n' word glue= words=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if [[ ${#words[@]} -gt 0 && ( -n $glue || $word == [=:]* ) ]]; then
			words[${#words[@]}-1]+=$word
		else
			words+=("$word")
		fi
		glue=
		[[ $word == *[=:] ]] && glue=1
	done
	COMPREPLY=($(lamplight completion words -- "${words[@]}" 2>/dev/null))
	[[ $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#--*=}")
}
complete -o default -F _lamplight lamplight
`,
	"zsh": `#compdef lamplight
_lamplight() {
	local -a found
	found=(${(f)"$(lamplight completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then compadd -a found; else _files; fi
}
compdef _lamplight lamplight
`,
	"fish": `complete -c lamplight -a '(lamplight completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

// Run implements completion.
func (c *completionCommand) Run(app *kong.Kong, out io.Writer) error {
	if c.Shell != "words" {
		_, err := io.WriteString(out, completionScripts[c.Shell])
		return err
	}
	for _, w := range complete(app.Model.Node, c.Words) {
		fmt.Fprintln(out, w)
	}
	return nil
}

// complete returns what the last of the words may become, in alphabetical order. Nothing means that it is a file or a free text.
func complete(node *kong.Node, words []string) (all []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var waiting *kong.Flag // a flag whose value is the next word
	arguments := 0
	shown := node // for help: the command whose name stands behind it so far
	for _, w := range words[:len(words)-1] {
		switch {
		case waiting != nil:
			waiting = nil
		case strings.HasPrefix(w, "-"):
			if f := flagOf(node, w); f != nil && !f.IsBool() && !strings.Contains(w, "=") {
				waiting = f
			}
		case childOf(node, w) != nil:
			node = childOf(node, w)
		default:
			arguments++
			if node.Name == "help" {
				shown = childOf(shown, w)
			}
			if shown == nil {
				return nil
			}
		}
	}
	flag, _, assigned := strings.Cut(last, "=")
	switch {
	case waiting != nil:
		all = valuesOf(waiting.Value)
	case strings.HasPrefix(last, "-") && assigned:
		if f := flagOf(node, flag); f != nil {
			for _, v := range valuesOf(f.Value) {
				all = append(all, flag+"="+v)
			}
		}
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				all = append(all, "--"+f.Name)
			}
		}
	case node.Name == "help":
		all = commandsOf(shown)
	case arguments < len(node.Positional):
		all = valuesOf(node.Positional[arguments])
	default:
		all = commandsOf(node)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(w string) bool { return w == "" || !strings.HasPrefix(w, last) })
	slices.Sort(all)
	return all
}

// valuesOf returns the values that a flag or argument can have, if they are few.
func valuesOf(v *kong.Value) []string {
	if w, ok := v.Target.Interface().(word); ok {
		return w.words()
	}
	if v.Flag != nil && v.IsBool() {
		return []string{"true", "false"}
	}
	return v.EnumSlice()
}

// commandsOf returns the names of the commands below one.
func commandsOf(node *kong.Node) (names []string) {
	for _, child := range node.Children {
		if !child.Hidden {
			names = append(names, child.Name)
		}
	}
	return names
}

// flagOf returns the flag that a word names; nil: the command has no such flag.
func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			if f.Name == name || f.Short != 0 && string(f.Short) == name {
				return f
			}
		}
	}
	return nil
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// versionFlag is --version: it prints the version and ends the program.
type versionFlag bool

// BeforeReset implements one of kong's hooks, which come before the rest of the command line is checked.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	err := versionCommand{}.Run(app.Stdout)
	app.Exit(0)
	return err
}

type versionCommand struct{}

// Run implements version.
func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "lamplight", version)
	return err
}

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as presence set. Without one, all commands are listed."`
	Man     bool     `help:"Print the man page of lamplight instead, as roff."`
}

// Run implements help.
func (c *helpCommand) Run(app *kong.Kong, out io.Writer) error {
	if c.Man {
		_, err := io.WriteString(out, manPage(app.Model.Node))
		return err
	}
	node := app.Model.Node
	for _, name := range c.Command {
		next := childOf(node, name)
		if next == nil {
			return fmt.Errorf("%w: %s is no command of %s", errUsage, name, node.FullPath())
		}
		node = next
	}
	line, err := kong.Trace(app, c.Command)
	if err != nil {
		return err
	}
	return line.PrintUsage(false)
}

// childOf returns the command of a name below another one; nil: there is none.
func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// tryHelp returns the command whose help explains what was wrong with a command line.
func tryHelp(line *kong.Context) string {
	path := "lamplight"
	if line != nil && line.Selected() != nil {
		path = commandPath(line.Selected())
	}
	return "Try: " + path + " --help"
}

// commandPath returns the names of a command and those above it, such as "lamplight presence set".
func commandPath(node *kong.Node) string {
	if node.Parent == nil {
		return node.Name
	}
	return commandPath(node.Parent) + " " + node.Name
}

// synopsis returns how a command is called.
func synopsis(node *kong.Node) string {
	words := []string{commandPath(node)}
	for _, a := range node.Positional {
		words = append(words, a.Summary())
	}
	return strings.Join(append(words, "[flags]"), " ")
}

// manPage returns the manual of the program for man(1). A flag that several commands have is described with the first of them.
func manPage(app *kong.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH LAMPLIGHT 1 \"\" \"lamplight %s\" \"Lamplight\"\n.SH NAME\nlamplight \\- presence server for telephone carriers\n", roff(version))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B lamplight\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n%s\n.PP\n%s\n", roff(app.Help),
		roff("A flag on the command line wins over its variable, LAMPLIGHT_ and the name of the flag in upper case, which wins over the configuration file (--config)."))
	b.WriteString(".SH COMMANDS\n")
	described := map[string]string{} // a flag and its help: the command with which it is described
	for _, leaf := range app.Leaves(true) {
		fmt.Fprintf(&b, ".SS %s\n%s\n", roff(synopsis(leaf)), roff(leaf.Help))
		for _, a := range leaf.Positional {
			fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(a.Summary()), roff(a.Help))
		}
		var as []string // what other commands describe, in their order
		also := map[string][]string{}
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				key := f.Name + "\x00" + f.Help
				if where := described[key]; where != "" {
					if also[where] == nil {
						as = append(as, where)
					}
					also[where] = append(also[where], "--"+f.Name)
					continue
				}
				described[key] = commandPath(leaf)
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(f.String()), roff(f.Help+defaultText(f)))
			}
		}
		for _, where := range as {
			fmt.Fprintf(&b, ".PP\n%s\n", roff("As of "+where+": "+strings.Join(also[where], ", ")+"."))
		}
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range exitCodes {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", s.code, roff(s.meaning))
	}
	return b.String()
}

// defaultText says what the default of a flag is, if its help does not.
func defaultText(f *kong.Flag) string {
	if f.Default == "" || strings.Contains(f.Help, "(default") {
		return ""
	}
	return " Default: " + f.Default + "."
}

// roff returns a text as the source of a man page has it: no character of it is a command.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

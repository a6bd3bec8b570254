package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"lamplight/cluster/directory"
)

type importCommand struct {
	File   string `arg:"" help:"The JSON file, or - for standard input."`
	DryRun bool   `help:"Check the whole file and say what would be created and changed, and write nothing."`
	natsFlags
}

const (
	importTime   = 30 * time.Minute // how long the whole import may take
	electionTime = 10 * time.Second // how long the NATS servers may take to elect a leader first
	maxWarnings  = 20               // remarks about a file that are printed
)

// Run implements import.
func (c *importCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	file, err := c.read()
	if err != nil {
		return c.at(err)
	}
	conn, err := c.connect("lamplight import")
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), importTime)
	defer cancel()
	d := directory.New(directory.Config{Conn: conn, Prefix: c.prefix(), Log: slog.New(slog.DiscardHandler), OpenTime: electionTime, DryRun: c.DryRun})
	if err := d.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = d.Stop(ctx) }()
	c.warn(file.Warnings())
	shown := newProgress(os.Stderr)
	file.Progress = importProgress(shown)
	n, err := d.Import(ctx, file)
	shown.Done()
	words, refused := "%d created, %d changed, %d as they were", "; %d accounts were refused\n"
	if c.DryRun {
		words, refused = "%d would be created, %d changed, %d are as they are in the file; nothing was written", "; %d accounts would be refused\n"
	}
	fmt.Fprintf(out, words, n.Created, n.Changed, n.Same)
	if n.Refused > 0 {
		fmt.Fprintf(out, refused, n.Refused)
	} else {
		fmt.Fprintln(out)
	}
	return c.at(err)
}

// read reads the file.
func (c *importCommand) read() (directory.Import, error) {
	if c.File == "-" {
		return directory.Read(os.Stdin)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return directory.Import{}, named(err)
	}
	defer f.Close()
	return directory.Read(f)
}

// at puts the file and the line before an error that is about the file. It prints the mistakes of a file that was read, each with
// its line, and returns their number, with another error if there is one.
func (c *importCommand) at(err error) error {
	all, ok := errors.AsType[*directory.FileErrors](err)
	if !ok {
		if e, ok := errors.AsType[*directory.FileError](err); ok {
			return fmt.Errorf("%s:%d: %w", c.File, e.Line, err)
		}
		return err
	}
	for _, e := range all.First {
		fmt.Fprintf(os.Stderr, "%s:%d: %v\n", c.File, e.Line, e)
	}
	if all.More > 0 {
		fmt.Fprintf(os.Stderr, "… and %d more mistakes\n", all.More)
	}
	mistakes := fmt.Errorf("%s has mistakes: %d; an account with a mistake is refused as a whole", c.File, len(all.First)+all.More)
	if all.Ended != nil {
		return fmt.Errorf("%w; %w", all.Ended, mistakes)
	}
	return mistakes
}

// warn prints remarks about the file.
func (c *importCommand) warn(all []directory.Warning) {
	for i, w := range all {
		if i == maxWarnings {
			fmt.Fprintf(os.Stderr, "… and %d more warnings\n", len(all)-i)
			return
		}
		fmt.Fprintf(os.Stderr, "%s:%d: warning: %s\n", c.File, w.Line, w.Text)
	}
}

// importProgress shows how many entries are done: as a bar on a terminal, else with a line every few seconds.
func importProgress(p *progress) func(done, of int) {
	last := time.Now()
	return func(done, of int) {
		if p.terminal && p.bar == nil {
			p.Phase("importing", of)
		}
		p.At(done, "")
		if !p.terminal && time.Since(last) > 2*time.Second {
			last = time.Now()
			fmt.Fprintf(p.out, "%d of %d entries\n", done, of)
		}
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"lamplight/cluster/directory"
)

type importCommand struct {
	File string `arg:"" help:"The JSON file, or - for standard input."`
	natsFlags
}

const (
	importTime   = 30 * time.Minute // how long the whole import may take
	electionTime = 10 * time.Second // how long the NATS servers may take to elect a leader first
)

// Run implements import.
func (c *importCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	file, err := directory.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	conn, err := c.connect("lamplight import")
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), importTime)
	defer cancel()
	d := directory.New(directory.Config{Conn: conn, Prefix: c.prefix(), Log: slog.New(slog.DiscardHandler)})
	start, stop := context.WithTimeout(ctx, electionTime)
	defer stop()
	if err := d.Start(start); err != nil {
		return err
	}
	defer func() { _ = d.Stop(ctx) }()
	n, err := d.Import(ctx, file)
	fmt.Fprintf(out, "%d created, %d changed, %d as they were\n", n.Created, n.Changed, n.Same)
	return err
}

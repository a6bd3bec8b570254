package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"lamplight/cluster/backup"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
)

type backupCommand struct {
	File string `arg:"" optional:"" default:"-" help:"The file to write, or - for standard output."`
	natsFlags
}

// Run implements backup. It writes a temporary file first, so that the file appears only when it is whole.
func (c *backupCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.File == "-" {
		return c.write(ctx, out)
	}
	f, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+".part-*") // readable by its owner only
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err = c.write(ctx, f); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), c.File)
}

// write writes the backup to out.
func (c *backupCommand) write(ctx context.Context, out io.Writer) error {
	conn, err := c.connect("lamplight backup")
	if err != nil {
		return err
	}
	defer conn.Close()
	w, err := backup.NewWriter(out, version, time.Now())
	if err != nil {
		return err
	}
	parts := map[backup.Part]int{}
	add := func(e backup.Entry) error {
		parts[e.Part]++
		return w.Add(e)
	}
	// The journal comes first. An account that is made meanwhile may then be in the backup without its records, which does no harm.
	// The other way round its records could be there without the account, and a node ends the subscriptions of a realm without one.
	if err := journal.Backup(ctx, journal.Config{Conn: conn, Prefix: c.prefix()}, add); err != nil {
		return err
	}
	if err := directory.Backup(ctx, directory.Config{Conn: conn, Prefix: c.prefix()}, add); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d records and claims, %d entries of the directory\n", parts[backup.Journal], parts[backup.Directory])
	return nil
}

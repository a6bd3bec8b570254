package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	File  string `arg:"" optional:"" default:"-" help:"The file to write, or - for standard output."`
	Force bool   `help:"Replace the file if it exists."`
	natsFlags
}

// mayWrite refuses a file that exists, and everything that is no plain file: the backup would take its place.
func (c *backupCommand) mayWrite() error {
	switch i, err := os.Lstat(c.File); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !i.Mode().IsRegular():
		return fmt.Errorf("%s is not a plain file: give the name of a file, or write to standard output with -", c.File)
	case !c.Force:
		return fmt.Errorf("%s exists already: give another name, or replace it with --force", c.File)
	}
	return nil
}

// Run implements backup. It writes a temporary file first, so that the file appears only when it is whole.
func (c *backupCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.File == "" {
		return fmt.Errorf("%w: the name of the file is empty; give a name, or - for standard output", errUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.File == "-" {
		if isTerminal(out) {
			return fmt.Errorf("%w: a backup is not written to a terminal: give the name of a file, or redirect standard output", errUsage)
		}
		return c.write(ctx, out)
	}
	if err := c.mayWrite(); err != nil {
		return err
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
	if err := c.mayWrite(); err != nil { // somebody may have made the file meanwhile
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

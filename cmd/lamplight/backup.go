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
	Create backupCreateCommand `cmd:"" default:"withargs" help:"Save the journal and the directory in one file, or in a new file of a directory. The nodes may go on serving. The file holds secrets. lamplight backup FILE is short for it."`
	Verify backupVerifyCommand `cmd:"" help:"Read a backup to its end, and say whether it is whole and what it holds. It needs no NATS."`
}

type backupCreateCommand struct {
	File  string `arg:"" optional:"" default:"-" help:"The file to write, or - for standard output."`
	Force bool   `help:"Replace the file if it exists."`
	Dir   string `placeholder:"DIR" help:"Write into this directory in the place of FILE, under a name with the time."`
	Keep  amount `default:"14" help:"With --dir: how many of its backups stay. Older ones are removed once the new one is whole."`
	natsFlags
}

// mayWrite refuses a file that exists, and everything that is no plain file: the backup would take its place.
func (c *backupCreateCommand) mayWrite() error {
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

// Run implements backup create.
func (c *backupCreateCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	switch {
	case c.File == "":
		return fmt.Errorf("%w: the name of the file is empty; give a name, or - for standard output", errUsage)
	case c.Dir != "" && c.File != "-":
		return fmt.Errorf("%w: FILE is %s and --dir is %s; give one of them", errUsage, c.File, c.Dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case c.Dir != "":
		c.File = filepath.Join(c.Dir, "lamplight-"+time.Now().UTC().Format("20060102T150405Z")+".backup")
		if err := c.save(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out, c.File)
		return prune(c.Dir, int(c.Keep))
	case c.File == "-" && isTerminal(out):
		return fmt.Errorf("%w: a backup is not written to a terminal: give the name of a file, or redirect standard output", errUsage)
	case c.File == "-":
		return c.write(ctx, out)
	}
	return c.save(ctx)
}

// save writes the file. It writes a temporary file first and reads it back, so that the file appears only when it is whole.
func (c *backupCreateCommand) save(ctx context.Context) error {
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
	if err == nil {
		if _, err = verify(f.Name()); err != nil {
			err = fmt.Errorf("what was written is not whole, and was removed: %w; see whether the disk is sound, and run the backup again", err)
		}
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
func (c *backupCreateCommand) write(ctx context.Context, out io.Writer) error {
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

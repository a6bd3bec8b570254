package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"lamplight/cluster/backup"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
)

type restoreCommand struct {
	File     string `arg:"" type:"path" help:"The file that lamplight backup wrote."`
	Replicas amount `placeholder:"N" help:"How many NATS servers keep a copy of the journal, 1 to 5 (default: 1, or 3 when NATS is a cluster)."`
	Streams  amount `placeholder:"N" help:"How many JetStream streams the journal has, 1 to 64 (default: 1, or 4 with several copies)."`
	Storage  string `enum:"file,memory" default:"file" help:"Where NATS keeps the journal: file or memory. It must be the --storage of the nodes."`
	natsFlags
}

// Run implements restore. The whole file is checked before anything is written.
func (c *restoreCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Replicas > 5 || c.Streams > 64 {
		return fmt.Errorf("%w: --replicas is %d and --streams is %d; they must be 1 to 5 and 1 to 64", errUsage, c.Replicas, c.Streams)
	}
	if _, err := verify(c.File); err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return named(err)
	}
	defer f.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := c.load(ctx, f)
	if errors.Is(err, backup.ErrOccupied) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w\nNothing is lost: no node serves a journal that is only half restored. Run the restore again", err)
	}
	fmt.Fprintf(out, "restored: %d records and claims, %d entries of the directory, saved %s\n", s.Journal, s.Directory, s.At.UTC().Format("2006-01-02 15:04:05 MST"))
	return nil
}

// load writes the entries of the backup to NATS.
func (c *restoreCommand) load(ctx context.Context, f io.Reader) (s backup.Summary, err error) {
	conn, err := c.connect("lamplight restore")
	if err != nil {
		return s, err
	}
	defer conn.Close()
	replicas := int(c.Replicas)
	if replicas == 0 {
		if replicas = 1; conn.ConnectedClusterName() != "" {
			replicas = 3
		}
	}
	j, err := journal.BeginRestore(ctx, journal.Config{Conn: conn, Prefix: c.prefix(), Memory: c.Storage == "memory", Replicas: replicas, Streams: int(c.Streams)})
	if err != nil {
		return s, err
	}
	d := directory.Config{Conn: conn, Prefix: c.prefix(), Memory: c.Storage == "memory", Replicas: replicas}
	if err := directory.PrepareRestore(ctx, d, journal.MadeByKey, j.ID()); err != nil {
		return s, err
	}
	if s, err = backup.Read(f, func(e backup.Entry) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e.Part == backup.Journal {
			return j.Put(e)
		}
		m, err := directory.RestoreMessage(d, e)
		if err != nil {
			return err
		}
		return j.Publish(m)
	}); err != nil {
		return s, err
	}
	return s, j.Finish(ctx)
}

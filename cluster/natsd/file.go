package natsd

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"

	"lamplight/cluster/subject"
)

// What a configuration file may not go below. The subjects of two names of 256 bytes, each encoded, and of a reply fit into
// minControlLine. A node has a few dozen subscriptions, and some for each edge. A journal may have four streams, and the directory has one.
const (
	minControlLine = 4096
	minSubs        = 1024
	minStore       = 64 << 20
	minStreams     = 5
)

// checkFile refuses what a configuration file may not set: what the product sets itself, and limits with which a node cannot work.
func checkFile(opts *server.Options) error {
	for _, b := range []struct {
		wrong bool
		words string
	}{
		{opts.Cluster.Name != "" || opts.Cluster.Port != 0 || len(opts.Routes) > 0,
			"has a cluster block; the nodes make the cluster of their servers themselves: give --nats-cluster and --join, or run NATS servers of your own and give --nats"},
		{opts.Gateway.Name != "" || opts.Gateway.Port != 0,
			"has a gateway block, which the embedded server does not take: run NATS servers of your own and give --nats"},
		{opts.MaxPayload != 0 && opts.MaxPayload < subject.MinPayload,
			fmt.Sprintf("has max_payload %d; it must be at least %d, because larger messages would be lost", opts.MaxPayload, subject.MinPayload)},
		{opts.MaxControlLine != 0 && opts.MaxControlLine < minControlLine,
			fmt.Sprintf("has max_control_line %d; it must be at least %d", opts.MaxControlLine, minControlLine)},
		{opts.MaxSubs < 0 || opts.MaxSubs > 0 && opts.MaxSubs < minSubs, fmt.Sprintf("has max_subscriptions %d; it must be at least %d", opts.MaxSubs, minSubs)},
		{opts.MaxConn < 0, fmt.Sprintf("has max_connections %d; it must be at least 1", opts.MaxConn)},
		{opts.JetStreamMaxStore > 0 && opts.JetStreamMaxStore < minStore,
			fmt.Sprintf("has the JetStream limit max_file_store %d; it must be at least %d", opts.JetStreamMaxStore, minStore)},
	} {
		if b.wrong {
			return errors.New("--nats-config " + b.words)
		}
	}
	if opts.PidFile != "" {
		if err := Writable(filepath.Dir(opts.PidFile)); err != nil {
			return fmt.Errorf("--nats-config has pid_file %s: %w", opts.PidFile, err)
		}
	}
	return nil
}

// checkAccount refuses a file whose account of Lamplight's users has no JetStream, or too few streams. NATS tells neither before it
// runs.
func checkAccount(file, account string) error {
	if account == "" || account == server.DEFAULT_GLOBAL_ACCOUNT {
		return nil
	}
	all, err := conf.ParseFile(file)
	if err != nil {
		return fmt.Errorf("--nats-config: %w", err)
	}
	accounts, _ := setting(all, "accounts").(map[string]any)
	fields, _ := accounts[account].(map[string]any)
	on := false
	switch js := setting(fields, "jetstream").(type) {
	case bool:
		on = js
	case string:
		on = strings.EqualFold(js, "enabled") || strings.EqualFold(js, "enable")
	case map[string]any:
		on = true
		for _, name := range []string{"max_streams", "streams"} {
			if n, ok := setting(js, name).(int64); ok && n >= 0 && n < minStreams {
				return fmt.Errorf("--nats-config gives the account %s, of Lamplight's users, %s %d; it must be at least %d", account, name, n, minStreams)
			}
		}
	}
	if !on {
		return fmt.Errorf("--nats-config gives the account %s, of Lamplight's users, no JetStream, where the journal is kept: put `jetstream: enabled` into the account", account)
	}
	return nil
}

// setting returns a field of a configuration file, whose names have no case; nil: it is not there.
func setting(m map[string]any, name string) any {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

package natsd

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"

	"lamplight/cluster/subject"
)

// What a configuration file may not go below. The subjects of two names of 256 bytes, each encoded, and of a reply fit into
// minControlLine. A node has a few dozen subscriptions, and some for each edge, and two connections. A journal may have four streams,
// and the directory has one. The longest subjects have ten parts.
const (
	minControlLine = 4096
	minSubs        = 1024
	minConns       = 2
	minStore       = 64 << 20
	minStreams     = 5
	minTokens      = 16
	minPending     = 8 << 20
	minDuplicates  = 2 * time.Minute
	minInterval    = time.Second // between pings, and for a write to a client
)

// bound is a setting of a configuration file with its lower bound. A setting that is absent, or for which NATS has no bound, is good.
type bound struct {
	name      string
	is, least int64
	unlimited bool // a negative value is no bound
}

// checkFile refuses what a configuration file may not set: what the product sets itself, and limits with which a node cannot work.
// clustered says that the server is one of several.
func checkFile(opts *server.Options, clustered bool) error {
	switch {
	case opts.Cluster.Name != "" || opts.Cluster.Port != 0 || len(opts.Routes) > 0:
		return errors.New("--nats-config has a cluster block; the nodes make the cluster of their servers themselves: give --nats-cluster and --join, " +
			"or run NATS servers of your own and give --nats")
	case opts.Gateway.Name != "" || opts.Gateway.Port != 0:
		return errors.New("--nats-config has a gateway block, which the embedded server does not take: run NATS servers of your own and give --nats")
	}
	assets := opts.JetStreamLimits.MaxHAAssets
	if !clustered {
		assets = 0
	}
	for _, b := range []bound{
		{"max_payload", int64(opts.MaxPayload), subject.MinPayload, false},
		{"max_control_line", int64(opts.MaxControlLine), minControlLine, false},
		{"max_subscriptions", int64(opts.MaxSubs), minSubs, false},
		{"max_sub_tokens", int64(opts.MaxSubTokens), minTokens, false},
		{"max_connections", int64(opts.MaxConn), 1, false},
		{"max_pending", opts.MaxPending, minPending, false},
		{"max_file_store", opts.JetStreamMaxStore, minStore, true},
		{"max_ha_assets", int64(assets), minStreams, true},
		{"max_batch_size", int64(opts.JetStreamLimits.MaxBatchSize), 1000, true},
		{"max_batch_inflight_per_stream", int64(opts.JetStreamLimits.MaxBatchInflightPerStream), 50, true},
		{"max_batch_inflight_total", int64(opts.JetStreamLimits.MaxBatchInflightTotal), 50 * minStreams, true},
	} {
		if err := b.check(""); err != nil {
			return err
		}
	}
	for name, d := range map[string]struct{ is, least time.Duration }{
		"ping_interval":         {opts.PingInterval, minInterval},
		"write_deadline":        {opts.WriteDeadline, minInterval},
		"max_duplicate_window":  {max(opts.JetStreamLimits.Duplicates, 0), minDuplicates},
		"authorization timeout": {time.Duration(opts.AuthTimeout * float64(time.Second)), minInterval / 2},
	} {
		if d.is != 0 && d.is < d.least {
			return fmt.Errorf("--nats-config has %s %v; it must be at least %v", name, d.is, d.least)
		}
	}
	if opts.PidFile != "" { // NATS makes no directory for it
		dir := filepath.Dir(opts.PidFile)
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("--nats-config has pid_file %s: %w; make the directory, or give another file", opts.PidFile, err)
		}
		if err := Writable(dir); err != nil {
			return fmt.Errorf("--nats-config has pid_file %s: %w", opts.PidFile, err)
		}
	}
	return nil
}

// check returns an error if the setting is below its bound. of names what the setting is of, with a space before it.
func (b bound) check(of string) error {
	if b.is == 0 || b.unlimited && b.is < 0 || b.is >= b.least {
		return nil
	}
	return fmt.Errorf("--nats-config has %s %d%s; it must be at least %d, with which a node can work", b.name, b.is, of, b.least)
}

// checkAccount refuses a file whose account of Lamplight's users has no JetStream, or limits with which a node cannot work. NATS tells
// neither before it runs.
func checkAccount(file, account string) error {
	if account == "" {
		return nil
	}
	all, err := conf.ParseFile(file)
	if err != nil {
		return fmt.Errorf("--nats-config: %w", err)
	}
	accounts, _ := setting(all, "accounts").(map[string]any)
	fields, _ := setting(accounts, account).(map[string]any)
	limits, _ := setting(fields, "limits").(map[string]any)
	of := fmt.Sprintf(" in the account %s, of Lamplight's users", account)
	for _, b := range []struct {
		names []string
		bound
	}{
		{[]string{"max_connections", "max_conn"}, bound{least: minConns, unlimited: true}},
		{[]string{"max_subscriptions", "max_subs"}, bound{least: minSubs, unlimited: true}},
		{[]string{"max_payload", "max_pay"}, bound{least: subject.MinPayload, unlimited: true}},
	} {
		if err := b.of(limits, b.names, of); err != nil {
			return err
		}
	}
	on := account == server.DEFAULT_GLOBAL_ACCOUNT
	switch js := setting(fields, "jetstream").(type) {
	case bool:
		on = js
	case string:
		on = strings.EqualFold(js, "enabled") || strings.EqualFold(js, "enable")
	case map[string]any:
		on = true
		for _, b := range []struct {
			names []string
			bound
		}{
			{[]string{"max_streams", "streams"}, bound{least: minStreams, unlimited: true}},
			{[]string{"max_store", "max_file", "max_disk", "store", "disk"}, bound{least: minStore, unlimited: true}},
			{[]string{"disk_max_stream_bytes", "store_max_stream_bytes"}, bound{least: minStore, unlimited: true}},
		} {
			if err := b.of(js, b.names, of); err != nil {
				return err
			}
		}
		for _, name := range []string{"max_bytes_required", "max_stream_bytes", "max_bytes"} {
			if required, _ := setting(js, name).(bool); required {
				return fmt.Errorf("--nats-config has %s%s; Lamplight's streams have no such bound: leave it out", name, of)
			}
		}
	}
	if !on {
		return fmt.Errorf("--nats-config gives the account %s, of Lamplight's users, no JetStream, where the journal is kept: put `jetstream: enabled` into the account", account)
	}
	return nil
}

// of checks the setting of a block that has one of the names. A 0 that stands there is a bound too.
func (b bound) of(block map[string]any, names []string, of string) error {
	for _, name := range names {
		if n, ok := setting(block, name).(int64); ok {
			b.name, b.is = name, n
			if n == 0 {
				return fmt.Errorf("--nats-config has %s 0%s; it must be at least %d, with which a node can work", name, of, b.least)
			}
			if err := b.check(of); err != nil {
				return err
			}
		}
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

// Ports returns the addresses on which the embedded server listens because its configuration file says so, by the name of the setting.
func Ports(file string) map[string]string {
	opts, err := server.ProcessConfigFile(file)
	if file == "" || err != nil {
		return nil
	}
	ports := map[string]string{}
	for name, a := range map[string]struct {
		host string
		port int
	}{
		"http":      {cmp.Or(opts.HTTPHost, "127.0.0.1"), opts.HTTPPort},
		"https":     {cmp.Or(opts.HTTPHost, "127.0.0.1"), opts.HTTPSPort},
		"websocket": {opts.Websocket.Host, opts.Websocket.Port},
		"mqtt":      {opts.MQTT.Host, opts.MQTT.Port},
		"leafnodes": {opts.LeafNode.Host, opts.LeafNode.Port},
		"prof_port": {"127.0.0.1", opts.ProfPort},
	} {
		if a.port > 0 {
			ports[name] = net.JoinHostPort(a.host, strconv.Itoa(a.port))
		}
	}
	return ports
}

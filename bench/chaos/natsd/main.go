// Command natsd is one NATS server of a cluster, for chaos runs whose nodes have no embedded one.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs a server with the configuration file that is the one argument, until SIGTERM or SIGINT.
func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: natsd FILE, a configuration file of the NATS server")
	}
	o, err := server.ProcessConfigFile(os.Args[1])
	if err != nil {
		return err
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the NATS server does not take connections after 30 s")
	}
	fmt.Println("natsd is ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// Natsd is one NATS server of a cluster, for runs in which the nodes don't bring their own.
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

// run serves the configuration file that is its one argument, until a signal.
func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: natsd FILE")
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
		return fmt.Errorf("the server does not listen")
	}
	fmt.Println("natsd is ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

package main

import "lamplight/bench/peers/kamailio"

// startKamailio starts Kamailio on a free port of loopback.
func startKamailio(dir string) (*server, error) {
	address, group, stop, err := kamailio.Start(dir)
	if err != nil {
		return nil, err
	}
	return &server{name: "Kamailio, memory mode, 2 children", address: address, group: group, stop: stop}, nil
}

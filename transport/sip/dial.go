package sip

import (
	"context"
	"net"
	"net/netip"
	"time"
)

const (
	maxDials = 64              // connections that are being made
	dialTime = 4 * time.Second // how long one may take to be made
)

// dial makes a connection to a phone or a proxy, and calls then when it is there or could not be made. It does not wait. The connection
// is found with flows.at.
func (s *Server) dial(t Transport, to netip.AddrPort, then func()) {
	l := s.listenerOf(t)
	s.connections.Go(func() {
		defer then()
		select {
		case s.dials <- struct{}{}:
			defer func() { <-s.dials }()
		default:
			s.metrics.refused.WithLabelValues("dials").Inc()
			return
		}
		if l == nil || s.stopping.Load() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), dialTime)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
		if err != nil {
			s.log.Debug("the edge can't connect to a phone or proxy", "to", to, "transport", t.String(), "err", err)
			return
		}
		s.accept(l, c.(*net.TCPConn), to)
	})
}

// listenerOf returns the first listener of a transport; nil: there is none.
func (s *Server) listenerOf(t Transport) *listener {
	for _, l := range s.listeners {
		if l.transport == t {
			return l
		}
	}
	return nil
}

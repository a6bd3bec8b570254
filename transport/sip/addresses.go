package sip

// Addresses returns where the edge listens, in the order of Config.Listen. Call it after Start.
func (s *Server) Addresses() (all []Listen) {
	for _, l := range s.listeners {
		all = append(all, Listen{l.transport, l.local.String()})
	}
	return all
}

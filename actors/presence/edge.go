package presence

import "time"

// The words that say whether anybody listens for the NOTIFYs to an edge (docs/contract/nats.md, "Who listens").
const (
	EdgeListening = "listening" // it says edge.up, and lives
	EdgeDown      = "down"      // it has said edge.up, and then nobody listened for it, or it fell silent
	EdgeNobody    = "nobody"    // it has never said edge.up, and NATS knew nobody to take the last message for it
	EdgeNeverUp   = "never_up"  // it has never said edge.up; nothing else is known
)

// EdgeState is what a node knows of an edge.
type EdgeState struct {
	Listens string    // one of the words above; "": the node knows nothing, because it has lost NATS
	Silent  bool      // of EdgeDown: it has fallen silent, and NATS has not said that nobody listens
	At      time.Time // EdgeListening, and Silent: when it last said something. EdgeDown: since when. EdgeNobody: when that message was sent.
}

// edgeName is the name of an edge in a sentence; "" is the edge of the watchers that name none.
func edgeName(edge string) string {
	if edge == "" {
		return "any"
	}
	return edge
}
